"""Draw a beat's text on frames: word masks, drawn once, then moved and coloured by the highlight under them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from av import VideoFrame

from tenxsom_flow_engine.services.draft.render.blend import Alpha, Stencil, Yuv, halve, mix, to_alpha
from tenxsom_flow_engine.services.draft.render.colour import codes
from tenxsom_flow_engine.services.draft.render.gradient import Plane
from tenxsom_flow_engine.services.draft.render.motion import Highlight, Motion
from tenxsom_flow_engine.services.draft.render.shaping import Pixels, draw, paint
from tenxsom_flow_engine.services.draft.render.typesetting import Area, Block, Placed

_RADIUS = 0.17  # em
Ready = list[tuple[Alpha, Alpha]]  # alpha and premultiplied ink of the planes Y, U, V


@dataclass(frozen=True, slots=True)
class _Mask:
    """The pixels of a word: its letters' coverage, and its emoji in red, green, blue and opacity; 0..255."""

    left: int
    top: int
    letters: Pixels
    emoji: Pixels | None


@dataclass(frozen=True, slots=True)
class _Layers:
    """What is drawn at a time: the letters over the highlight, then the emoji."""

    letters: tuple[Stencil, Ready]
    emoji: tuple[Stencil, Ready] | None


class Lettering:
    """Draws a block; `ink`, `accent` and `accent_ink` are the colours of text, highlight and highlighted text."""

    def __init__(self, block: Block, motion: Motion, ink: Yuv, accent: Yuv, accent_ink: Yuv) -> None:
        self._block, self._motion = block, motion
        self._ink, self._accent, self._accent_ink = ink, accent, accent_ink
        self._plate = _even(block.ink)
        self._masks = [_mask(word, block) for word in block.words]
        self._resting: _Layers | None = None

    def draw(self, frame: VideoFrame, seconds: float) -> None:
        """Draw the block at a time."""
        layers = self._layers(seconds)
        stencil, ready = layers.letters
        highlight = self._motion.highlight(seconds)
        pill = self._pill(highlight) if highlight else None
        for number, (view, (letters, premultiplied)) in enumerate(zip(stencil.views(frame), ready, strict=True)):
            if pill is None:
                mix(view, letters, premultiplied)
                continue
            alpha = pill.alphas()[number]
            top, left = (pill.top, pill.left) if number == 0 else (pill.top // 2, pill.left // 2)
            window = slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1])
            mix(view[window], alpha, alpha * np.uint16(self._accent[number]))
            # The ink changes only over the highlight and only for this frame.
            resting = premultiplied[window].copy()
            code = (self._ink[number] * (256 - alpha) + self._accent_ink[number] * alpha) >> 8
            premultiplied[window] = letters[window] * code
            mix(view, letters, premultiplied)
            premultiplied[window] = resting
        if layers.emoji:
            stencil, ready = layers.emoji
            for view, (alpha, premultiplied) in zip(stencil.views(frame), ready, strict=True):
                mix(view, alpha, premultiplied)

    def _layers(self, seconds: float) -> _Layers:
        if not self._motion.still(seconds):
            return self._moved(seconds)
        if self._resting is None:
            self._resting = self._moved(seconds)
        return self._resting

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
        letters = [(a, a * np.uint16(code)) for a, code in zip(stencil.alphas(), self._ink, strict=True)]
        emoji = None if pictures is None else _coloured(self._plate.left, self._plate.top, pictures)
        return _Layers((stencil, letters), emoji)

    def _pill(self, highlight: Highlight) -> Stencil:
        """Return the highlight's stencil, relative to the plate."""
        left, top, right, bottom = highlight.box
        left, right = left - self._plate.left, right - self._plate.left
        top, bottom = top - self._plate.top, bottom - self._plate.top
        x0, x1 = max(0, int(left) // 2 * 2), min(self._plate.width, -(-math.ceil(right) // 2) * 2)
        y0, y1 = max(0, int(top) // 2 * 2), min(self._plate.height, -(-math.ceil(bottom) // 2) * 2)
        radius = min(_RADIUS * self._block.size, (right - left) / 2, (bottom - top) / 2)
        x = np.abs(np.arange(x0, x1, dtype=np.float32) + 0.5 - (left + right) / 2) - ((right - left) / 2 - radius)
        y = np.abs(np.arange(y0, y1, dtype=np.float32) + 0.5 - (top + bottom) / 2) - ((bottom - top) / 2 - radius)
        corner = np.hypot(np.maximum(x, 0), np.maximum(y, 0)[:, None])
        distance = corner + np.minimum(np.maximum(x, y[:, None]), 0) - radius
        alpha = (np.clip(0.5 - distance, 0, 1) * (256 * highlight.opacity)).astype(np.uint16)
        return Stencil(x0, y0, alpha, halve(alpha))


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


def _coloured(left: int, top: int, pictures: Pixels) -> tuple[Stencil, Ready]:
    """Return the stencil of pictures in red, green, blue and opacity, and their colours in the planes Y, U, V."""
    luma = to_alpha(pictures[:, :, 3])
    stencil = Stencil(left, top, luma, halve(luma))
    y, u, v = np.moveaxis(codes(pictures[:, :, :3].astype(np.float32) / 255) * luma[:, :, None], 2, 0)
    chroma = (plane.reshape(plane.shape[0] // 2, 2, -1, 2).mean((1, 3)) for plane in (u, v))
    premultiplied = [plane.astype(np.uint16) for plane in (y, *chroma)]
    return stencil, list(zip(stencil.alphas(), premultiplied, strict=True))


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
