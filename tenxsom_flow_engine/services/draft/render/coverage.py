"""Determine the characters that a font file covers."""

from __future__ import annotations

import struct
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError

#: The exceptions that fontTools raises for damaged files; an unreadable font covers no characters.
_DAMAGED = (OSError, TTLibError, struct.error, ValueError, LookupError, AssertionError, AttributeError, OverflowError)


def covered(path: Path) -> frozenset[str]:
    """Return the characters of the file's first face; none if it has no outlines or is damaged."""
    try:
        with path.open("rb") as file, TTFont(file, fontNumber=0, lazy=True) as font:
            # Bitmap glyphs have fixed sizes, which Pillow cannot scale.
            if not {"glyf", "CFF ", "CFF2"} & set(font.keys()):
                return frozenset()
            return frozenset(map(chr, font.getBestCmap() or ()))
    except _DAMAGED:
        return frozenset()
