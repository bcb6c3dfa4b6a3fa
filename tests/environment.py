"""An environment without the settings of the person who runs tests and storms."""

from __future__ import annotations

import os

from tenxsom_flow_engine.settings import declared

#: Google's libraries read variables that are not among our settings.
_PREFIXES = ("TENXSOM_", "CLOUDSDK_", "GOOGLE_")
_NAMES = frozenset(one.variable.name for group in declared().values() for one in group)


def _is_ours(name: str) -> bool:
    return name in _NAMES or name.startswith(_PREFIXES)


def ours() -> list[str]:
    """Return the names of the variables of this process that the engine may read."""
    return [name for name in os.environ if _is_ours(name)]


def outside() -> dict[str, str]:
    """Return all others, with their values."""
    return {name: value for name, value in os.environ.items() if not _is_ours(name)}
