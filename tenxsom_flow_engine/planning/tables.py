"""Reads topics from tables: CSV with commas or semicolons, or tab-separated text, with a header row.

The header row determines the separator. After it, every cell is data. Spreadsheets add empty rows and columns, and
leave out empty cells at the end of a row; all of that is accepted.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.entries import (
    FIELDS,
    BadLine,
    Entry,
    Rules,
    UnknownFields,
    describe_unknown,
    field_named,
    make_entry,
)
from tenxsom_flow_engine.planning.lines import MAX_LINE, Line
from tenxsom_flow_engine.text import plural

#: The separators that a header row can have.
SEPARATORS = ("\t", ";", ",")
#: The separator of a table with one column: none, because its topics can contain any of the others.
_NONE = "\x1f"
#: With these separators, spreadsheets copy a cell such as `"Heroes" by Bowie` without quoting it.
_RAW = frozenset({"\t", _NONE})
#: Part of the csv module's error about text after a quoted cell.
_TEXT_FOLLOWS = "expected after"
#: A first line that spreadsheets write and read, which names the separator.
_SEP_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*', re.IGNORECASE)


def is_header(text: str) -> bool:
    """Return whether a line begins a table: it names the column `topic`, or the separator."""
    return bool(_SEP_LINE.fullmatch(text.strip(" "))) or _best_separator(text) is not None


def read_table(lines: Iterator[Line], name: str, rules: Rules) -> Iterator[Entry | BadLine]:
    """Read the entries of a table, beginning with its header row. Raises `InvalidInput` if the header is invalid."""
    first = next((line for line in lines if line.text.strip(" \t;,")), None)
    separator = None
    if first is not None and (named := _SEP_LINE.fullmatch(first.text.strip(" "))):
        separator = named[1]
        first = next((line for line in lines if line.text.strip(f" {separator}")), None)
    if first is None:
        return
    rows = _rows(itertools.chain([first], lines), separator or _best_separator(first.text) or _widest(first.text))
    head: Sequence[str] | None = None
    for number, row in rows:
        if isinstance(row, str):
            if head is None:
                raise InvalidInput(f"{name} line {number}", row)
            yield BadLine(number, row)
        elif head is None:
            head = _header(row, f"{name} line {number}", rules)
        elif any(cell.strip() for cell in row):
            yield _entry(number, row, head, name, rules)


def _best_separator(text: str) -> str | None:
    """Return the separator with which a line names the column `topic` and most other fields."""
    best, most = None, 0
    for separator in (_NONE, *SEPARATORS):
        fields = {field_named(cell) for cell in _cells(text, separator)}
        if "topic" in fields and len(fields) > most:
            best, most = separator, len(fields)
    return best


def _widest(text: str) -> str:
    """Return the separator that gives the most cells."""
    return max((_NONE, *SEPARATORS), key=lambda separator: len(_cells(text, separator)))


def _cells(text: str, separator: str) -> Sequence[str]:
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # the line is too long
        return []


def _header(row: Sequence[str], place: str, rules: Rules) -> Sequence[str]:
    """Check a header row; return the names of its columns."""
    head = [cell.strip() for cell in row]
    while head and not head[-1]:
        head.pop()
    fields = [field_named(cell) for cell in head]
    named = [field for field in fields if field]
    allowed = f"topic, and any of {', '.join(FIELDS[1:])}"
    unknown = [describe_unknown(cell) for cell, field in zip(head, fields, strict=True) if cell and not field]
    found = f"; this one has {', '.join(unknown[:10])}" if unknown else ""
    if "topic" not in named:
        raise InvalidInput(place, f"a CSV file must begin with a header row: {allowed}{found}")
    if twice := next((field for field in named if named.count(field) > 1), ""):
        raise InvalidInput(place, f"the header row names {twice} twice; it can have {allowed}")
    if unknown and not rules.ignore_unknown:
        columns = "the unknown column" if len(unknown) == 1 else "the unknown columns"
        raise UnknownFields(place, f"the header row has {columns} {', '.join(unknown[:10])}; it can have {allowed}")
    return head


def _entry(number: int, row: Sequence[str], head: Sequence[str], name: str, rules: Rules) -> Entry | BadLine:
    cells = list(row)
    while len(cells) > len(head) and not cells[-1].strip():
        cells.pop()
    if len(cells) > len(head):
        return BadLine(number, f"has {plural(len(cells), 'cell')}, but the header has {plural(len(head), 'column')}")
    given = {}
    for place, (column, cell) in enumerate(zip(head, cells, strict=False), start=1):
        if cell.strip():
            if not column and not rules.ignore_unknown:
                raise UnknownFields(f"{name} line {number}", f"has a value in column {place}, which has no name")
            given[column or f"column {place}"] = cell
    return make_entry(number, given, rules)


def _rows(lines: Iterator[Line], separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the rows with the numbers of their first lines; a text is the reason why a row cannot be read."""
    begun: list[Line] = []  # the lines of the current row

    def feed() -> Iterator[str]:
        for line in lines:
            begun.append(line)
            # The csv module's size limit rejects a line that is too long.
            yield '"' + "x" * (MAX_LINE + 1) if line.cut else line.text + "\n"

    csv.field_size_limit(MAX_LINE)
    reader = None
    while True:
        # After an error, a new reader continues with the next line.
        reader = reader or csv.reader(feed(), delimiter=separator, skipinitialspace=True, strict=True)
        begun.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reader = None
            if begun[-1].cut:
                yield begun[-1].number, f"has more than {MAX_LINE:,} characters"
            elif _TEXT_FOLLOWS in str(error):
                cells = _cells_with_text_after_quotes([line.text for line in begun], separator)
                yield begun[0].number, cells or _reason(error)
            else:
                yield begun[0].number, _reason(error)
        else:
            yield begun[0].number, row


def _cells_with_text_after_quotes(lines: Sequence[str], separator: str) -> list[str] | None:
    """Return the cells of a row in which something follows a closing quote, if it can only mean one thing."""
    cell = rf' *"(?:[^"]|"")*" *|[^"{re.escape(separator)}]*'
    if re.fullmatch(f"(?:{cell})(?:{re.escape(separator)}(?:{cell}))*", "\n".join(lines)):  # only blanks follow
        return next(csv.reader([f"{line}\n" for line in lines], delimiter=separator, skipinitialspace=True))
    return lines[0].split(separator) if separator in _RAW and len(lines) == 1 else None


def _reason(error: csv.Error) -> str:
    """Word an error of the csv module."""
    text = str(error)
    if "unexpected end of data" in text or "field larger than field limit" in text:
        return "is not CSV: a quoted cell has no closing quote"
    if _TEXT_FOLLOWS in text:
        return "is not CSV: text follows a closing quote; double the quotes within a quoted cell"
    return f"is not CSV: {text}"
