"""Reads topics from files: one topic per line, or CSV or JSON lines with a job's fields. Sizes are limited everywhere.

An invalid line does not raise: it is returned with its number, so that all invalid lines can be reported together.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.timestamps import parse_moment
from tenxsom_flow_engine.text import plural

#: Maximum number of characters in a line: far more than a job's fields can hold.
MAX_LINE = 64 * 1024
#: The fields that a line can have.
FIELDS = ("topic", "prompt", "style", "duration", "aspect_ratio", "service", "quality", "channel", "at")
#: The additional field of a JSON line: service-specific settings, by service.
OPTIONS = "options"
_OPTIONS = '{"pixverse": {"seed": 7}}'

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """The job fields in a line. `at` is an instant in seconds since 1970."""

    line: int
    fields: dict[str, Any]
    at: float | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """An invalid line with the reason."""

    line: int
    reason: str
    #: If the list's default for a field is invalid: the field, and the reason.
    default: str = ""
    default_reason: str = ""


def read_topics(stream: io.BufferedReader, name: str, zone: tzinfo | None = None) -> Generator[Entry | BadLine]:
    """Read a file's jobs in order. The suffix of `name` determines the format (`.csv`, `.jsonl`), or else the content.

    Times without a zone are in `zone` (default: this machine's). Close the generator if it is not read to its end.
    Raises `InvalidInput` if the file is not text, or if its columns are not fields of a job.
    """
    with closing(_lines(stream, name)) as lines:
        first = next((line for line in lines if not _is_blank_or_comment(line[1])), None)
        if first is None:
            return
        ending = Path(name).suffix.lower()
        text = first[1] or ""
        if ending in (".jsonl", ".ndjson", ".json") or (ending != ".csv" and text.lstrip().startswith("{")):
            yield from _json_lines(_chain(first, lines), zone)
        elif ending == ".csv" or _is_header(text):
            yield from _csv(_chain(first, lines), name, zone)
        else:
            yield from _plain(_chain(first, lines))


def as_line(topic: str) -> str:
    """Return a line that `read_topics` reads as this topic, even if the topic looks like a comment or JSON."""
    plain = topic.strip() == topic and not topic.startswith(("#", "{", "\ufeff")) and not _is_header(topic)
    return topic if plain else json.dumps({"topic": topic}, ensure_ascii=False)


def _is_blank_or_comment(text: str | None) -> bool:
    """Return whether a line is blank or a comment."""
    return text is not None and (not text.strip() or text.lstrip().startswith("#"))


def _plain(lines: Iterable[tuple[int, str | None]]) -> Iterator[Entry | BadLine]:
    for number, text in lines:
        if text is None:
            yield _too_long(number)
        elif not _is_blank_or_comment(text):
            yield Entry(number, {"topic": text.strip()})


def _json_lines(lines: Iterable[tuple[int, str | None]], zone: tzinfo | None) -> Iterator[Entry | BadLine]:
    for number, text in lines:
        if text is None:
            yield _too_long(number)
            continue
        if _is_blank_or_comment(text):
            continue
        try:
            fields = _object("line", text, '{"topic": "How tides work"}')
            options = _by_service(fields.pop(OPTIONS, {}))
        except InvalidInput as error:
            yield BadLine(number, str(error) if error.field == OPTIONS else error.reason)
            continue
        yield _entry(number, fields, zone, options)


def _csv(lines: Iterator[tuple[int, str | None]], name: str, zone: tzinfo | None) -> Iterator[Entry | BadLine]:
    numbers: list[int] = []  # of the lines of the current row
    too_long = False

    def feed() -> Iterator[str]:
        nonlocal too_long
        for number, text in lines:
            numbers.append(number)
            too_long = too_long or text is None
            # The csv module's size limit then rejects the line.
            yield (text if text is not None else '"' + "x" * (MAX_LINE + 1)) + "\n"

    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(feed(), strict=True)
    head: list[str] | None = None
    while True:
        numbers.clear()
        too_long = False
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _too_long(numbers[-1]) if too_long else BadLine(numbers[0], f"is not CSV: {error}")
            reader = csv.reader(feed(), strict=True)  # continues with the next line
            continue
        begins = numbers[0]
        if not row or row == [""] or row[0].lstrip().startswith("#"):
            continue
        if head is None:
            head = [cell.strip().lower() for cell in row]
            if "topic" not in head or set(head) - set(FIELDS) or len(set(head)) < len(head):
                raise InvalidInput(
                    f"{name} line {begins}",
                    f"a CSV file must begin with a header row: topic, and any of {', '.join(FIELDS[1:])}",
                )
        elif len(row) != len(head):
            yield BadLine(begins, f"has {plural(len(row), 'cell')}, but the header has {plural(len(head), 'column')}")
        else:
            yield _entry(begins, {name: cell for name, cell in zip(head, row, strict=True) if cell.strip()}, zone)


def _entry(
    number: int, fields: dict[str, Any], zone: tzinfo | None, options: dict[str, Any] | None = None
) -> Entry | BadLine:
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        return BadLine(number, f"has an unknown field {unknown[0][:40]!r}; known are {', '.join(FIELDS)}")
    if "topic" not in fields:
        return BadLine(number, "has no topic")
    at = fields.pop("at", None)
    try:
        if "duration" in fields:
            fields["duration"] = read_whole("duration", fields["duration"])
        for name in FIELDS:
            if name not in ("duration", "at") and not isinstance(fields.get(name, ""), str):
                raise InvalidInput(name, "must be text")
        if at is not None and not isinstance(at, str):
            raise InvalidInput("at", "must be text such as 2026-12-24T18:00+01:00")
        if options:
            fields[OPTIONS] = options
        return Entry(number, fields, parse_moment(at, zone=zone) if at and at.strip() else None)
    except InvalidInput as error:
        return BadLine(number, str(error))


def read_options(text: str) -> dict[str, dict[str, Any]]:
    """Parse service-specific settings from JSON; blank text gives none. Raises `InvalidInput`."""
    return _by_service(_object(OPTIONS, text, _OPTIONS)) if text.strip() else {}


def _object(field: str, text: str, example: str) -> dict[str, Any]:
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


def _by_service(options: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(options, dict) or not all(isinstance(own, dict) for own in options.values()):
        raise InvalidInput(OPTIONS, f"must be objects by service, such as {_OPTIONS}")
    return options


def read_whole(name: str, value: Any) -> int:
    """Return a whole number that is given as a number or as text. Raises `InvalidInput`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value.strip()) < 10:
        return int(value)
    raise InvalidInput(name, f"must be a whole number, not {str(value)[:40]!r}")


