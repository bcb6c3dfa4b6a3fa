"""Reads topics from plain text: one topic per line. Blank lines, and lines that begin with `#` and a blank, are not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tenxsom_flow_engine.planning.entries import BadLine, Comment, Entry, Rules, make_entry
from tenxsom_flow_engine.planning.lines import MAX_LINE, Line


def is_comment(text: str) -> bool:
    """Return whether a line is a comment. `#1 of 5` and `#MeToo` are not."""
    return bool(re.match(r"\s*#(?:[ \t]|\s*$)", text))


def read_plain(lines: Iterable[Line], rules: Rules) -> Iterator[Entry | BadLine | Comment]:
    """Read one topic per line."""
    for line in lines:
        text = line.text.strip()
        if line.cut:
            yield BadLine(line.number, f"has more than {MAX_LINE:,} characters")
        elif is_comment(text):
            yield Comment(line.number)
        elif "\t" in text:
            yield BadLine(line.number, "has tabs; a table needs a header row that names its columns: topic, …")
        elif text:
            yield make_entry(line.number, {"topic": text}, rules)
