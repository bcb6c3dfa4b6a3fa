"""Blend a flat colour through a mask onto a yuv420p frame, with integers and only inside the mask's rectangle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from tenxsom_flow_engine.services.draft.render.colour import Floats, video
from tenxsom_flow_engine.services.draft.render.gradient import Plane, pixels

Alpha = NDArray[np.uint16]  # 0..256
Yuv = tuple[int, int, int]
_BAND = 48  # rows
_HALF, _BITS = np.uint16(128), np.uint16(8)


def yuv(colour: Floats) -> Yuv:
    """Return the video code values of an OKLab colour."""
    y, u, v = (round(float(c)) for c in video(colour))
    return y, u, v


def to_alpha(mask: Plane) -> Alpha:
    """Map 0..255 to 0..256, so that full opacity is exact after a shift by eight bits."""
    wide = mask.astype(np.uint16)
    return wide + (wide >> 7)


def halve(alpha: Alpha) -> Alpha:
    """Return the mask for the chroma planes: the mean of each 2 x 2 pixels. Width and height must be even."""
    total: Alpha = alpha[::2, ::2] + alpha[1::2, ::2] + alpha[::2, 1::2] + alpha[1::2, 1::2] + np.uint16(2)
    return total >> np.uint16(2)


class Coat(NamedTuple):
    """A colour for the pixels under a mask: `kept` is 256 - alpha, `added` is colour * alpha."""

    kept: Alpha
    added: Alpha

    @classmethod
    def of(cls, alpha: Alpha, code: int) -> Coat:
        """Return the coat of one colour."""
        return cls(np.uint16(256) - alpha, alpha * np.uint16(code))

    def on(self, lower: Coat) -> Coat:
        """Return both coats in one, this one over the lower one."""
        return Coat(_scaled(lower.kept, self.kept), _scaled(lower.added, self.kept) + self.added)

    def paint(self, target: Plane) -> None:
        """Blend into the plane."""
        # Band by band, so that intermediate results stay in the processor's cache and the heap does not fragment.
        for top in range(0, target.shape[0], _BAND):
            band = slice(top, top + _BAND)
            mixed = target[band] * self.kept[band]
            mixed += self.added[band]
            mixed += _HALF
            mixed >>= _BITS
            target[band] = mixed


def _scaled(values: Alpha, kept: Alpha) -> Alpha:
    # In 32 bits, because added * kept exceeds 16.
    return ((values.astype(np.uint32) * kept + 128) >> 8).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class Stencil:
    """A mask with its position in the frame. `left`, `top`, width and height are even."""

    left: int
    top: int
    luma: Alpha
    chroma: Alpha

    @classmethod
    def of(cls, left: int, top: int, mask: Plane) -> Stencil:
        """Return the stencil of a mask at any pixel, padded to even position and size."""
        padded = np.pad(mask, ((top % 2, (top + mask.shape[0]) % 2), (left % 2, (left + mask.shape[1]) % 2)))
        alpha = to_alpha(padded)
        return cls(left - left % 2, top - top % 2, alpha, halve(alpha))

    def alphas(self) -> tuple[Alpha, Alpha, Alpha]:
        """Return the mask for each of the planes Y, U, V."""
        return self.luma, self.chroma, self.chroma

    def views(self, frame: VideoFrame) -> list[Plane]:
        """Return the parts of the planes Y, U, V that the stencil covers."""
        views = []
        for number, alpha in enumerate(self.alphas()):
            top, left = (self.top, self.left) if number == 0 else (self.top // 2, self.left // 2)
            views.append(pixels(frame, number)[top : top + alpha.shape[0], left : left + alpha.shape[1]])
        return views

    def fill(self, frame: VideoFrame, colour: Yuv) -> None:
        """Draw the stencil in a colour."""
        for view, alpha, code in zip(self.views(frame), self.alphas(), colour, strict=True):
            Coat.of(alpha, code).paint(view)
