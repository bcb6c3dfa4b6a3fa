"""Pages of long lists, the same in all list calls of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tenxsom_flow_engine.emulator.protobuf import invalid

_T = TypeVar("_T")


def page(items: Mapping[str, _T], size: int, token: str, most: int) -> tuple[list[_T], str]:
    """Return a page of items in the order of their names, and the token of the next page or "".

    A token is the last name of its page, so items that stay in the list are neither repeated nor missed.
    """
    if size < 0:
        raise invalid("The page_size must not be negative.")
    count = min(size or most, most)
    names = sorted(name for name in items if name > token)
    return [items[name] for name in names[:count]], names[count - 1] if len(names) > count else ""
