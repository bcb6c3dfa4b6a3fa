"""Draw the overlays of every frame: the progress line, with a segment per beat, and the small draft mark."""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from PIL import Image, ImageDraw, ImageFont

from tenxsom_flow_engine.services.draft.render.blend import Stencil, Yuv, halve, mix
from tenxsom_flow_engine.services.draft.render.fonts import TEXT
from tenxsom_flow_engine.services.draft.render.gradient import Plane

_REST = 0.3  # opacity of the remaining part
_SMOOTH = 4  # supersampling factor, for smooth edges


class Progress:
    """The line along the top; `shares` are the beats' spans as (from, to), 0..1."""

    def __init__(self, left: int, top: int, width: int, thickness: int, shares: list[tuple[float, float]]) -> None:
        gap = min(thickness, width / len(shares) / 4)
        image = Image.new("L", (width * _SMOOTH, thickness * _SMOOTH))
        draw = ImageDraw.Draw(image)
        for start, end in shares:
            span = (start * width + gap / 2) * _SMOOTH, (end * width - gap / 2) * _SMOOTH
            draw.rounded_rectangle((span[0], 0, span[1], thickness * _SMOOTH - 1), thickness * _SMOOTH / 2, fill=255)
        mask = np.asarray(image.resize((width, thickness), Image.Resampling.BOX), np.uint8)
        self._stencil = Stencil.of(left, top, mask)
        self._start, self._width = left - self._stencil.left, width

    def draw(self, frame: VideoFrame, part: float, colour: Yuv) -> None:
        """Draw the line, filled up to the fraction `part`, 0..1."""
        columns = np.arange(self._stencil.luma.shape[1], dtype=np.float32) - self._start
        reached = np.clip(part * self._width - columns, 0, 1)
        luma = (self._stencil.luma * (_REST + (1 - _REST) * reached)).astype(np.uint16)
        stencil = Stencil(self._stencil.left, self._stencil.top, luma, halve(luma))
        for view, alpha, code in zip(stencil.views(frame), stencil.alphas(), colour, strict=True):
            mix(view, alpha, alpha * np.uint16(code))


class Mark:
    """A dot and the word DRAFT at `size` pixels per em; `top` is the top of the capitals."""

    def __init__(self, left: int, top: int, size: float) -> None:
        font = ImageFont.truetype(TEXT, size)
        rise = round(size * 0.728)
        dot = round(size * 0.42)
        round_dot = Image.new("L", (dot * _SMOOTH, dot * _SMOOTH))
        ImageDraw.Draw(round_dot).ellipse((0, 0, dot * _SMOOTH - 1, dot * _SMOOTH - 1), fill=255)
        self._dot = Stencil.of(
            left, top + (rise - dot) // 2, _pixels(round_dot.resize((dot, dot), Image.Resampling.BOX))
        )
        image = Image.new("L", (round(size * 6), rise + 2))
        pen = 0.0
        for letter in "DRAFT":
            ImageDraw.Draw(image).text((pen, rise), letter, fill=255, font=font, anchor="ls")
            pen += font.getlength(letter) + size * 0.14
        self._word = Stencil.of(left + round(size * 0.74), top, _pixels(image))

    def draw(self, frame: VideoFrame, ink: Yuv, accent: Yuv) -> None:
        """Draw the mark."""
        self._dot.fill(frame, accent)
        self._word.fill(frame, ink)


def _pixels(image: Image.Image) -> Plane:
    return np.asarray(image, np.uint8)
