"""Options and value types that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Seconds(click.ParamType[float]):
    """A length of time: `90`, `90s`, `10m`, `2h`, `1d`. Gives seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value).strip())
        if not match:
            self.fail(f"{value!r} is not a length of time such as 90s, 10m, 2h or 1d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


class Instant(click.ParamType[float]):
    """A moment in ISO 8601, e.g. `2026-12-24T18:00+01:00`; without a zone it is this machine's. Gives epoch seconds."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds since 1970-01-01 UTC."""
        try:
            return datetime.fromisoformat(str(value).strip()).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is not a moment such as 2026-12-24T18:00 or 2026-12-24T18:00+01:00", param, ctx)


def queue_type(command: _F) -> _F:
    """Add `--queue-type`."""
    return click.option(
        "--queue-type",
        metavar="TYPE",
        envvar=None,
        help="auto or local; wins over TENXSOM_QUEUE_TYPE.",
    )(command)


def as_json(command: _F) -> _F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)
