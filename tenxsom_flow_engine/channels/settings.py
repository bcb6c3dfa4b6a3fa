"""The settings of a channel: its weight, own limits and slots, defaults of its jobs, and whether it is paused.

A channel without settings works: it has the weight 1 and no own limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tenxsom_flow_engine.errors import InvalidInput

MIN_WEIGHT, MAX_WEIGHT = 0.01, 1000.0
MAX_SLOTS = 10_000
MAX_WHY = 200
#: Fields of a job that a channel can have defaults for.
DEFAULTS = ("service", "style", "duration", "aspect_ratio", "quality")

_NAME = re.compile(r"[\w.:@-]{1,64}")


class Channel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The settings of one channel. Valid by construction: raises `InvalidInput` with the field's name."""

    #: Its share of admissions, relative to the other channels that wait.
    weight: float = 1.0
    #: Windows of admissions, as text (see `rate_limits.windows`); empty: none.
    limits: str = ""
    #: Maximum number of generations in flight; None: no own limit.
    slots: int | None = None
    #: Defaults for the fields of its jobs.
    defaults: dict[str, str | int] = {}
    paused: bool = False
    #: Why it is paused.
    why: str = ""

    def __post_init__(self) -> None:
        if not MIN_WEIGHT <= self.weight <= MAX_WEIGHT:
            raise InvalidInput("weight", f"must be {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, not {self.weight:g}")
        if self.slots is not None and not 1 <= self.slots <= MAX_SLOTS:
            raise InvalidInput("slots", f"must be 1 to {MAX_SLOTS}, not {self.slots}")
        if len(self.why) > MAX_WHY:
            raise InvalidInput("why", f"has {len(self.why)} characters, at most {MAX_WHY} are allowed")
        if unknown := sorted(self.defaults.keys() - set(DEFAULTS)):
            raise InvalidInput(unknown[0], "cannot have a default", next_step=f"use {', '.join(DEFAULTS)}")

    @property
    def text(self) -> str:
        """The settings as JSON, for a store."""
        return msgspec.json.encode(self).decode()

    def for_job(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a job with this channel's defaults for those that are missing."""
        return {**self.defaults, **fields}


def parse_channel(text: str | bytes) -> Channel:
    """Read settings from JSON. Raises `ValueError` for anything else."""
    return msgspec.json.decode(text, type=Channel)


def check_name(name: str) -> str:
    """Return the name of a channel. Raises `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("channel", f"must be 1 to 64 letters, digits or . : @ _ -, not {name[:80]!r}")
    return name
