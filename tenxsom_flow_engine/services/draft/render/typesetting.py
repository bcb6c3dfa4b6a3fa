"""Set tokens as a block of positioned words: measure them, choose a size, break them into lines and order each line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise

from tenxsom_flow_engine.services.draft.render.direction import levels, visual_order
from tenxsom_flow_engine.services.draft.render.fonts import Library
from tenxsom_flow_engine.services.draft.render.shaping import Shape, shape
from tenxsom_flow_engine.services.draft.render.tokens import Token, clusters

MAX_LINES = 5
_GAP = 0.27  # em between words
_PAD = 0.125  # em of highlight on each side of a word
_ABOVE, _BELOW = 0.88, 0.29  # em of highlight above and below the baseline, more if marks need it
_AIR = 0.03  # em of highlight above and below such marks
_LEADING = 1.12  # em between baselines, more if tall marks need it
_SMALLEST = 4.0  # pixels per em


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Placed:
    """A positioned word: its shapes with their x position, the y of its baseline, and the box of its highlight.

    If other words stand between the parts of a word, which happens where directions mix, the box has the widest part.
    """

    runs: tuple[tuple[Shape, float], ...]
    y: float
    line: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Block:
    """Words in reading order, at `size` pixels per em. `ink` bounds all pixels of text and highlight."""

    words: tuple[Placed, ...]
    size: float
    ink: Area


@dataclass(frozen=True, slots=True)
class _Word:
    """A measured word: shapes with their embedding level; what follows it, with its level."""

    parts: tuple[tuple[Shape, int], ...]
    after: str
    level_after: int

    @property
    def left(self) -> float:
        """The em by which ink extends beyond the left of the word; `right` the same."""
        return max([0.0, *(-s.left for s, _ in self.parts)])

    @property
    def right(self) -> float:
        return max([0.0, *(s.right - s.advance for s, _ in self.parts)])

    @property
    def width(self) -> float:
        """The em from the left to the right of its highlight."""
        return self.left + sum(s.advance for s, _ in self.parts) + self.right + 2 * _PAD


@dataclass(frozen=True, slots=True)
class _Fragment:
    """Neighbouring parts of the word `number`: their x positions and the extent of their highlight, in em."""

    number: int
    parts: tuple[tuple[Shape, float], ...]
    left: float
    right: float


@dataclass(frozen=True)
class Text:
    """The measured words of a screen, ready to be set at any size."""

    words: tuple[_Word, ...]
    hyphen: Shape
    from_right: bool

    @cached_property
    def above(self) -> float:
        """The em of the highlight above the baseline."""
        return max(_ABOVE, *(s.above + _AIR for word in self.words for s, _ in word.parts))

    @cached_property
    def below(self) -> float:
        """The em of the highlight below the baseline."""
        return max(_BELOW, *(s.below + _AIR for word in self.words for s, _ in word.parts))

    @property
    def pitch(self) -> float:
        """The em between baselines."""
        return max(_LEADING, self.above + self.below + _AIR)

    @cached_property
    def layouts(self) -> tuple[_Layout, ...]:
        """The layouts in one line, in two and so on."""
        return tuple(self._layout(count) for count in range(1, min(MAX_LINES, len(self.words)) + 1))

    def _layout(self, count: int) -> _Layout:
        lines = []
        for start, end in pairwise(_break(self.words, count, self.hyphen.advance)):
            row = list(self.words[start:end])
            if row[-1].after == "-":
                row[-1] = _hyphenated(row[-1], self.hyphen)
            lines.append(_line(row, start, self.from_right))
        height = self.pitch * (count - 1) + self.above + self.below
        return _Layout(tuple(lines), max(_width(line) for line in lines), height)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Lines of fragments from left to right; their greatest width and their height together in em."""

    lines: tuple[tuple[_Fragment, ...], ...]
    width: float
    height: float

    def largest_size(self, area: Area) -> float:
        return min(area.width / self.width, area.height / self.height)


def measure(tokens: Sequence[Token], library: Library, language: str = "") -> Text:
    """Measure the tokens of a screen, with the forms of a language (see `han_language`).

    Raises `Rejected` for characters that no font covers.
    """
    paragraph = "".join(t.text + (" " if t.after == " " else "") for t in tokens)
    from_right = tokens[0].from_right
    resolved = levels(paragraph, from_right)
    words, start = [], 0
    for token in tokens:
        end = start + len(token.text)
        parts = []
        for level, text in _by_level(token.text, resolved[start:end]):
            runs = library.runs(text, language)
            parts += [(shape(run, level % 2 == 1, language), level) for run in runs]
        spaced = token.after == " "
        words.append(_Word(tuple(parts), token.after, resolved[end] if spaced else 0))
        start = end + spaced
    (hyphen,) = library.runs("-")
    return Text(tuple(words), shape(hyphen), from_right)


def largest_size(text: Text, area: Area, limit: float) -> float:
    """Return the largest size in pixels per em, at most `limit`, at which the text fits in MAX_LINES lines."""
    sizes = [min(limit, layout.largest_size(area)) for layout in text.layouts]
    # A slightly larger size does not justify another line.
    best = next(size for size in sizes if size > max(sizes) * 0.91)
    return max(_SMALLEST, math.floor(best * 2) / 2)


