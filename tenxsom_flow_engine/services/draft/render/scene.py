"""Compose the frames of a draft from its script and style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from av import VideoFrame

from tenxsom_flow_engine.services.draft.render.blend import yuv
from tenxsom_flow_engine.services.draft.render.characters import han_language
from tenxsom_flow_engine.services.draft.render.encode import FPS
from tenxsom_flow_engine.services.draft.render.fonts import Library
from tenxsom_flow_engine.services.draft.render.gradient import Gradient
from tenxsom_flow_engine.services.draft.render.motion import Motion, shares
from tenxsom_flow_engine.services.draft.render.overlays import Bars, Mark, Progress
from tenxsom_flow_engine.services.draft.render.script import Beat
from tenxsom_flow_engine.services.draft.render.style import Style
from tenxsom_flow_engine.services.draft.render.text_layers import Lettering
from tenxsom_flow_engine.services.draft.render.typesetting import Area, Block, largest_size, measure, set_block

_FLOOR = 0.08  # of the short side: a screen whose long word needs a smaller size is set smaller than the others
_STEP = 0.85  # of the hook's size: the largest of the other screens

_HEADING = 0.085  # from the progress line to the text, as a share of the short side
_MARK = 0.09  # height of the draft mark, likewise


def safe_area(width: int, height: int, centred: bool = False, reels: bool = False) -> Area:
    """Return the area for text. Players' buttons cover the right 12 % and the bottom 20 % of a frame.

    Instagram's Reels cover more: according to Meta's guide for ads the top 14 %, the bottom 35 %, and 6 % on each side.
    """
    side = 0.12 if centred else 0.075
    top = 0.14 if reels else 0.05
    # Even, because rows share their colour in pairs.
    below = math.ceil(height * top / 2) * 2 + round(min(width, height) * _HEADING)
    return Area(round(width * side), below, round(width * 0.88), round(height * (0.65 if reels else 0.80)))


def _set(beats: Sequence[Beat], area: Area, most: float, floor: float, library: Library, centred: bool) -> list[Block]:
    """Set the text of all beats: the hook's in one size, the others' in another, which is smaller."""
    language = han_language("".join(beat.text for beat in beats))
    texts = [measure([word.token for word in beat.words], library, language) for beat in beats]
    hooks = [beat.kind == "hook" for beat in beats]
    largest = [largest_size(text, area, most) for text in texts]
    hook = _common([size for size, is_hook in zip(largest, hooks, strict=True) if is_hook], floor)
    other = _common([size for size, is_hook in zip(largest, hooks, strict=True) if not is_hook], floor)
    other = min(other, max(hook * _STEP, min(hook, floor)))
    sizes = [min(size, hook if is_hook else other) for size, is_hook in zip(largest, hooks, strict=True)]
    return [set_block(text, area, size, centred) for text, size in zip(texts, sizes, strict=True)]


def _common(sizes: Sequence[float], floor: float) -> float:
    """Return the size at which all screens fit, except those whose longest word needs less than `floor`."""
    return min([size for size in sizes if size >= floor] or [floor, *sizes])


class Scene:
    """Paints the frames of a script. All text is set at construction, so missing characters fail before the first."""

    def __init__(
        self,
        beats: tuple[Beat, ...],
        look: Style,
        size: tuple[int, int],
        library: Library,
        *,
        mark: bool = False,
        reels: bool = False,
    ) -> None:
        width, height = size
        short = min(size)
        self._beats, self._look, self._treatment = beats, look, look.treatment
        self._gradient = Gradient(look, width, height)
        colours = (look.ink, look.accent, look.accent_ink, look.ground)
        self._ink, self._accent, self._accent_ink, self._ground = (yuv(colour) for colour in colours)
        area = safe_area(width, height, look.centred, reels)
        margin, top = round(width * 0.075), area.top - round(short * _HEADING)
        thickness = max(2, round(short * 0.0056))
        self._progress = Progress(margin, top, width - 2 * margin, thickness, shares(beats))
        self._mark = Mark(margin, top + round(short * 0.03), round(short * _MARK)) if mark else None
        self._bars = Bars(round(height * (0.09 if height > width else 0.1)) // 2 * 2) if look.treatment.bars else None
        if mark:
            area = replace(area, top=area.top + round(short * _MARK))
        self.blocks = _set(beats, area, short * look.treatment.largest, short * _FLOOR, library, look.centred)
        self._current: tuple[int, Lettering] | None = None

    def paint(self, number: int) -> VideoFrame:
        """Return a new frame by its number, from 0."""
        seconds = number / FPS
        frame = self._gradient.paint(seconds)
        if self._bars:
            self._bars.draw(frame)
        self._progress.draw(frame, (number + 1) / FPS / self._beats[-1].end, self._ink)
        if self._mark:
            self._mark.draw(frame, self._ink, self._ground)
        self._lettering(seconds).draw(frame, seconds)
        return frame

    def _lettering(self, seconds: float) -> Lettering:
        """Return the text of the current beat. Only one is cached, so memory does not grow with the duration."""
        index = next(i for i, beat in enumerate(self._beats) if seconds < beat.end)
        if self._current is None or self._current[0] != index:
            beat, block, plate = self._beats[index], self.blocks[index], self._treatment.plate
            motion = Motion(beat, block, self._look.entrance, plate, index == 0, index == len(self._beats) - 1)
            lettering = Lettering(block, motion, plate, self._ink, self._accent, self._accent_ink)
            self._current = (index, lettering)
        return self._current[1]
