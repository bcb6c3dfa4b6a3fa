"""An environment without the settings of whoever runs tests and storms."""

from __future__ import annotations

import os

_OURS = ("TENXSOM_", "CLOUD_TASKS_", "CLOUDSDK_", "REDIS_", "GOOGLE_", "USEAPI_", "LTX_", "HEYGEN_")


def ours() -> list[str]:
    """Return the names of the variables of this process that the engine may read."""
    return [name for name in os.environ if name.startswith(_OURS)]


def outside() -> dict[str, str]:
    """Return all others, with their values."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
