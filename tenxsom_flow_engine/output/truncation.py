"""Shorten text for a limit: between words, and never inside a character that a reader sees as one (a grapheme)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import accumulate, takewhile

#: Marks that a text was shortened.
ELLIPSIS = "…"
#: Characters that look lost before an ellipsis.
_LOOSE = " \n,;:–—-/&([{«‹“‘\"'¿¡、，；：「『（【《"


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units, the largest of the usual ways to count characters."""
    return len(text) + sum(character > "\uffff" for character in text)


def utf8_length(text: str) -> int:
    """Return the length in bytes of UTF-8."""
    return len(text.encode())


def shorten(text: str, limit: int, length: Callable[[str], int] = utf16_length) -> str:
    """Return a text whose `length` is at most `limit`: itself, or its beginning with an ellipsis.

    The beginning ends before a space. If that is less than half of what fits, as in long words and in languages without
    spaces, it ends after a word, and otherwise after a grapheme. `length` must be additive.
    """
    if length(text) <= limit:
        return text
    # Loads a library of 40 MB, which few texts need.
    from icu4py.breakers import CharacterBreaker, WordBreaker

    room = limit - length(ELLIPSIS)
    fits = sum(1 for _ in takewhile(lambda used: used <= room, accumulate(map(length, text))))
    boundaries = {0, *(end for end in _ends(CharacterBreaker(text, "root")) if end <= fits)}
    for pieces in (re.findall(r"\s*\S+", text), WordBreaker(text, "root")):
        end = max(boundaries.intersection(_ends(pieces)), default=0)
        if 2 * end >= fits:
            break
    else:
        # A single grapheme can be longer than any limit.
        end = max(boundaries) or fits
    last = end
    while last - 1 in boundaries and text[last - 1] in _LOOSE:
        last -= 1
    return text[: last or end] + ELLIPSIS


def _ends(pieces: Iterable[str]) -> Iterable[int]:
    return accumulate(map(len, pieces))
