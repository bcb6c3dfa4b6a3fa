"""Animate text: the positions of each word and of the highlight at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tenxsom_flow_engine.services.draft.render.script import Beat
from tenxsom_flow_engine.services.draft.render.treatments import Plate
from tenxsom_flow_engine.services.draft.render.typesetting import Block

_EXIT, _SLIDE = 0.2, 0.2  # seconds
#: By entrance: the seconds that a word takes to enter, and from one word to the next.
_PACES = {
    "rise": (0.42, 0.055),
    "slide": (0.42, 0.055),
    "fade": (0.9, 0.12),
    "bounce": (0.5, 0.07),
    "type": (0.02, 0.11),
}
_HEAD_START = 0.22  # the entrance of the first beat starts before the video, so no frame is empty


@dataclass(frozen=True, slots=True)
class Pose:
    """The offset of a word in pixels, and its opacity 0..1."""

    dx: float = 0.0
    dy: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Highlight:
    """The highlight's box (left, top, right, bottom) in pixels, and its opacity 0..1."""

    box: tuple[float, float, float, float]
    opacity: float


class Motion:
    """The movement of a beat's block; `entrance` is rise, slide, fade, bounce or type."""

    def __init__(self, beat: Beat, block: Block, entrance: str, plate: Plate, first: bool, last: bool) -> None:
        self._beat, self._block, self._entrance, self._plate = beat, block, entrance, plate
        length = beat.end - beat.start
        enter, stagger = _PACES[entrance]
        self._enter = min(enter, length * 0.4)
        self._stagger = min(stagger, length * 0.25 / len(beat.words))
        self._start = beat.start - (min(_HEAD_START, self._enter / 2) if first else 0.0)
        self._exit = 0.0 if last else min(_EXIT, length * 0.2)
        # Words without any drawable character are never highlighted.
        self._shown = [i for i, word in enumerate(block.words) if word.runs]

    def still(self, seconds: float) -> bool:
        """Return whether every word is at rest."""
        entered = self._start + self._enter + self._stagger * len(self._beat.words)
        return entered <= seconds < self._beat.end - self._exit

    def pose(self, index: int, seconds: float) -> Pose:
        """Return the pose of a word at a time."""
        gone = self._leaving(seconds)
        if gone > 0:
            return Pose(0.0, -0.22 * self._block.size * gone * gone, 1 - gone)
        part = (seconds - self._start - index * self._stagger) / self._enter
        there = _out(part)
        away = (1 - there) * self._block.size
        seen = min(1.0, there * 1.6)
        match self._entrance:
            case "slide":
                return Pose(0.55 * away, 0.0, seen)
            case "fade":
                return Pose(opacity=there)
            case "bounce":
                return Pose(0.0, (1 - _overshoot(part)) * self._block.size, seen)
            case "type":  # the letters of a typewriter do not move
                return Pose(opacity=float(part >= 0))
            case _:
                return Pose(0.0, 0.95 * away, seen)

    def highlight(self, seconds: float) -> Highlight | None:
        """Return the highlight at a time. A plate slides along a line, and grows from its centre on each new line."""
        due = [i for i in self._shown if self._beat.words[i].start <= seconds]
        if not due:
            return None
        now = due[-1]
        word = self._beat.words[now]
        part = _out((seconds - word.start) / min(_SLIDE, (word.end - word.start) * 0.7))
        box, opacity = self._block.words[now].box, 1 - self._leaving(seconds)
        before = self._block.words[due[-2]] if len(due) > 1 else None
        if not self._plate.filled:  # colour does not slide across letters
            left, top, right, bottom = box
            opacity *= part
        elif before is not None and before.line == self._block.words[now].line:
            left, top, right, bottom = (a + (b - a) * part for a, b in zip(before.box, box, strict=True))
        else:
            shrink = (1 - part) * 0.25
            (left, right), (top, bottom) = (
                (a + (b - a) / 2 * shrink, b - (b - a) / 2 * shrink) for a, b in (box[::2], box[1::2])
            )
            opacity *= min(1.0, part * 1.5)
        rise = -0.22 * self._block.size * self._leaving(seconds) ** 2
        height = bottom - top
        top, bottom = top + height * self._plate.top, top + height * self._plate.bottom
        return Highlight((left, top + rise, right, bottom + rise), opacity)

    def _leaving(self, seconds: float) -> float:
        left = self._beat.end - seconds
        return 1 - left / self._exit if left < self._exit else 0.0


def shares(beats: tuple[Beat, ...]) -> list[tuple[float, float]]:
    """Return the span of each beat as (from, to), as fractions of the whole duration."""
    total = beats[-1].end
    return list(pairwise([0.0, *(b.end / total for b in beats)]))


def _out(part: float) -> float:
    """Ease out: start fast and slow down."""
    return 1 - (1 - min(1.0, max(0.0, part))) ** 4


def _overshoot(part: float) -> float:
    """Ease out beyond the end, and return to it."""
    left = 1 - min(1.0, max(0.0, part))
    return 1 - left * left * (2.4 * left - 1.4)
