"""Shape runs of text into positioned glyphs, and draw the glyphs, with HarfBuzz."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import uharfbuzz as hb
from numpy.typing import NDArray
from PIL import Image

from tenxsom_flow_engine.services.draft.render.fonts import Face, Run

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Glyph:
    """A glyph by its number in the face, and the offset of its origin in em: to the right, and up."""

    number: int
    x: float
    y: float


@dataclass(frozen=True)
class Shape:
    """A shaped run. All lengths are in em, relative to the left end of its baseline.

    The ink extends from `left` to `right` and from `above` to `below` the baseline; the next run begins at `advance`.
    """

    face: Face
    glyphs: tuple[Glyph, ...]
    advance: float
    left: float
    right: float
    above: float
    below: float

    @cached_property
    def coloured(self) -> bool:
        """Whether the glyphs have their own colours."""
        return self.face.coloured


def shape(run: Run, from_right: bool = False, language: str = "") -> Shape:
    """Shape a run of one direction, with the forms of a language."""
    font = run.face.font
    assert font is not None  # `Library` chooses loaded faces only
    buffer = hb.Buffer()
    buffer.add_str(run.text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if from_right else "ltr"
    if language:
        buffer.language = language
    hb.shape(font, buffer)
    em = font.face.upem
    glyphs, boxes, pen = [], [(0, 0, 0, 0)], 0
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        x, y = pen + position.x_offset, position.y_offset
        glyphs.append(Glyph(info.codepoint, x / em, y / em))
        pen += position.x_advance
        box = font.get_glyph_extents(info.codepoint)
        if box is not None and box.width:
            left, top = x + box.x_bearing, y + box.y_bearing
            boxes.append((left, top, left + box.width, top + box.height))
    left, _, _, bottom = (min(edge) / em for edge in zip(*boxes, strict=True))
    _, top, right, _ = (max(edge) / em for edge in zip(*boxes, strict=True))
    return Shape(run.face, tuple(glyphs), pen / em, left, right, top, -bottom)


def draw(parts: Sequence[tuple[Shape, float]], size: float, baseline: float, width: int, height: int) -> Pixels:
    """Draw shapes at x positions on a baseline, in pixels from the top left, at `size` pixels per em.

    Returns (height, width) coverage, 0..255.
    """
    canvas = hb.RasterDraw()
    canvas.extents = hb.RasterExtents(0, 0, width, height, 0)
    for shaped, x in parts:
        font = shaped.face.font
        assert font is not None
        scale = size / font.face.upem
        for glyph in shaped.glyphs:
            canvas.transform = (scale, 0, 0, scale, x + glyph.x * size, height - baseline + glyph.y * size)
            canvas.draw_glyph(font, glyph.number)
    return _rows(canvas.render(), 1)[:, :, 0]


def paint(parts: Sequence[tuple[Shape, float]], size: float, baseline: float, width: int, height: int) -> Pixels:
    """Draw shapes like `draw`, with the colours of their glyphs.

    Returns (height, width, 4) red, green, blue and opacity, not premultiplied.
    """
    image = Image.new("RGBA", (width, height))
    for shaped, x in parts:
        for glyph in shaped.glyphs:
            left, ground = x + glyph.x * size, baseline - glyph.y * size
            picture, at = _picture(shaped.face, glyph.number, size, left, ground, image.size)
            image.alpha_composite(picture, at)
    return np.asarray(image, np.uint8)


def _picture(
    face: Face, glyph: int, size: float, left: float, ground: float, whole: tuple[int, int]
) -> tuple[Image.Image, tuple[int, int]]:
    """Return the picture of a glyph with its origin at (left, ground), and its place within `whole` pixels."""
    font = face.font
    assert font is not None
    scale = size / font.face.upem
    bitmap = font.get_glyph_color_png(glyph)
    box = font.get_glyph_extents(glyph)
    if bitmap.data and box is not None:
        with Image.open(io.BytesIO(bytes(bitmap.data))) as file:
            picture = file.convert("RGBA")
        fitted = max(1, round(box.width * scale)), max(1, round(-box.height * scale))
        at = round(left + box.x_bearing * scale), round(ground - box.y_bearing * scale)
        return picture.resize(fitted, Image.Resampling.LANCZOS), (max(0, at[0]), max(0, at[1]))
    width, height = whole
    canvas = hb.RasterPaint()
    canvas.transform = (scale, 0, 0, scale, left, height - ground)
    canvas.extents = hb.RasterExtents(0, 0, width, height, 0)
    canvas.paint_glyph(font, glyph)
    blue, green, red, opacity = Image.fromarray(_rows(canvas.render(), 4)).split()
    straight = Image.merge("RGBa", (red, green, blue, opacity)).convert("RGBA")  # from premultiplied
    return straight, (0, 0)


def _rows(image: hb.RasterImage, channels: int) -> Pixels:
    """Return the pixels as (height, width, channels), the top row first."""
    box = image.extents
    rows = np.frombuffer(image.buffer, np.uint8).reshape(box.height, box.stride)[::-1, : box.width * channels]
    return np.ascontiguousarray(rows).reshape(box.height, box.width, channels)
