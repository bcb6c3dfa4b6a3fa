"""The treatment of each style of a job: how its drafts are drawn, move and sound, whatever their colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plate:
    """What marks the current word, behind its letters.

    `radius` of the corners in em; `top` and `bottom` are shares of the word's height; if it is not `filled`, only the
    letters change their colour.
    """

    radius: float = 0.17
    top: float = 0.0
    bottom: float = 1.0
    filled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """The treatment of one style. A seed chooses among the values of `entrances`, `centred` and `tempos`."""

    #: The largest type, in em as a share of the frame's short side.
    largest: float
    #: The names of `motion.Motion`'s entrances.
    entrances: tuple[str, ...]
    centred: tuple[bool, ...]
    plate: Plate
    #: The background: `lights` that blend, separate flat `discs`, or concentric `arcs`.
    ground: str
    #: Fine structure over the background: `grain`, `dots` or `scanlines`.
    texture: str
    #: Whether a glow along the bottom edge pulses with the music.
    bloom: bool = False
    #: How much darker the corners are than the middle, 0..1.
    vignette: float = 0.0
    #: Whether black bars cover the top and the bottom, as in a wide film.
    bars: bool = False
    #: Beats per minute, and whether the music is in a major or a minor key.
    tempos: tuple[float, ...] = (92, 96, 100, 104, 108)
    keys: tuple[str, ...] = ("major", "minor")


#: By the names of `jobs.STYLES`.
TREATMENTS: Mapping[str, Treatment] = {
    "documentary": Treatment(
        largest=0.27,
        entrances=("rise",),
        centred=(False,),
        plate=Plate(),
        ground="lights",
        texture="grain",
        bloom=True,
    ),
    "cinematic": Treatment(
        largest=0.19,
        entrances=("fade",),
        centred=(True,),
        plate=Plate(filled=False),
        ground="lights",
        texture="grain",
        vignette=0.5,
        bars=True,
        tempos=(72, 75, 80),
        keys=("minor",),
    ),
    "explainer": Treatment(
        largest=0.23,
        entrances=("slide",),
        centred=(False,),
        plate=Plate(radius=0.06, top=0.52, bottom=0.9),
        ground="lights",
        texture="dots",
        tempos=(96, 100, 104, 108),
        keys=("major",),
    ),
    "animation": Treatment(
        largest=0.27,
        entrances=("bounce",),
        centred=(True,),
        plate=Plate(radius=0.36),
        ground="discs",
        texture="grain",
        tempos=(112, 116, 120, 125),
        keys=("major",),
    ),
    "retro": Treatment(
        largest=0.25,
        entrances=("type",),
        centred=(False,),
        plate=Plate(radius=0.0),
        ground="arcs",
        texture="scanlines",
        vignette=0.12,
        tempos=(80, 84, 88, 92),
    ),
}
