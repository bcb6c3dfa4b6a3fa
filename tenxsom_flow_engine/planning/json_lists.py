"""Reads topics from JSON: one object per line, or one document, which is a list or an object that contains it.

A document has texts and objects: `["How tides work", {"topic": "Why we dream", "duration": 8}]`. It is read as a whole,
so its size is limited; lines are read one by one.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.entries import (
    FIELDS,
    OPTIONS,
    BadLine,
    Comment,
    Entry,
    Rules,
    UnknownFields,
    describe_unknown,
    field_named,
    make_entry,
    parse_object,
)
from tenxsom_flow_engine.planning.lines import MAX_LINE, Line, Lines, numbered
from tenxsom_flow_engine.planning.plain import is_comment
from tenxsom_flow_engine.text import plural

#: Maximum number of characters of a document.
MAX_DOCUMENT = 8 * 2**20
_EXAMPLE = '{"topic": "How tides work"}'
_DECODER = json.JSONDecoder()


def begins_json(text: str) -> bool:
    """Return whether a line begins JSON: with an object, or with a list of texts or objects."""
    return bool(re.match(r'\s*(\{|\[\s*(["{\]]|$))', text))


def read_json(first: Line, lines: Lines, name: str, rules: Rules) -> Iterator[Entry | BadLine | Comment]:
    """Read the entries of a document or of lines; `first` is the first line that is not blank.

    Raises `InvalidInput` if they are neither.
    """
    if _is_entry(first):
        yield from _read_lines(itertools.chain([first], lines), rules)
        return
    text = first.text + "\n" * (not first.cut) + lines.rest(MAX_DOCUMENT + 1)
    if len(text) > MAX_DOCUMENT:
        why = f"is not one JSON object per line, and longer than {MAX_DOCUMENT:,} characters"
        raise InvalidInput(name, why, next_step=f"write one object per line, such as {_EXAMPLE}")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        following = list(_numbered(text, first.number))
        # Then only the first line is invalid.
        if len(following) > 1 and _is_entry(following[1]):
            yield from _read_lines(iter(following), rules)
            return
        raise InvalidInput(_place(name, first.number, error), _reason(error)) from error
    yield from _read_document(document, text, first.number, name, rules)


def item_lines(text: str) -> list[int]:
    """Return the line of each item of a valid JSON list, from 1."""
    lines, line, seen = [], 1, 0
    for place, _ in _items(text, _skip_blanks(text, 0)):
        line, seen = line + text.count("\n", seen, place), place
        lines.append(line)
    return lines


def _is_entry(line: Line) -> bool:
    """Return whether a line is an entry, and not an object that contains a list of topics."""
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and not _lists(value)


def _lists(value: Mapping[str, Any]) -> list[str]:
    """Return the keys of an object's lists; none if the object is an entry itself."""
    if any(field_named(key) == "topic" for key in value):
        return []
    return [key for key, member in value.items() if isinstance(member, list)]


def _read_lines(lines: Iterator[Line], rules: Rules) -> Iterator[Entry | BadLine | Comment]:
    for line in lines:
        if line.cut:
            yield BadLine(line.number, f"has more than {MAX_LINE:,} characters")
        elif is_comment(line.text):
            yield Comment(line.number)
        elif line.text.strip():
            try:
                yield make_entry(line.number, parse_object("line", line.text, _EXAMPLE), rules)
            except InvalidInput as error:
                yield BadLine(line.number, error.reason)


def _read_document(document: Any, text: str, first: int, name: str, rules: Rules) -> Iterator[Entry | BadLine]:
    begin = _skip_blanks(text, 0)
    if not isinstance(document, dict | list):
        raise InvalidInput(name, "is neither a JSON list nor an object", next_step=f"write objects such as {_EXAMPLE}")
    if isinstance(document, dict):
        lists = _lists(document)
        if not lists:
            yield make_entry(first, document, rules)
            return
        others = [key for key in document if key != lists[0]]
        if others and not (rules.ignore_unknown and len(lists) == 1):
            why = f"contains more than a list of topics: {', '.join(repr(key[:40]) for key in list(document)[:10])}"
            raise InvalidInput(name, why, next_step='write {"topics": […]}')
        begin = next(place for place, key in _members(text, begin) if key == lists[0])
        document = document[lists[0]]
    _check_items(document, name, rules)
    line, seen = first, 0
    for count, (place, value) in enumerate(_items(text, begin), start=1):
        line, seen = line + text.count("\n", seen, place), place
        if isinstance(value, str):
            yield make_entry(line, {"topic": value}, rules)
        elif isinstance(value, dict):
            yield make_entry(line, value, rules)
        else:
            yield BadLine(line, f"has item {count:,} of the list, which is neither a text nor an object")


def _check_items(items: Sequence[Any], name: str, rules: Rules) -> None:
    """Raise `InvalidInput` if all items are invalid in kind, or if some have unknown fields, as in a table."""
    if items and not any(isinstance(item, str | dict) for item in items):
        why = f"is a list of {plural(len(items), 'item')} that are neither texts nor objects"
        raise InvalidInput(name, why, next_step=f"write objects such as {_EXAMPLE}")
    keys = dict.fromkeys(key for item in items if isinstance(item, dict) for key in item)
    unknown = [describe_unknown(key) for key in keys if key != OPTIONS and not field_named(key)]
    if unknown and not rules.ignore_unknown:
        fields = "the unknown field" if len(unknown) == 1 else "the unknown fields"
        known = f"known are {', '.join(FIELDS)}"
        raise UnknownFields(name, f"has {fields} {', '.join(unknown[:10])}; {known}")


def _items(text: str, begin: int) -> Iterator[tuple[int, Any]]:
    """Yield the items of a valid list, each with its position; `begin` is the position of the list."""
    place = _skip_blanks(text, begin + 1)
    while text[place] != "]":
        value, end = _DECODER.raw_decode(text, place)
        yield place, value
        end = _skip_blanks(text, end)
        place = _skip_blanks(text, end + 1) if text[end] == "," else end


def _members(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """Yield the keys of a valid object, each with the position of its value."""
    place = _skip_blanks(text, begin + 1)
    while text[place] != "}":
        key, end = _DECODER.raw_decode(text, place)
        place = _skip_blanks(text, _skip_blanks(text, end) + 1)
        yield place, key
        end = _skip_blanks(text, _DECODER.raw_decode(text, place)[1])
        place = _skip_blanks(text, end + 1) if text[end] == "," else end


def _skip_blanks(text: str, place: int) -> int:
    while text[place] in " \t\r\n":
        place += 1
    return place


def _place(name: str, first: int, error: Exception) -> str:
    return f"{name} line {first + error.lineno - 1}" if isinstance(error, json.JSONDecodeError) else name


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at position {error.colno}"
    return f"is not readable JSON: {str(error).partition(';')[0]}"


def _numbered(text: str, first: int) -> Iterator[Line]:
    """Number the lines that are not blank."""
    for line in numbered(io.StringIO(text)):
        if line.text.strip():
            yield Line(line.number + first - 1, line.text, line.cut)
