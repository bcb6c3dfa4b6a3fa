"""The direction of text: the Unicode bidirectional algorithm (UAX #9), with the levels from fpdf2."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

#: Classes of characters that are read from right to left, or that can occur only beside such characters.
_FROM_RIGHT = frozenset(("R", "AL", "AN"))


def reads_from_right(text: str) -> bool:
    """Return whether the first letter with a direction is read from right to left; False if none has a direction."""
    kinds = (unicodedata.bidirectional(c) for c in text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), False)


def levels(text: str, from_right: bool) -> list[int]:
    """Return the embedding level of each character in a paragraph whose base direction is given; odd: right to left.

    Joiners and other characters without a level of their own get that of the character before them.
    """
    base = int(from_right)
    if not base and not any(unicodedata.bidirectional(c) in _FROM_RIGHT for c in text):
        return [0] * len(text)
    # Imported here because it takes half a second and most texts do not need it.
    from fpdf.bidi import BidiParagraph
    from fpdf.enums import TextDirection

    paragraph = BidiParagraph(text, TextDirection.RTL if from_right else TextDirection.LTR)
    resolved = {char.character_index: char.embedding_level for char in paragraph.get_characters()}
    out: list[int] = []
    for index in range(len(text)):
        out.append(resolved.get(index, out[-1] if out else base))
    return out


def visual_order(of_items: Sequence[int]) -> list[int]:
    """Return the indices of a line's items from left to right, given the level of each item (rule L2)."""
    order = list(range(len(of_items)))
    for level in range(max(of_items, default=0), 0, -1):
        order = list(_reversed_runs(order, of_items, level))
    return order


def _reversed_runs(order: Iterable[int], of_items: Sequence[int], level: int) -> Iterable[int]:
    run: list[int] = []
    for index in order:
        if of_items[index] >= level:
            run.append(index)
            continue
        yield from reversed(run)
        run = []
        yield index
    yield from reversed(run)
