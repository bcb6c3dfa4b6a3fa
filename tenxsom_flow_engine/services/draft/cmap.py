"""Which characters a font file can show: its `cmap` table, read without a font library."""

from __future__ import annotations

import struct
from bisect import bisect_right
from pathlib import Path
from typing import BinaryIO

Ranges = list[tuple[int, int]]


class Coverage:
    """The set of code points of one face, kept as ranges."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = sorted(ranges)
        self._starts = [first for first, _ in self._ranges]

    def __contains__(self, char: str) -> bool:
        at = bisect_right(self._starts, ord(char)) - 1
        return at >= 0 and ord(char) <= self._ranges[at][1]


def read(path: Path) -> Coverage:
    """Return what the file's first face covers: nothing if it has no outlines, no such table or is damaged."""
    try:
        with path.open("rb") as file:
            return Coverage(_ranges(file))
    except (OSError, struct.error, ValueError):
        return Coverage([])


def _ranges(file: BinaryIO) -> Ranges:
    start = 0
    if file.read(4) == b"ttcf":
        file.seek(12)
        (start,) = struct.unpack(">I", file.read(4))
    file.seek(start + 4)
    (count,) = struct.unpack(">H6x", file.read(8))
    tables = {
        tag: (offset, length) for tag, _, offset, length in struct.iter_unpack(">4sIII", _exactly(file, 16 * count))
    }
    # Pictures without outlines come in one size only, which Pillow cannot scale.
    if b"cmap" not in tables or not tables.keys() & {b"glyf", b"CFF ", b"CFF2"}:
        return []
    file.seek(tables[b"cmap"][0])
    data = _exactly(file, tables[b"cmap"][1])
    (entries,) = struct.unpack_from(">2xH", data)
    found = {data[o : o + 2]: o for p, e, o in struct.iter_unpack(">HHI", data[4 : 4 + 8 * entries]) if _unicode(p, e)}
    if b"\x00\x0c" in found:
        return _format_12(data[found[b"\x00\x0c"] :])
    return _format_4(data[found[b"\x00\x04"] :]) if b"\x00\x04" in found else []


def _exactly(file: BinaryIO, size: int) -> bytes:
    if len(data := file.read(size)) != size:
        raise ValueError("the font file ends early")
    return data


def _unicode(platform: int, encoding: int) -> bool:
    return platform == 0 or (platform == 3 and encoding in (1, 10))


def _format_12(data: bytes) -> Ranges:
    (groups,) = struct.unpack_from(">12xI", data)
    return [
        (first + (glyph == 0), last)
        for first, last, glyph in struct.iter_unpack(">III", data[16 : 16 + 12 * groups])
        if first <= last
    ]


def _format_4(data: bytes) -> Ranges:
    (doubled,) = struct.unpack_from(">6xH", data)
    count = doubled // 2
    lasts = struct.unpack_from(f">{count}H", data, 14)
    firsts, deltas, offsets = (struct.unpack_from(f">{count}H", data, 16 + doubled * n) for n in (1, 2, 3))
    ranges: Ranges = []
    for i, (first, last, delta, offset) in enumerate(zip(firsts, lasts, deltas, offsets, strict=True)):
        if first > last or first == 0xFFFF:
            continue
        if offset == 0:
            ranges.append((first, last))
            continue
        glyphs = 16 + doubled * 3 + 2 * i + offset
        for code in range(first, last + 1):
            (glyph,) = struct.unpack_from(">H", data, glyphs + 2 * (code - first))
            if glyph and (glyph + delta) & 0xFFFF:
                ranges.append((code, code))
    return ranges
