"""Long lists in pages, as all of the API's list calls give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from tenxsom_flow_engine.emulator.protobuf import invalid

_T = TypeVar("_T")


def page(items: Mapping[str, _T], size: int, token: str, most: int) -> tuple[list[_T], str]:
    """Return a page of what is listed by name, in the order of names, and the token of the next one or "".

    A token is the last name that was given, so a page does not repeat or miss what stayed in the list.
    """
    if size < 0:
        raise invalid("The page_size must not be negative.")
    count = min(size or most, most)
    names = sorted(name for name in items if name > token)
    return [items[name] for name in names[:count]], names[count - 1] if len(names) > count else ""
