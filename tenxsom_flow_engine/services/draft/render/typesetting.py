"""Set tokens as a block of positioned words, at the largest size that fits an area."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tenxsom_flow_engine.services.draft.render.fonts import Library, Run
from tenxsom_flow_engine.services.draft.render.tokens import Token

MAX_LINES = 5
_REFERENCE = 128.0  # pixels per em when measuring; widths are scaled from it
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
    """A positioned word: its runs, their origin (x, y on the baseline), and the box of its highlight."""

    runs: tuple[Run, ...]
    x: float
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
class _Measured:
    """A measured word: the extent of its highlight in em to the left and right of, above and below its origin."""

    runs: tuple[Run, ...]
    after: str
    left: float
    right: float
    above: float
    below: float

    @property
    def width(self) -> float:
        return self.left + self.right


def set_block(tokens: Sequence[Token], area: Area, largest: float, library: Library, centred: bool = False) -> Block:
    """Set the tokens inside the area, at most `largest` pixels per em, in at most MAX_LINES lines.

    Tokens without visible characters become words without runs. Raises `Rejected` for characters that no font covers.
    """
    measured = [_measure(token, library) for token in tokens]
    hyphen = _measure(Token("-"), library).right
    above, below = max(m.above for m in measured), max(m.below for m in measured)
    pitch = max(_LEADING, above + below + 0.03)
    options = []
    for count in range(1, min(MAX_LINES, len(tokens)) + 1):
        cuts = _break(measured, count, hyphen)
        widest = max(_line_width(measured[a:b], hyphen, b == len(measured)) for a, b in pairwise(cuts))
        size = min(largest, area.width / widest, area.height / (pitch * (count - 1) + above + below))
        options.append((size, cuts))
    # A slightly larger size does not justify another line.
    best = max(size for size, _ in options)
    size, cuts = next(option for option in options if option[0] > best * 0.91)
    size = max(_SMALLEST, math.floor(size * 2) / 2)
    return _place(measured, cuts, size, (above, below, pitch), area, centred, library)


def _measure(token: Token, library: Library) -> _Measured:
    runs = library.runs(token.text)
    left = right = above = below = pen = 0.0
    for run in runs:
        font = run.face.at(_REFERENCE)
        x0, y0, x1, y1 = font.getbbox(run.text, anchor="ls")
        left, right = max(left, -(pen + x0)), max(right, pen + x1)
        above, below = max(above, -y0), max(below, y1)
        pen += font.getlength(run.text)
        right = max(right, pen)
    # Two pixels of margin at the reference size for hinting and rounding at other sizes.
    em = [(v + 2) / _REFERENCE for v in (left, right, above, below)]
    above, below = max(_ABOVE, em[2] + _AIR), max(_BELOW, em[3] + _AIR)
    return _Measured(tuple(runs), token.after, em[0] + _PAD, em[1] + _PAD, above, below)


def _gap(word: _Measured) -> float:
    """Return the em between the highlights of a word and the next; negative, because highlights can overlap."""
    return _GAP - 2 * _PAD if word.after == " " else -2 * _PAD


def _line_width(words: Sequence[_Measured], hyphen: float, last: bool) -> float:
    width = sum(w.width for w in words) + sum(_gap(w) for w in words[:-1])
    return width + (hyphen if words[-1].after == "-" and not last else 0.0)


def _break(words: Sequence[_Measured], count: int, hyphen: float) -> list[int]:
    """Return the cuts into `count` lines with the narrowest widest line; of these, the most even ones."""
    best: dict[int, tuple[float, float, list[int]]] = {0: (0.0, 0.0, [0])}
    for _ in range(count):
        row: dict[int, tuple[float, float, list[int]]] = {}
        for start, (widest, squares, path) in best.items():
            for end in range(start + 1, len(words) + 1):
                width = _line_width(words[start:end], hyphen, end == len(words))
                option = (max(widest, width), squares + width * width, [*path, end])
                if end not in row or option[:2] < row[end][:2]:
                    row[end] = option
        best = row
    return best[len(words)][2]


def _place(
    words: Sequence[_Measured],
    cuts: Sequence[int],
    size: float,
    metrics: tuple[float, float, float],
    area: Area,
    centred: bool,
    library: Library,
) -> Block:
    above, below, pitch = (m * size for m in metrics)
    lines = len(cuts) - 1
    height = pitch * (lines - 1) + above + below
    baseline = area.top + max(0.0, (area.height - height) / 2) + above
    rtl = _direction("".join(r.text for w in words for r in w.runs)) == "R"
    placed: dict[int, Placed] = {}
    for line, (start, end) in enumerate(pairwise(cuts)):
        row = list(words[start:end])
        if row[-1].after == "-" and end != len(words):
            row[-1] = _hyphenated(row[-1], library)
        width = _line_width(row, 0.0, True) * size
        # One height for the whole line, because the highlight slides along it.
        top, bottom = baseline - max(w.above for w in row) * size, baseline + max(w.below for w in row) * size
        shift = (area.width - width) / 2 if centred else (area.width - width) * rtl
        pen = area.left + max(0.0, shift)
        for index in _visual(row, rtl):
            word = row[index]
            x = pen + word.left * size
            box = (pen, top, pen + word.width * size, bottom)
            placed[start + index] = Placed(word.runs, x, baseline, line, box)
            pen += (word.width + _gap(word)) * size
        baseline += pitch
    boxes = [p.box for p in placed.values()]
    left, highest = (math.floor(min(b[side] for b in boxes)) for side in (0, 1))
    right, lowest = (math.ceil(max(b[side] for b in boxes)) for side in (2, 3))
    ink = Area(left, highest, right, lowest)
    return Block(tuple(placed[i] for i in sorted(placed)), size, ink)


def _hyphenated(word: _Measured, library: Library) -> _Measured:
    hyphen = _measure(Token("-"), library)
    return replace(word, runs=(*word.runs, *hyphen.runs), right=word.right + hyphen.right)


def _direction(text: str) -> str:
    """Return R or L for the first letter with a direction; L if none has one."""
    kinds = (unicodedata.bidirectional(c) for c in text)
    return next(("R" if k in ("R", "AL") else "L" for k in kinds if k in ("L", "R", "AL")), "L")


def _visual(row: Sequence[_Measured], rtl: bool) -> list[int]:
    """Return the words' indices from left to right; runs of the opposite direction keep their order."""
    stretches: list[tuple[bool, list[int]]] = []
    for index, word in enumerate(row):
        text = "".join(r.text for r in word.runs)
        foreign = any(c.isalpha() for c in text) and _direction(text) != ("R" if rtl else "L")
        if foreign and stretches and stretches[-1][0]:
            stretches[-1][1].append(index)
        else:
            stretches.append((foreign, [index]))
    ordered = [inner[::-1] if foreign and not rtl else inner for foreign, inner in stretches]
    return [index for inner in (reversed(ordered) if rtl else ordered) for index in inner]
