"""Derive the style of a video from its seed: palette, motion and music parameters."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tenxsom_flow_engine.services.draft.render.colour import Floats, contrast, lab
from tenxsom_flow_engine.services.draft.render.palettes import PALETTES

LEAST_CONTRAST = 4.8  # between text and any colour of the background


@dataclass(frozen=True, slots=True)
class Light:
    """A drifting light: colour (OKLab), radius, and a path as (centre, amplitude, turns per second, phase) per axis."""

    colour: Floats
    radius: float
    across: tuple[float, float, float, float]
    down: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """The parameters of the music.

    `tempo` in beats per minute, `root` as a MIDI note, `scale` in semitones, `chords` (one per bar) in scale steps,
    and in `pattern` the third of the chord that each pluck plays.
    """

    tempo: float
    root: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    pattern: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Style:
    """The style of a video. Colours are OKLab; `entrance` is rise, slide or settle."""

    ground: Floats
    lights: tuple[Light, ...]
    ink: Floats
    accent: Floats
    accent_ink: Floats
    entrance: str
    centred: bool
    score: Score


def look(seed: str) -> Style:
    """Return the style for a seed. The contrast of text to background and lights is at least LEAST_CONTRAST."""
    rng = random.Random(f"look:{seed}")
    palette = rng.choice(PALETTES)
    turn = rng.uniform(-9, 9)
    ink = lab(*palette.ink)
    ground, *glows = (_legible(lightness, chroma, hue + turn, ink) for lightness, chroma, hue in palette.field)
    rng.shuffle(glows)
    return Style(
        ground=ground,
        lights=tuple(_light(rng, colour, n, len(glows)) for n, colour in enumerate(glows)),
        ink=ink,
        accent=lab(*palette.accent),
        accent_ink=lab(*palette.accent_ink),
        entrance=rng.choice(("rise", "slide", "settle")),
        centred=rng.random() < 0.3,
        score=_score(rng),
    )


def _legible(lightness: float, chroma: float, hue: float, ink: Floats) -> Floats:
    """Return the colour, with its lightness moved away from the ink's until the contrast suffices."""
    step = -0.01 if ink[0] > lightness else 0.01
    while contrast(colour := lab(lightness, chroma, hue), ink) < LEAST_CONTRAST and 0 < lightness < 1:
        lightness += step
    return colour


def _light(rng: random.Random, colour: Floats, number: int, count: int) -> Light:
    """Return a light that moves around a point in its own part of the frame, so that lights rarely overlap."""
    home = ((number + 0.5) / count + rng.uniform(-0.1, 0.1), (number * 0.618 + rng.random() * 0.2) % 1.0)
    paths = [(at, rng.uniform(0.18, 0.34), rng.choice((-1, 1)) * rng.uniform(0.05, 0.11), rng.random()) for at in home]
    return Light(colour, rng.uniform(0.24, 0.36), paths[0], paths[1])


def _score(rng: random.Random) -> Score:
    major, minor = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
    scale, chords = rng.choice(
        (
            (major, (0, 4, 5, 3)),
            (major, (5, 3, 0, 4)),
            (major, (3, 0, 4, 5)),
            (minor, (0, 5, 2, 6)),
            (minor, (0, 3, 5, 6)),
            (minor, (5, 6, 0, 2)),
        )
    )
    pattern = rng.choice(
        ((0, 2, 4, 2, 1, 2, 4, 3), (0, 1, 2, 4, 3, 2, 1, 2), (4, 2, 1, 0, 2, 4, 2, 1), (0, 4, 2, 4, 1, 4, 2, 3))
    )
    return Score(rng.choice((92, 96, 100, 104, 108)), rng.randint(45, 54), scale, chords, pattern, rng.getrandbits(32))