def _too_long(number: int) -> BadLine:
    return BadLine(number, f"has more than {MAX_LINE:,} characters")


def _is_header(text: str) -> bool:
    cells = {cell.strip().strip('"').lower() for cell in text.split(",")}
    return "topic" in cells and cells <= set(FIELDS)


def _chain(first: tuple[int, str | None], rest: Iterator[tuple[int, str | None]]) -> Iterator[tuple[int, str | None]]:
    yield first
    yield from rest


def _lines(stream: io.BufferedReader, name: str) -> Generator[tuple[int, str | None]]:
    """Yield the numbered lines without line ends; None stands for a line that is too long."""
    head = stream.peek(8192)[:8192]
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if encoding is None and b"\0" in head:
        raise InvalidInput(name, "is not a text file", next_step="save it as UTF-8 text")
    # Invalid UTF-8 becomes unpaired surrogates, which `VideoJob` rejects with their position.
    text = io.TextIOWrapper(stream, encoding=encoding or "utf-8", errors="surrogateescape")
    try:
        number = 0
        while line := text.readline(MAX_LINE + 2):
            number += 1
            whole = line.endswith("\n")
            if len(line) - whole > MAX_LINE:
                while not whole and (rest := text.readline(MAX_LINE)):
                    whole = rest.endswith("\n")
                yield number, None
            else:
                yield number, line.rstrip("\n")
    except UnicodeError as error:
        raise InvalidInput(name, f"is not valid {encoding or 'UTF-8'} after line {number}: {error}") from error
    finally:
        text.detach()  # the caller closes the stream
