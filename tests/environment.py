"""The environment of test processes, without the engine's variables of the user who runs them."""

from __future__ import annotations

import os

from tenxsom_flow_engine.settings import declared

#: Google's libraries read variables that are not among the engine's settings.
_PREFIXES = ("TENXSOM_", "CLOUDSDK_", "GOOGLE_")
_NAMES = frozenset(setting.variable.name for group in declared().values() for setting in group)


def _is_read_by_engine(name: str) -> bool:
    return name in _NAMES or name.startswith(_PREFIXES)


def engine_variables() -> list[str]:
    """Return the names of the variables of this process that the engine or its libraries read."""
    return [name for name in os.environ if _is_read_by_engine(name)]


def without_engine_variables() -> dict[str, str]:
    """Return the environment of this process without the engine's variables."""
    return {name: value for name, value in os.environ.items() if not _is_read_by_engine(name)}
