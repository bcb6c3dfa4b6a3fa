"""The fine structure over a background: changes of luma, the same in every frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GRAIN = 1.1  # standard deviation in 8-bit codes
_DOT, _SCANLINE = 26, 5  # codes darker


def texture(kind: str, width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """Return the changes, height x width, as bytes in two's complement: adding wraps as intended.

    `kind` is `grain`, or `dots` or `scanlines` with grain. Grain hides the banding of 8-bit video; part of it survives
    the encoder.
    """
    changes = np.round(np.random.default_rng(seed).normal(0.0, _GRAIN, (height, width))).astype(np.int8)
    short = min(width, height)
    if kind == "dots":
        pitch, radius = short / 15, short / 270
        across, down = ((np.arange(n, dtype=np.float32) + pitch / 2) % pitch - pitch / 2 for n in (width, height))
        dots = np.clip(radius + 0.5 - np.hypot(across, down[:, None]), 0, 1)
        changes -= (dots * _DOT).astype(np.int8)
    elif kind == "scanlines":
        pitch = max(2, round(short / 216))
        changes[np.arange(height) % pitch < pitch // 2] -= _SCANLINE
    return changes.view(np.uint8)
