"""The order as stored in a record: size-limited JSON with a marker wherever text or a list was truncated."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

#: Maximum size of an order in a record, in bytes.
ROOM = 4096
#: Limits to try in order: characters of each text, entries of each list. The first pair that fits is used.
_BOUNDS = ((1500, 100), (400, 30), (100, 10), (30, 3))


def truncate_json(order: object, room: int = ROOM) -> str:
    """Return an order, made of JSON values, as JSON of at most `room` bytes. Long texts and lists are truncated."""
    whole = msgspec.json.encode(order)
    texts = (msgspec.json.encode(_cut(order, *bounds)) for bounds in _BOUNDS)
    fits = next((text for text in (whole, *texts) if len(text) <= room), None)
    return (fits or msgspec.json.encode(f"… (an order of {len(whole)} bytes)")).decode()


def read_order(text: str) -> object:
    """Return a stored order as values, None for an empty text; the text itself if a damaged record has no JSON."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


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
