"""Draw the overlays of every frame: the progress line, with a segment per beat, the draft mark, black bars."""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from PIL import Image, ImageDraw, ImageFont

from tenxsom_flow_engine.services.draft.render.blend import Stencil, Yuv, halve
from tenxsom_flow_engine.services.draft.render.fonts import DISPLAY
from tenxsom_flow_engine.services.draft.render.gradient import Plane, pixels

_REST = 0.3  # opacity of the remaining part
_SMOOTH = 4  # supersampling factor, for smooth edges
_WORD = "DRAFT"
_BLACK = (16, 128, 128)


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
        stencil.fill(frame, colour)


class Mark:
    """A plate with the word DRAFT, `height` pixels high."""

    def __init__(self, left: int, top: int, height: int) -> None:
        font = ImageFont.truetype(DISPLAY[0], height * 0.72)
        start, _, end, _ = font.getbbox(_WORD, anchor="ls")
        width = round(end - start + height * 0.6)
        plate = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
        corner = height * 0.22 * _SMOOTH
        ImageDraw.Draw(plate).rounded_rectangle((0, 0, plate.width - 1, plate.height - 1), corner, fill=255)
        letters = Image.new("L", (width, height))
        capitals = height * 0.72 * 0.7
        pen = (height * 0.3 - start, (height + capitals) / 2)
        ImageDraw.Draw(letters).text(pen, _WORD, fill=255, font=font, anchor="ls")
        self._plate = Stencil.of(left, top, _pixels(plate.resize((width, height), Image.Resampling.BOX)))
        self._letters = Stencil.of(left, top, _pixels(letters))

    def draw(self, frame: VideoFrame, plate: Yuv, letters: Yuv) -> None:
        """Draw the mark."""
        self._plate.fill(frame, plate)
        self._letters.fill(frame, letters)


class Bars:
    """Black bars of `height` pixels, an even number, along the top and the bottom."""

    def __init__(self, height: int) -> None:
        self._height = height

    def draw(self, frame: VideoFrame) -> None:
        """Draw the bars."""
        for number, code in enumerate(_BLACK):
            plane = pixels(frame, number)
            height = self._height if number == 0 else self._height // 2
            plane[:height] = plane[-height:] = code


def _pixels(image: Image.Image) -> Plane:
    return np.asarray(image, np.uint8)
