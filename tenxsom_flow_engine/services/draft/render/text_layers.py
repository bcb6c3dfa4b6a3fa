"""Draw a beat's text on frames: word masks, drawn once, then moved and coloured by the highlight under them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from av import VideoFrame

from tenxsom_flow_engine.services.draft.render.blend import Coat, Stencil, Yuv, halve, to_alpha
from tenxsom_flow_engine.services.draft.render.colour import Floats, codes
from tenxsom_flow_engine.services.draft.render.gradient import Plane
from tenxsom_flow_engine.services.draft.render.motion import Highlight, Motion
from tenxsom_flow_engine.services.draft.render.shaping import Pixels, draw, paint
from tenxsom_flow_engine.services.draft.render.treatments import Plate
from tenxsom_flow_engine.services.draft.render.typesetting import Area, Block, Placed

Painted = tuple[Stencil, list[Coat]]  # a coat for each of the planes Y, U, V


@dataclass(frozen=True, slots=True)
class _Mask:
    """The pixels of a word: its letters' coverage, and its emoji in red, green, blue and opacity; 0..255."""

    left: int
    top: int
    letters: Pixels
    emoji: Pixels | None


@dataclass(frozen=True, slots=True)
class _Layers:
    """The layers of a frame: the letters over the highlight, then the emoji."""

    letters: Painted
    emoji: list[Coat] | None


