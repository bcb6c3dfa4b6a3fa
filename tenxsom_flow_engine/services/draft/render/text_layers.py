"""Draw a beat's text on frames: word masks, drawn once, then moved and coloured by the highlight under them."""

from __future__ import annotations

import math

import numpy as np
from av import VideoFrame
from PIL import Image, ImageDraw

from tenxsom_flow_engine.services.draft.render.blend import Alpha, Stencil, Yuv, halve, mix, to_alpha
from tenxsom_flow_engine.services.draft.render.gradient import Plane
from tenxsom_flow_engine.services.draft.render.motion import Highlight, Motion
from tenxsom_flow_engine.services.draft.render.typesetting import Area, Block, Placed

_RADIUS = 0.17  # em
Ready = list[tuple[Alpha, Alpha]]  # alpha and premultiplied ink of the planes Y, U, V


class Lettering:
    """Draws a block; `ink`, `accent` and `accent_ink` are the colours of text, highlight and highlighted text."""

    def __init__(self, block: Block, motion: Motion, ink: Yuv, accent: Yuv, accent_ink: Yuv) -> None:
        self._block, self._motion = block, motion
        self._ink, self._accent, self._accent_ink = ink, accent, accent_ink
        self._plate = _even(block.ink)
        self._masks = [_mask(word, block) for word in block.words]
        self._resting: tuple[Stencil, Ready] | None = None

    def draw(self, frame: VideoFrame, seconds: float) -> None:
        """Draw the block at a time."""
        stencil, ready = self._type(seconds)
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

    def _type(self, seconds: float) -> tuple[Stencil, Ready]:
        if not self._motion.still(seconds):
            return self._moved(seconds)
        if self._resting is None:
            self._resting = self._moved(seconds)
        return self._resting

    def _moved(self, seconds: float) -> tuple[Stencil, Ready]:
        plate: Plane = np.zeros((self._plate.height, self._plate.width), np.uint8)
        for index, (word, (left, top, mask)) in enumerate(zip(self._block.words, self._masks, strict=True)):
            pose = self._motion.pose(index, seconds)
            if pose.opacity <= 0 or not mask.size:
                continue
            # A word is clipped to its line while it moves in.
            floor = math.ceil(word.box[3] + 0.12 * self._block.size) - self._plate.top
            seen = mask if pose.opacity >= 1 else (mask * np.float32(pose.opacity)).astype(np.uint8)
            _paste(plate, seen, left - self._plate.left + round(pose.dx), top - self._plate.top + round(pose.dy), floor)
        luma = to_alpha(plate)
        stencil = Stencil(self._plate.left, self._plate.top, luma, halve(luma))
        return stencil, [(a, a * np.uint16(code)) for a, code in zip(stencil.alphas(), self._ink, strict=True)]

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


def _mask(word: Placed, block: Block) -> tuple[int, int, Plane]:
    """Return the left and top edge of a word, and its mask, 0..255."""
    if not word.runs:
        return 0, 0, np.zeros((0, 0), np.uint8)
    left, right = math.floor(word.box[0]), math.ceil(word.box[2])
    image = Image.new("L", (right - left, block.ink.height))
    pen = word.x - left
    draw = ImageDraw.Draw(image)
    for run in word.runs:
        font = run.face.at(block.size)
        draw.text((pen, word.y - block.ink.top), run.text, fill=255, font=font, anchor="ls")
        pen += font.getlength(run.text)
    box = image.getbbox() or (0, 0, 0, 0)
    return left + box[0], block.ink.top + box[1], np.asarray(image.crop(box), np.uint8)


def _paste(plate: Plane, mask: Plane, left: int, top: int, floor: int) -> None:
    """Merge the mask into the plate with the maximum of both, clipped to the plate and to the rows above `floor`."""
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(plate.shape[1], left + mask.shape[1]), min(plate.shape[0], top + mask.shape[0], floor)
    if x0 < x1 and y0 < y1:
        window = plate[y0:y1, x0:x1]
        np.maximum(window, mask[y0 - top : y1 - top, x0 - left : x1 - left], out=window)


def _even(area: Area) -> Area:
    left, top = area.left // 2 * 2, area.top // 2 * 2
    return Area(left, top, -(-area.right // 2) * 2, -(-area.bottom // 2) * 2)
