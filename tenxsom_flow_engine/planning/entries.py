"""Entries of a list of topics: the fields that an entry can have, and how their values are read.

An invalid entry does not raise: it becomes a `BadLine`, so that all invalid lines can be reported together.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Any

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import ASPECT_RATIOS
from tenxsom_flow_engine.planning.timestamps import parse_moment

#: The fields that an entry can have.
FIELDS = (
    "topic", "prompt", "script", "style", "duration", "aspect_ratio", "service", "quality", "channel", "priority", "at",
)  # fmt: skip
#: The additional field of an entry in JSON: service-specific settings, by service.
OPTIONS = "options"
_OPTIONS = '{"pixverse": {"seed": 7}}'

#: Longer names are not compared with the fields.
_LONGEST_NAME = 100
#: The texts that programs write for an empty cell. As a topic, a prompt or a channel they can be meant.
_MISSING = frozenset({"", "nan", "none", "null"})
_CAN_BE_MISSING = frozenset({"style", "duration", "aspect_ratio", "service", "priority", "at"})


class UnknownFields(InvalidInput):
    """A table or a JSON document has columns or fields that are not fields of a job."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The job fields of an entry. `at` is an instant in seconds since 1970."""

    line: int
    fields: dict[str, Any]
    at: float | None = None
    #: The names of unknown fields that were left out.
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadLine:
    """An invalid line with the reason."""

    line: int
    reason: str
    #: If the list's default for a field is invalid: the field, and the reason.
    default: str = ""
    default_reason: str = ""
    #: The line would be valid without its unknown fields.
    unknown_field: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that is skipped because it is a comment."""

    line: int


@dataclass(frozen=True, slots=True)
class Rules:
    """How the values of a list are read."""

    #: The zone of times without one; None is this machine's.
    zone: tzinfo | None = None
    #: Leave out unknown fields instead of refusing them.
    ignore_unknown: bool = False


def field_named(name: str) -> str:
    """Return the field that a column or key means, or an empty text. Case, blanks, hyphens and underscores are free."""
    return _field_named(name) if len(name) <= _LONGEST_NAME else ""


@lru_cache(maxsize=1000)
def _field_named(name: str) -> str:
    return _BY_LETTERS.get(_letters(name), "")


def describe_unknown(name: str) -> str:
    """Quote an unknown name, with the nearest known one if there is one."""
    near = difflib.get_close_matches(_letters(name), _BY_LETTERS, n=1, cutoff=0.7)
    hint = f" (did you mean {_BY_LETTERS[near[0]]}?)" if near else ""
    return f"{' '.join(name.split())[:40]!r}{hint}"


def make_entry(line: int, given: Mapping[str, Any], rules: Rules) -> Entry | BadLine:
    """Read the values of an entry, by the names that the list uses."""
    fields: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in given.items():
        field = name if name == OPTIONS else field_named(name)
        if not field:
            unknown.append(name)
        elif field in fields:
            return BadLine(line, f"has the field {field} twice")
        elif not _is_missing(field, value):
            fields[field] = value
    if unknown and not rules.ignore_unknown:
        known = f"known are {', '.join(FIELDS)}"
        return BadLine(line, f"has an unknown field {describe_unknown(unknown[0])}; {known}", unknown_field=True)
    if "topic" not in fields:
        return BadLine(line, "has no topic")
    try:
        fields = {name: _read(name, value) for name, value in fields.items()}
        if not fields.get(OPTIONS, True):
            del fields[OPTIONS]  # ids are hashes of the fields, and entries without options omit the key
        at = fields.pop("at", None)
        return Entry(line, fields, parse_moment(at, zone=rules.zone) if at else None, tuple(unknown))
    except InvalidInput as error:
        step = f" ({error.next_step})" if error.next_step else ""
        return BadLine(line, error.message + step)


def read_options(text: str) -> dict[str, dict[str, Any]]:
    """Parse service-specific settings from JSON; blank text gives none. Raises `InvalidInput`."""
    return _by_service(OPTIONS, parse_object(OPTIONS, text, _OPTIONS)) if text.strip() else {}


def parse_object(field: str, text: str, example: str) -> dict[str, Any]:
    """Parse a JSON object. Raises `InvalidInput` with an example."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(field, f"is not JSON: {error.msg} at position {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field, f"is not readable JSON: {str(error).partition(';')[0]}") from error
    if not isinstance(value, dict):
        raise InvalidInput(field, f"is not a JSON object such as {example}")
    return value


def read_whole(name: str, value: Any) -> int:
    """Return a whole number that is given as a number or as text: `8`, `8.0`, `8,0`. Raises `InvalidInput`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    # More than two zeros could be thousands: 1.000.
    if isinstance(value, str) and (number := re.fullmatch(r"([0-9]{1,9})([.,]0{1,2})?", value.strip())):
        return int(number[1])
    raise InvalidInput(name, f"must be a whole number, not {str(value)[:40]!r}")


def _letters(name: str) -> str:
    return re.sub(r"[\s_\ufeff-]+", "", name).casefold()


_BY_LETTERS = {_letters(field): field for field in FIELDS}


def _is_missing(field: str, value: Any) -> bool:
    if isinstance(value, str):
        return field in _CAN_BE_MISSING and value.strip().casefold() in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def _read(name: str, value: Any) -> Any:
    read = _READ.get(name)
    return read(name, value) if read else _read_text(name, value)


def _read_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, "must be text")
    return value.replace("\r\n", "\n").replace("\r", "\n")


def _read_topic(name: str, value: Any) -> str:
    """Return a topic, which is one line: line breaks of a cell become a blank."""
    text = _read_text(name, value)
    return " ".join(filter(None, map(str.strip, text.split("\n")))) if "\n" in text else text


def _read_ratio(name: str, value: Any) -> str:
    """Return an aspect ratio. Spreadsheets turn `9:16` into a time of day: `09:16`, `9:16:00`."""
    text = _read_text(name, value)
    time = re.fullmatch(r"0*([0-9]{1,2}):0*([0-9]{1,2})(:00)?", text.strip())
    ratio = f"{time[1]}:{time[2]}" if time else ""
    return ratio if ratio in ASPECT_RATIOS else text


def _read_moment_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, "must be text such as 2026-12-24T18:00+01:00")
    return value


def _by_service(name: str, options: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(options, dict) or not all(isinstance(own, dict) for own in options.values()):
        raise InvalidInput(name, f"must be objects by service, such as {_OPTIONS}")
    return options


#: Readers of the fields that are not plain text.
_READ: Mapping[str, Callable[[str, Any], Any]] = {
    "topic": _read_topic,
    "duration": read_whole,
    "priority": read_whole,
    "aspect_ratio": _read_ratio,
    "at": _read_moment_text,
    OPTIONS: _by_service,
}
