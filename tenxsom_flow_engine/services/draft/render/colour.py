"""Convert colours from OKLCH to BT.709 video, and compute contrast ratios."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_LMS_FROM_LAB = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]], np.float32
)
_RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ],
    np.float32,
)
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def lab(lightness: float, chroma: float, hue: float) -> Floats:
    """Convert OKLCH (lightness 0..1, chroma 0..0.37, hue in degrees) to OKLab."""
    angle = math.radians(hue)
    return np.array([lightness, chroma * math.cos(angle), chroma * math.sin(angle)], np.float32)


def linear(colours: Floats) -> Floats:
    """Convert OKLab colours in the last axis to linear sRGB, clipped to 0..1."""
    return np.clip((colours @ _LMS_FROM_LAB.T) ** 3 @ _RGB_FROM_LMS.T, 0.0, 1.0)


def video(colours: Floats) -> Floats:
    """Convert OKLab colours in the last axis to BT.709 limited-range Y, Cb, Cr (floats on the 8-bit scale)."""
    rgb = linear(colours)
    # Players show BT.709 video with the display's gamma, so sRGB-coded values give the intended colours.
    return codes(np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * np.power(rgb, 1 / 2.4) - 0.055))


def codes(coded: Floats) -> Floats:
    """Convert sRGB colours, 0..1 in the last axis, to BT.709 limited-range Y, Cb, Cr (floats on the 8-bit scale)."""
    luma = coded @ _LUMA
    blue = (coded[..., 2] - luma) / 1.8556
    red = (coded[..., 0] - luma) / 1.5748
    return np.stack([16 + 219 * luma, 128 + 224 * blue, 128 + 224 * red], axis=-1)


def contrast(one: Floats, other: Floats) -> float:
    """Return the WCAG contrast ratio, 1..21, of two OKLab colours."""
    light, dark = sorted((float(linear(c) @ _LUMA) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
