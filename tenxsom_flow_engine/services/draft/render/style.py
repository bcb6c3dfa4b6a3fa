"""Derive the look of a video from its style and seed: palette, motion and music parameters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenxsom_flow_engine.jobs import STYLES
from tenxsom_flow_engine.services.draft.render.colour import Floats, contrast, lab
from tenxsom_flow_engine.services.draft.render.palettes import PALETTES
from tenxsom_flow_engine.services.draft.render.treatments import TREATMENTS, Treatment

LEAST_CONTRAST = 5.2  # between text and any colour of the background
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_CHORDS = {"major": ((0, 4, 5, 3), (5, 3, 0, 4), (3, 0, 4, 5)), "minor": ((0, 5, 2, 6), (0, 3, 5, 6), (5, 6, 0, 2))}


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
    """The look of a video. Colours are OKLab; `entrance` is one of its treatment's."""

    treatment: Treatment
    ground: Floats
    lights: tuple[Light, ...]
    ink: Floats
    accent: Floats
    accent_ink: Floats
    entrance: str
    centred: bool
    score: Score


def look(seed: str, style: str = STYLES[0]) -> Style:
    """Return the look for a seed within a style. The contrast of text to the background is at least LEAST_CONTRAST."""
    rng = random.Random(f"look:{seed}")
    treatment = TREATMENTS[style]
    palette = rng.choice(PALETTES[style])
    turn = rng.uniform(-9, 9)
    ink, accent_ink = lab(*palette.ink), lab(*palette.accent_ink)
    letters = [ink] if treatment.plate.filled else [ink, accent_ink]  # those directly on the background
    shade = 1 - treatment.vignette
    ground, *glows = (_legible(lab(at, chroma, hue + turn), letters, shade) for at, chroma, hue in palette.field)
    rng.shuffle(glows)
    return Style(
        treatment=treatment,
        ground=ground,
        lights=_arcs(rng, glows) if treatment.ground == "arcs" else _lights(rng, glows),
        ink=ink,
        accent=lab(*palette.accent),
        accent_ink=accent_ink,
        entrance=rng.choice(treatment.entrances),
        centred=rng.choice(treatment.centred),
        score=_score(rng, treatment),
    )


def _legible(colour: Floats, letters: Sequence[Floats], shade: float) -> Floats:
    """Return the colour with its lightness moved away from the letters' until the contrast suffices, shaded or not."""
    step = np.array([-0.01 if letters[0][0] > colour[0] else 0.01, 0, 0], np.float32)
    while min(contrast(one, ink) for one in (colour, colour * shade) for ink in letters) < LEAST_CONTRAST:
        if not 0 < colour[0] < 1:
            break
        colour = colour + step
    return colour


def _lights(rng: random.Random, colours: Sequence[Floats]) -> tuple[Light, ...]:
    """Return lights that each move around a point in their own part of the frame, so that they rarely overlap."""
    lights = []
    for number, colour in enumerate(colours):
        home = ((number + 0.5) / len(colours) + rng.uniform(-0.1, 0.1), (number * 0.618 + rng.random() * 0.2) % 1.0)
        paths = [
            (at, rng.uniform(0.18, 0.34), rng.choice((-1, 1)) * rng.uniform(0.05, 0.11), rng.random()) for at in home
        ]
        lights.append(Light(colour, rng.uniform(0.24, 0.36), paths[0], paths[1]))
    return tuple(lights)


def _arcs(rng: random.Random, colours: Sequence[Floats]) -> tuple[Light, ...]:
    """Return lights around one point in a lower corner, the largest first."""
    across = (rng.choice((0.0, 1.0)), 0.05, 0.06, rng.random())
    down = (rng.uniform(0.88, 1.0), 0.03, 0.09, rng.random())
    radii = [0.95 - 0.19 * number for number in range(len(colours))]
    return tuple(Light(colour, radius, across, down) for colour, radius in zip(colours, radii, strict=True))


def _score(rng: random.Random, treatment: Treatment) -> Score:
    key = rng.choice(treatment.keys)
    scale, chords = _SCALES[key], rng.choice(_CHORDS[key])
    pattern = rng.choice(
        ((0, 2, 4, 2, 1, 2, 4, 3), (0, 1, 2, 4, 3, 2, 1, 2), (4, 2, 1, 0, 2, 4, 2, 1), (0, 4, 2, 4, 1, 4, 2, 3))
    )
    return Score(rng.choice(treatment.tempos), rng.randint(45, 54), scale, chords, pattern, rng.getrandbits(32))
