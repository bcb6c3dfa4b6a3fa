"""What was ordered, as a record keeps it: JSON of a bounded size, from which whatever was left out says so."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

#: Bytes that an order may take in a record.
ROOM = 4096
#: Characters of a text and entries of a list that are kept: the first pair by which all fits.
_BOUNDS = ((1500, 100), (400, 30), (100, 10), (30, 3))


def truncate_json(order: object, room: int = ROOM) -> str:
    """Return an order, which holds what JSON knows, as JSON of at most `room` bytes. Long texts and lists are cut."""
    whole = msgspec.json.encode(order)
    texts = (msgspec.json.encode(_cut(order, *bounds)) for bounds in _BOUNDS)
    fits = next((text for text in (whole, *texts) if len(text) <= room), None)
    return (fits or msgspec.json.encode(f"… (an order of {len(whole)} bytes)")).decode()


def _cut(value: object, characters: int, entries: int) -> object:
    match value:
        case str() if len(value) > characters:
            return f"{value[:characters]}… ({len(value)} characters)"
        case Mapping():
            return {name: _cut(one, characters, entries) for name, one in value.items()}
        case list() | tuple():
            kept = [_cut(one, characters, entries) for one in value[:entries]]
            return [*kept, f"… ({len(value)} entries)"] if len(value) > entries else kept
        case _:
            return value
