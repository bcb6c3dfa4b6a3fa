"""Which characters a font file can show."""

from __future__ import annotations

import struct
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError

#: What a damaged file makes the reader raise; a font that cannot be read shows nothing.
_DAMAGED = (OSError, TTLibError, struct.error, ValueError, LookupError, AssertionError, AttributeError, OverflowError)


def covered(path: Path) -> frozenset[str]:
    """Return the characters of the file's first face: none if it has no outlines or is damaged."""
    try:
        with path.open("rb") as file, TTFont(file, fontNumber=0, lazy=True) as font:
            # Pictures without outlines come in one size only, which Pillow cannot scale.
            if not {"glyf", "CFF ", "CFF2"} & set(font.keys()):
                return frozenset()
            return frozenset(map(chr, font.getBestCmap() or ()))
    except _DAMAGED:
        return frozenset()
