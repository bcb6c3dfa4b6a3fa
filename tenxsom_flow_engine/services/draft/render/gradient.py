"""Paint the moving background: drifting, blending coloured lights, drawn small and scaled up by libswscale."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from av import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tenxsom_flow_engine.services.draft.render.colour import Floats, video
from tenxsom_flow_engine.services.draft.render.style import Light, Style

Plane = NDArray[np.uint8]
_CELL = 15  # pixels of a 1080-line picture per cell of the small picture
BLOOM_TOP = 0.80  # fraction of the height below which the glow begins; text ends above it


class Gradient:
    """Paints frames of `width` x `height` pixels, yuv420p."""

    def __init__(self, look: Style, width: int, height: int) -> None:
        self._size = (width, height)
        short = min(width, height)
        self._columns, self._rows = (round(side * 1080 / short / _CELL) for side in self._size)
        # Coordinates in units of the short side from the centre, so that lights are round in any frame.
        self._x = ((np.arange(self._columns, dtype=np.float32) + 0.5) / self._columns - 0.5) * (width / short)
        self._y = ((np.arange(self._rows, dtype=np.float32) + 0.5) / self._rows - 0.5)[:, None] * (height / short)
        self._reach = (width / short, height / short)
        self._look = look
        self._scaler = VideoReformatter()
        # Grain hides the banding of 8-bit video; part of it survives the encoder.
        noise = np.random.default_rng(look.score.seed).normal(0.0, 1.1, (height, width))
        self._grain = np.round(noise).astype(np.int8).view(np.uint8)

    def paint(self, seconds: float) -> VideoFrame:
        """Return a new frame of the background at a time, which the caller can draw on."""
        small = VideoFrame(self._columns, self._rows, "yuv444p16le")
        for plane, values in zip(small.planes, np.moveaxis(video(self._colours(seconds)), -1, 0), strict=True):
            cells = _memory(plane).view(np.uint16).reshape(self._rows, -1)
            cells[:, : self._columns] = values * 256.0
        # libswscale dithers from 16 bits per sample, so gradients stay smooth.
        frame = self._scaler.reformat(small, *self._size, "yuv420p", interpolation="BICUBIC")
        luma = pixels(frame, 0)
        # Adding wraps like two's complement; limited-range luma is never near the ends.
        np.add(luma, self._grain, out=luma)
        return frame

    def _colours(self, seconds: float) -> Floats:
        """Return the background in OKLab, rows x columns x 3."""
        swirl = 2 * math.pi * 0.05 * seconds
        x = self._x + 0.10 * np.sin(2.6 * self._y + swirl) + 0.05 * np.sin(5.1 * self._y - 1.7 * swirl)
        y = self._y + 0.10 * np.sin(2.9 * self._x - 1.3 * swirl) + 0.05 * np.sin(4.7 * self._x + swirl)
        total = np.full(x.shape, 0.32, np.float32)
        mixed = total[..., None] * self._look.ground
        for light in self._look.lights:
            weight = self._weight(light, x, y, seconds)
            total += weight
            mixed += weight[..., None] * light.colour
        bloom = self._bloom(seconds)
        total += bloom
        mixed += bloom[..., None] * self._look.accent
        colours: Floats = mixed / total[..., None]
        return colours

    def _bloom(self, seconds: float) -> Floats:
        """Return the weight of the glow along the bottom edge, which pulses with the music and stays below the text."""
        depth = np.clip((self._y / self._reach[1] + 0.5 - BLOOM_TOP) / (1 - BLOOM_TOP), 0, 1)
        middle = 0.3 * math.sin(2 * math.pi * (0.06 * seconds + self._look.lights[0].across[3])) * self._reach[0]
        breath = 1 + 0.16 * math.exp(-5 * (seconds * self._look.score.tempo / 60 % 1))
        spread = np.exp(-np.square((self._x - np.float32(middle)) / np.float32(0.42 * self._reach[0])))
        weight: Floats = (depth**2.3 * np.float32(1.4 * breath) * spread).astype(np.float32)
        return weight

    def _weight(self, light: Light, x: Floats, y: Floats, seconds: float) -> Floats:
        squares = np.zeros(x.shape, np.float32)
        for axis, path, reach in ((x, light.across, self._reach[0]), (y, light.down, self._reach[1])):
            centre, amplitude, speed, phase = path
            at = (centre - 0.5 + amplitude * math.sin(2 * math.pi * (speed * seconds + phase))) * reach
            squares += np.square(axis - np.float32(at))
        weight: Floats = np.exp(squares * np.float32(-1.0 / (2.0 * light.radius**2)))
        return weight


def pixels(frame: VideoFrame, plane: int) -> Plane:
    """Return a writable view of a plane of a yuv420p frame, height x width."""
    data = frame.planes[plane]
    rows: Plane = _memory(data).reshape(data.height, data.line_size)
    return rows[:, : data.width]


def _memory(plane: VideoPlane) -> Plane:
    # A plane supports the buffer protocol, which PyAV's type hints omit.
    return np.frombuffer(cast("bytes", plane), np.uint8)
