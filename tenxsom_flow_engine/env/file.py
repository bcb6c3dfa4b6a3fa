"""The environment file: lines `VARIABLE=value`, which systemd (`EnvironmentFile=`) reads too.

Commands read the file themselves, while systemd reads it for units. A line that has another meaning to systemd than it
had to release 0.2 of this engine is refused, so that all processes have the same settings and none changes silently.
systemd's syntax: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tenxsom_flow_engine.errors import ConfigurationError

_NAME = r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*"
_ASSIGNMENT = re.compile(rf"{_NAME}=")
#: A line without a setting: empty, a comment, or a name alone.
_EMPTY = re.compile(rf"[ \t]*(?:[#;].*)?|{_NAME}")
#: Quoted text can extend over several lines.
_SINGLE_QUOTED = re.compile(r"[ \t]*'([^']*)'")
_DOUBLE_QUOTED = re.compile(r'[ \t]*"((?:[^"\\]|\\.)*)"', re.DOTALL)
#: Escapes in double quotes with two meanings: `\n` was a line feed here, and is two letters to systemd.
_UNCLEAR_ESCAPES = frozenset("$`'abfnrtv\n")

_BACKSLASH_STEP = r"put the value in double quotes, with \\ for each backslash and \" for each quote"
_COMMENT_STEP = "put the comment on its own line, or the value in single quotes"


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of an environment file.

    Raises `OSError`, `UnicodeDecodeError`, and `ConfigurationError` with the number of the line that is refused, but
    without its value, which can be a secret.
    """
    return dict(_settings(path.read_text("utf-8-sig"), path))


def _settings(text: str, path: Path) -> Iterator[tuple[str, str]]:
    number = 1
    while text:
        line, _, after = text.partition("\n")
        try:
            if found := _ASSIGNMENT.match(line):
                value, after = _value(text[found.end() :])
                yield found[1], value
            elif not _EMPTY.fullmatch(line):
                raise _Refused("is not VARIABLE=value")
            elif line.endswith("\\"):
                raise _Refused("ends with a backslash", "remove it: systemd can join the next line to this one")
        except _Refused as refused:
            raise ConfigurationError(
                f"line {number} of the environment file {path} {refused.reason}", next_step=refused.next_step
            ) from None
        number += text.count("\n") - after.count("\n")
        text = after


class _Refused(Exception):
    """Why a line is refused, and how to write it."""

    def __init__(self, reason: str, next_step: str = "") -> None:
        self.reason = reason
        self.next_step = next_step


def _value(text: str) -> tuple[str, str]:
    """Return the value that a text begins with, and the text after its line."""
    quote = text.lstrip(" \t")[:1]
    if quote not in ("'", '"'):
        line, _, after = text.partition("\n")
        return _unquoted(line), after
    quoted = (_SINGLE_QUOTED if quote == "'" else _DOUBLE_QUOTED).match(text)
    if not quoted:
        raise _Refused(f"has no closing {quote}", "add it")
    rest, _, after = text[quoted.end() :].partition("\n")
    if rest.strip():
        raise _Refused("has text after the closing quote", _COMMENT_STEP)
    return _in_single(quoted[1]) if quote == "'" else _in_double(quoted[1]), after


def _unquoted(line: str) -> str:
    if "\\" in line:
        raise _Refused("has a backslash outside of quotes", _BACKSLASH_STEP)
    if re.search(r"\s#", line):
        raise _Refused("has a # after a space", _COMMENT_STEP)
    return line.strip()


def _in_single(text: str) -> str:
    if "\\\\" in text or text.endswith("\\"):
        raise _Refused("has two backslashes in a row, or one at the end, in single quotes", _BACKSLASH_STEP)
    return text


def _in_double(text: str) -> str:
    def unescaped(escape: re.Match[str]) -> str:
        letter = escape[1]
        if letter in _UNCLEAR_ESCAPES:
            raise _Refused("has a backslash with two meanings in double quotes", _BACKSLASH_STEP)
        return str(letter) if letter in '\\"' else str(escape[0])

    return re.sub(r"\\(.)", unescaped, text, flags=re.DOTALL)
