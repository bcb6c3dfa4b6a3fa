"""Reads topics from text: one topic per line, a table, or JSON. Sizes are limited everywhere.

An invalid entry does not raise: it is returned with its line, so that all invalid lines can be reported together.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Generator
from contextlib import closing
from datetime import tzinfo
from pathlib import Path

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.entries import BadLine, Comment, Entry, Rules
from tenxsom_flow_engine.planning.json_lists import begins_json, read_json
from tenxsom_flow_engine.planning.lines import Lines
from tenxsom_flow_engine.planning.plain import is_comment, read_plain
from tenxsom_flow_engine.planning.tables import is_header, read_table

_TABLES = (".csv", ".tsv", ".tab")
_JSON = (".json", ".jsonl", ".ndjson")


def read_topics(
    stream: io.BufferedReader,
    name: str,
    zone: tzinfo | None = None,
    *,
    ignore_unknown: bool = False,
    encoding: str | None = None,
) -> Generator[Entry | BadLine | Comment]:
    """Read a file's entries in order. The suffix of `name` (`.csv`, `.json`) or the content determines the format.

    Times without a zone are in `zone` (default: this machine's). `ignore_unknown` leaves out unknown fields. Without
    `encoding`, the text is UTF-8 or UTF-16. Close the generator if it is not read to its end. Raises `InvalidInput` if
    the file is not text, not JSON, or a table without a valid header row.
    """
    rules = Rules(zone, ignore_unknown)
    with closing(Lines(stream, name, encoding)) as lines:
        for first in lines:
            if is_comment(first.text):
                yield Comment(first.number)
            elif first.text.strip():
                break
        else:
            return
        ending = Path(name).suffix.lower()
        if ending in _JSON or (ending not in _TABLES and begins_json(first.text)):
            yield from read_json(first, lines, name, rules)
        elif ending in _TABLES or is_header(first.text):
            yield from read_table(itertools.chain([first], lines), name, rules)
        else:
            yield from read_plain(itertools.chain([first], lines), rules)


def as_line(topic: str) -> str:
    """Return a line that `read_topics` reads as this topic, even if the topic looks like a comment or a table."""
    written = json.dumps({"topic": topic}, ensure_ascii=False)
    try:
        read = list(read_topics(io.BufferedReader(io.BytesIO(topic.encode())), ""))
    except (InvalidInput, UnicodeEncodeError):
        return written
    return topic if read == [Entry(1, {"topic": topic})] else written