def set_block(text: Text, area: Area, size: float, centred: bool = False) -> Block:
    """Set the text inside the area at a size that fits (see `largest_size`), in as few lines as possible."""
    fitting = (layout for layout in text.layouts if layout.largest_size(area) >= size)
    layout = next(fitting, max(text.layouts, key=lambda layout: layout.largest_size(area)))
    baseline = area.top + max(0.0, (area.height - layout.height * size) / 2) + text.above * size
    words: dict[int, Placed] = {}
    for number, line in enumerate(layout.lines):
        shift = (area.width - _width(line) * size) * (0.5 if centred else float(text.from_right))
        origin = area.left + max(0.0, shift)
        # One height for the whole line, because the highlight slides along it.
        top = baseline - max([_ABOVE, *(s.above + _AIR for f in line for s, _ in f.parts)]) * size
        bottom = baseline + max([_BELOW, *(s.below + _AIR for f in line for s, _ in f.parts)]) * size
        for index, group in groupby(sorted(line, key=lambda f: f.number), key=lambda f: f.number):
            fragments = list(group)
            runs = tuple((s, origin + x * size) for f in fragments for s, x in f.parts)
            widest = max(fragments, key=lambda f: f.right - f.left)
            box = (origin + widest.left * size, top, origin + widest.right * size, bottom)
            words[index] = Placed(runs, baseline, number, box)
        baseline += text.pitch * size
    return Block(tuple(words[index] for index in sorted(words)), size, _ink(words.values(), size))


def _by_level(text: str, of_chars: Sequence[int]) -> list[tuple[int, str]]:
    """Split a text into the longest parts of one level, but no cluster."""
    out: list[tuple[int, str]] = []
    at = 0
    for cluster in clusters(text):
        if out and out[-1][0] == of_chars[at]:
            out[-1] = (of_chars[at], out[-1][1] + cluster)
        else:
            out.append((of_chars[at], cluster))
        at += len(cluster)
    return out


def _hyphenated(word: _Word, hyphen: Shape) -> _Word:
    level = word.parts[-1][1] if word.parts else 0
    return replace(word, parts=(*word.parts, (hyphen, level)))


def _gap(spaces: int) -> float:
    """Return the em between the highlights of two neighbours; negative, because highlights can overlap."""
    return spaces * _GAP - 2 * _PAD


def _break(words: Sequence[_Word], count: int, hyphen: float) -> list[int]:
    """Return the cuts into `count` lines with the narrowest widest line; of these, the most even ones."""
    ends = [word.width for word in words]
    best: dict[int, tuple[float, float, list[int]]] = {0: (0.0, 0.0, [0])}
    for _ in range(count):
        row: dict[int, tuple[float, float, list[int]]] = {}
        for start, (widest, squares, path) in best.items():
            width = 0.0
            for end in range(start + 1, len(words) + 1):
                width += ends[end - 1]
                shown = width + (hyphen if words[end - 1].after == "-" else 0.0)
                option = (max(widest, shown), squares + shown * shown, [*path, end])
                if end not in row or option[:2] < row[end][:2]:
                    row[end] = option
                width += _gap(words[end - 1].after == " ")
        best = row
    return best[len(words)][2]


def _line(row: Sequence[_Word], start: int, from_right: bool) -> tuple[_Fragment, ...]:
    """Return a line's fragments from left to right; `start` is the number of its first word."""
    # None is a space between words; those at the end of a line are not shown.
    items: list[tuple[int, Shape | None, int]] = []
    for number, word in enumerate(row, start):
        items += [(number, part, level) for part, level in word.parts]
        if word.after == " " and word is not row[-1]:
            items.append((number, None, word.level_after))
    ordered = [items[index] for index in visual_order([level for *_, level in items])]
    out: list[_Fragment] = []
    pen, spaces = 0.0, 0
    for key, group in groupby(ordered, key=lambda item: (item[0], item[1] is None)):
        number, is_space = key
        shapes = [part for _, part, _ in group if part is not None]
        if is_space:
            spaces += 1
            continue
        word = row[number - start]
        left = pen + (_gap(spaces) if out else 0.0)
        pen, spaces = left + _PAD + word.left, 0
        parts = []
        for part in shapes:
            parts.append((part, pen))
            pen += part.advance
        pen += word.right + _PAD
        out.append(_Fragment(number, tuple(parts), left, pen))
    return tuple(out)


def _width(line: Sequence[_Fragment]) -> float:
    return line[-1].right if line else 0.0


def _ink(words: Iterable[Placed], size: float) -> Area:
    """Return the bounds of all highlights, and of the parts of divided words beside their highlights."""
    boxes = []
    for word in words:
        _, top, _, bottom = word.box
        boxes += [word.box, *((x + s.left * size, top, x + s.right * size, bottom) for s, x in word.runs)]
    left, top, *_ = (math.floor(min(edge)) for edge in zip(*boxes, strict=True))
    *_, right, bottom = (math.ceil(max(edge)) for edge in zip(*boxes, strict=True))
    return Area(left, top, right, bottom)
