"""Paint the moving background: drifting coloured lights or discs, drawn small and scaled up by libswscale."""

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
from tenxsom_flow_engine.services.draft.render.texture import texture

Plane = NDArray[np.uint8]
_EDGE = 0.008  # width of a disc's edge, as a share of the short side: more than a cell
#: By whether the background has edges: pixels of a 1080-line picture per cell of the small one, and small pictures a
#: second. Lights are so soft and slow that few of both suffice.
_CELLS, _PICTURES = {False: 15, True: 6}, {False: 10, True: 30}
BLOOM_TOP = 0.80  # fraction of the height below which the glow begins; text ends above it


class Gradient:
    """Paints frames of `width` x `height` pixels, yuv420p."""

    def __init__(self, look: Style, width: int, height: int) -> None:
        self._size = (width, height)
        short = min(width, height)
        edges = look.treatment.ground != "lights"
        self._columns, self._rows = (round(side * 1080 / short / _CELLS[edges]) for side in self._size)
        self._rate = _PICTURES[edges]
        self._interpolation = "BILINEAR" if edges else "BICUBIC"  # bicubic overshoots at edges
        # Coordinates in units of the short side from the centre, so that lights are round in any frame.
        self._x = ((np.arange(self._columns, dtype=np.float32) + 0.5) / self._columns - 0.5) * (width / short)
        self._y = ((np.arange(self._rows, dtype=np.float32) + 0.5) / self._rows - 0.5)[:, None] * (height / short)
        self._reach = (width / short, height / short)
        self._look = look
        self._pictures: dict[int, Floats] = {}  # by number, the last two
        self._scaler = VideoReformatter()
        self._texture = texture(look.treatment.texture, width, height, look.score.seed)
        distance = np.square(self._x / self._reach[0]) + np.square(self._y / self._reach[1])  # 0.5 in the corners
        self._shade = (1 - look.treatment.vignette * np.minimum(2 * distance, 1)).astype(np.float32)[..., None]

    def paint(self, seconds: float) -> VideoFrame:
        """Return a new frame of the background at a time, which the caller can draw on."""
        small = VideoFrame(self._columns, self._rows, "yuv444p16le")
        for plane, values in zip(small.planes, self._between(seconds), strict=True):
            cells = _memory(plane).view(np.uint16).reshape(self._rows, -1)
            cells[:, : self._columns] = values
        # libswscale dithers from 16 bits per sample, so gradients stay smooth.
        frame = self._scaler.reformat(small, *self._size, "yuv420p", interpolation=self._interpolation)
        luma = pixels(frame, 0)
        # Adding wraps like two's complement; limited-range luma is never near the ends.
        np.add(luma, self._texture, out=luma)
        return frame

    def _between(self, seconds: float) -> Floats:
        """Return the small picture, 3 planes in 16 bits per sample: the mean of the two pictures nearest in time."""
        number, part = divmod(seconds * self._rate, 1.0)
        for n in (int(number), int(number) + 1):
            if n not in self._pictures:
                self._pictures[n] = np.moveaxis(video(self._colours(n / self._rate)), -1, 0) * np.float32(256)
                self._pictures.pop(n - 2, None)
        before, after = self._pictures[int(number)], self._pictures[int(number) + 1]
        picture: Floats = before + (after - before) * np.float32(part)
        return picture

    def _colours(self, seconds: float) -> Floats:
        """Return the background in OKLab, rows x columns x 3."""
        colours = self._blended(seconds) if self._look.treatment.ground == "lights" else self._layered(seconds)
        shaded: Floats = colours * self._shade
        return shaded

    def _blended(self, seconds: float) -> Floats:
        """Return lights that blend into each other and into the ground."""
        swirl = 2 * math.pi * 0.05 * seconds
        x = self._x + 0.10 * np.sin(2.6 * self._y + swirl) + 0.05 * np.sin(5.1 * self._y - 1.7 * swirl)
        y = self._y + 0.10 * np.sin(2.9 * self._x - 1.3 * swirl) + 0.05 * np.sin(4.7 * self._x + swirl)
        total = np.full(x.shape, 0.32, np.float32)
        mixed = total[..., None] * self._look.ground
        weights = [(light.colour, self._weight(light, x, y, seconds)) for light in self._look.lights]
        if self._look.treatment.bloom:
            weights.append((self._look.accent, self._bloom(seconds)))
        for colour, weight in weights:
            total += weight
            mixed += weight[..., None] * colour
        colours: Floats = mixed / total[..., None]
        return colours

    def _layered(self, seconds: float) -> Floats:
        """Return flat discs, each over the ones before."""
        colours = np.broadcast_to(self._look.ground, (self._rows, self._columns, 3))
        beat = math.exp(-5 * (seconds * self._look.score.tempo / 60 % 1))
        for light in self._look.lights:
            radius = light.radius * (1 + 0.03 * beat)
            distance = np.sqrt(self._squares(light, self._x, self._y, seconds))
            share = np.clip(0.5 - (distance - np.float32(radius)) / np.float32(_EDGE), 0, 1)[..., None]
            colours = colours + share * (light.colour - colours)
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
        squares = self._squares(light, x, y, seconds)
        weight: Floats = np.exp(squares * np.float32(-1.0 / (2.0 * light.radius**2)))
        return weight

    def _squares(self, light: Light, x: Floats, y: Floats, seconds: float) -> Floats:
        """Return the squared distance of each cell from the light."""
        parts = []
        for axis, path, reach in ((x, light.across, self._reach[0]), (y, light.down, self._reach[1])):
            centre, amplitude, speed, phase = path
            at = (centre - 0.5 + amplitude * math.sin(2 * math.pi * (speed * seconds + phase))) * reach
            parts.append(np.square(axis - np.float32(at)))
        squares: Floats = parts[0] + parts[1]
        return squares


def pixels(frame: VideoFrame, plane: int) -> Plane:
    """Return a writable view of a plane of a yuv420p frame, height x width."""
    data = frame.planes[plane]
    rows: Plane = _memory(data).reshape(data.height, data.line_size)
    return rows[:, : data.width]


def _memory(plane: VideoPlane) -> Plane:
    # A plane supports the buffer protocol, which PyAV's type hints omit.
    return np.frombuffer(cast("bytes", plane), np.uint8)
