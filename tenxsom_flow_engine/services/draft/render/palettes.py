"""The colour palettes: background, text and accent colours in OKLCH."""

from __future__ import annotations

from typing import NamedTuple

Lch = tuple[float, float, float]  # lightness 0..1, chroma, hue in degrees


class Palette(NamedTuple):
    """`field` is the background, then its drifting lights; `ink` colours text, `accent_ink` text on the accent."""

    field: tuple[Lch, ...]
    ink: Lch
    accent: Lch
    accent_ink: Lch


PALETTES = (
    # lagoon
    Palette(
        field=((0.22, 0.09, 265), (0.52, 0.15, 245), (0.55, 0.12, 195), (0.36, 0.17, 285), (0.50, 0.13, 220)),
        ink=(0.985, 0.01, 220),
        accent=(0.90, 0.19, 125),
        accent_ink=(0.22, 0.06, 180),
    ),
    # ember
    Palette(
        field=((0.22, 0.10, 350), (0.55, 0.21, 25), (0.57, 0.17, 48), (0.38, 0.17, 330), (0.48, 0.20, 5)),
        ink=(0.985, 0.015, 70),
        accent=(0.90, 0.16, 92),
        accent_ink=(0.24, 0.08, 20),
    ),
    # violet hour
    Palette(
        field=((0.21, 0.11, 285), (0.48, 0.24, 295), (0.53, 0.24, 330), (0.43, 0.20, 265), (0.54, 0.20, 355)),
        ink=(0.985, 0.01, 310),
        accent=(0.89, 0.12, 200),
        accent_ink=(0.22, 0.08, 285),
    ),
    # fern
    Palette(
        field=((0.21, 0.06, 175), (0.50, 0.13, 155), (0.54, 0.12, 185), (0.38, 0.09, 205), (0.56, 0.13, 135)),
        ink=(0.985, 0.02, 120),
        accent=(0.91, 0.18, 108),
        accent_ink=(0.22, 0.06, 160),
    ),
    # cobalt and coral
    Palette(
        field=((0.24, 0.13, 265), (0.48, 0.24, 264), (0.52, 0.20, 290), (0.55, 0.16, 240), (0.53, 0.19, 10)),
        ink=(0.985, 0.01, 250),
        accent=(0.80, 0.14, 45),
        accent_ink=(0.23, 0.10, 265),
    ),
    # dusk
    Palette(
        field=((0.20, 0.07, 300), (0.47, 0.17, 310), (0.56, 0.17, 30), (0.36, 0.13, 275), (0.55, 0.19, 0)),
        ink=(0.985, 0.02, 60),
        accent=(0.87, 0.11, 60),
        accent_ink=(0.22, 0.07, 310),
    ),
    # peach paper
    Palette(
        field=((0.95, 0.03, 75), (0.84, 0.11, 45), (0.84, 0.09, 10), (0.87, 0.09, 85), (0.85, 0.07, 325)),
        ink=(0.20, 0.07, 300),
        accent=(0.45, 0.25, 285),
        accent_ink=(0.985, 0.01, 300),
    ),
    # morning mist
    Palette(
        field=((0.95, 0.02, 210), (0.83, 0.09, 230), (0.88, 0.09, 170), (0.82, 0.08, 280), (0.90, 0.07, 140)),
        ink=(0.20, 0.08, 265),
        accent=(0.47, 0.24, 264),
        accent_ink=(0.985, 0.01, 230),
    ),
)