class Lettering:
    """Draws a block; `ink`, `accent` and `accent_ink` are the colours of text, highlight and highlighted text."""

    def __init__(self, block: Block, motion: Motion, plate: Plate, ink: Yuv, accent: Yuv, accent_ink: Yuv) -> None:
        self._block, self._motion, self._shape = block, motion, plate
        self._ink, self._accent, self._accent_ink = ink, accent, accent_ink
        self._plate = _even(block.ink)
        self._masks = [_mask(word, block) for word in block.words]
        self._resting: _Layers | None = None
        self._kept: tuple[Highlight | None, Painted] | None = None  # the last resting frame

    def draw(self, frame: VideoFrame, seconds: float) -> None:
        """Draw the block at a time."""
        highlight = self._motion.highlight(seconds)
        if not self._motion.still(seconds):
            stencil, coats = self._composed(self._moved(seconds), highlight)
        else:
            # Most frames have the same text and highlight as the one before.
            if self._kept is None or self._kept[0] != highlight:
                self._resting = self._resting or self._moved(seconds)
                self._kept = highlight, self._composed(self._resting, highlight)
            stencil, coats = self._kept[1]
        for view, coat in zip(stencil.views(frame), coats, strict=True):
            coat.paint(view)

    def _composed(self, layers: _Layers, highlight: Highlight | None) -> Painted:
        stencil, coats = self._highlighted(layers.letters, highlight)
        if layers.emoji:
            coats = [upper.on(lower) for upper, lower in zip(layers.emoji, coats, strict=True)]
        return stencil, coats

    def _highlighted(self, text: Painted, highlight: Highlight | None) -> Painted:
        """Return the text over the highlight, in its second colour where the highlight is."""
        if highlight is None:
            return text
        stencil, coats = text
        pill = self._pill(highlight)
        both = []
        for number, (coat, alpha) in enumerate(zip(coats, pill.alphas(), strict=True)):
            top, left = (pill.top, pill.left) if number == 0 else (pill.top // 2, pill.left // 2)
            window = slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1])
            code = (self._ink[number] * (256 - alpha) + self._accent_ink[number] * alpha) >> 8
            over = Coat(coat.kept[window], (256 - coat.kept[window]) * code)
            if self._shape.filled:
                over = over.on(Coat.of(alpha, self._accent[number]))
            whole = Coat(coat.kept.copy(), coat.added.copy())
            whole.kept[window], whole.added[window] = over
            both.append(whole)
        return stencil, both

    def _moved(self, seconds: float) -> _Layers:
        plate: Plane = np.zeros((self._plate.height, self._plate.width), np.uint8)
        pictures: Pixels | None = None
        for index, (word, mask) in enumerate(zip(self._block.words, self._masks, strict=True)):
            pose = self._motion.pose(index, seconds)
            if pose.opacity <= 0:
                continue
            # A word is clipped to its line while it moves in.
            floor = math.ceil(word.box[3] + 0.12 * self._block.size) - self._plate.top
            left, top = mask.left - self._plate.left + round(pose.dx), mask.top - self._plate.top + round(pose.dy)
            _paste(plate, _faded(mask.letters, pose.opacity), left, top, floor)
            if mask.emoji is not None:
                if pictures is None:
                    pictures = np.zeros((*plate.shape, 4), np.uint8)
                faded = np.dstack((mask.emoji[:, :, :3], _faded(mask.emoji[:, :, 3], pose.opacity)))
                _paste(pictures, faded, left, top, floor)
        luma = to_alpha(plate)
        stencil = Stencil(self._plate.left, self._plate.top, luma, halve(luma))
        letters = [Coat.of(alpha, code) for alpha, code in zip(stencil.alphas(), self._ink, strict=True)]
        return _Layers((stencil, letters), None if pictures is None else _coloured(pictures))

    def _pill(self, highlight: Highlight) -> Stencil:
        """Return the highlight's stencil, relative to the plate."""
        left, top, right, bottom = highlight.box
        left, right = left - self._plate.left, right - self._plate.left
        top, bottom = top - self._plate.top, bottom - self._plate.top
        x0, x1 = max(0, int(left) // 2 * 2), min(self._plate.width, -(-math.ceil(right) // 2) * 2)
        y0, y1 = max(0, int(top) // 2 * 2), min(self._plate.height, -(-math.ceil(bottom) // 2) * 2)
        radius = min(self._shape.radius * self._block.size, (right - left) / 2, (bottom - top) / 2)
        x = np.abs(np.arange(x0, x1, dtype=np.float32) + 0.5 - (left + right) / 2) - ((right - left) / 2 - radius)
        y = np.abs(np.arange(y0, y1, dtype=np.float32) + 0.5 - (top + bottom) / 2) - ((bottom - top) / 2 - radius)
        alpha = _covered(y - radius)[:, None] * _covered(x - radius)
        corners = np.ix_(y > 0, x > 0)
        alpha[corners] = _covered(np.hypot(x[x > 0], y[y > 0, None]) - radius)
        whole = (alpha * np.float32(256 * highlight.opacity)).astype(np.uint16)
        return Stencil(x0, y0, whole, halve(whole))


def _covered(distance: Floats) -> Floats:
    """Return the share, 0..1, of a pixel inside an edge at a distance (negative: inside) from its centre."""
    share: Floats = np.clip(np.float32(0.5) - distance, 0, 1)
    return share


def _mask(word: Placed, block: Block) -> _Mask:
    size = block.size
    left = math.floor(min(x + shape.left * size for shape, x in word.runs)) - 1
    right = math.ceil(max(x + shape.right * size for shape, x in word.runs)) + 1
    where = (size, word.y - block.ink.top, right - left, block.ink.height)
    runs = [(shape, x - left) for shape, x in word.runs]
    letters = draw([run for run in runs if not run[0].coloured], *where)
    coloured = [run for run in runs if run[0].coloured]
    return _Mask(left, block.ink.top, letters, paint(coloured, *where) if coloured else None)


def _faded(mask: Pixels, opacity: float) -> Pixels:
    """Return a mask at a lower opacity."""
    return mask if opacity >= 1 else (mask * np.float32(opacity)).astype(np.uint8)


def _coloured(pictures: Pixels) -> list[Coat]:
    """Return the coats of the planes Y, U, V for pictures in red, green, blue and opacity."""
    alpha = to_alpha(pictures[:, :, 3])
    y, u, v = np.moveaxis(codes(pictures[:, :, :3].astype(np.float32) / 255) * alpha[:, :, None], 2, 0)
    chroma = (plane.reshape(plane.shape[0] // 2, 2, -1, 2).mean((1, 3)) for plane in (u, v))
    alphas = (alpha, halve(alpha), halve(alpha))
    return [
        Coat(np.uint16(256) - one, plane.astype(np.uint16)) for one, plane in zip(alphas, (y, *chroma), strict=True)
    ]


def _paste(plate: Pixels, mask: Pixels, left: int, top: int, floor: int) -> None:
    """Merge the mask into the plate with the maximum of both, clipped to the plate and to the rows above `floor`."""
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(plate.shape[1], left + mask.shape[1]), min(plate.shape[0], top + mask.shape[0], floor)
    if x0 < x1 and y0 < y1:
        window = plate[y0:y1, x0:x1]
        np.maximum(window, mask[y0 - top : y1 - top, x0 - left : x1 - left], out=window)


def _even(area: Area) -> Area:
    left, top = area.left // 2 * 2, area.top // 2 * 2
    return Area(left, top, -(-area.right // 2) * 2, -(-area.bottom // 2) * 2)
