"""Orders in records: complete if small, truncated to the size limit otherwise."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.generation.order_excerpt import ROOM, truncate_json

_text = st.text(st.characters(exclude_categories=["Cs"]))
_long = st.builds(lambda text, times: text * times, _text, st.integers(0, 3000))
_leaves = _text | _long | st.integers(0, 9) | st.none()
_values = st.recursive(_leaves, lambda inner: st.lists(inner) | st.dictionaries(_text, inner), max_leaves=8)
_many = st.builds(lambda value, times: [value] * times, _values, st.integers(1, 300))
_orders = _many | st.dictionaries(_text, _values)


@given(_orders)
def test_an_order_fits_its_room_and_stays_json(order: Any) -> None:
    """For any order, the stored JSON has at most 4 KiB, and is complete if the order is that small."""
    kept = truncate_json(order)
    assert len(kept.encode()) <= ROOM
    if len(json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode()) <= ROOM:
        assert json.loads(kept) == order
    else:
        json.loads(kept)


def test_truncation_is_marked() -> None:
    """A long prompt is truncated with its length; all other fields stay."""
    body = {"prompt": "p" * 9000, "tags": list(range(900)), "fps": 24}
    kept = json.loads(truncate_json({"path": "/videos", "body": body}))
    assert kept["path"] == "/videos"
    assert kept["body"]["fps"] == 24
    assert kept["body"]["prompt"] == "p" * 1500 + "… (9000 characters)"
    assert kept["body"]["tags"] == [*range(100), "… (900 entries)"]
