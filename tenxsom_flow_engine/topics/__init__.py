"""The built-in topics, each with the script of its video.

`builtin.jsonl` has one topic per line, in the order in which slots use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec


class Topic(msgspec.Struct, frozen=True):
    """A topic; `script` is a few sentences that explain it."""

    topic: str
    script: str = ""


@cache
def builtin_topics() -> tuple[str, ...]:
    """Return the more than 200 built-in evergreen topics.

    Their number is prime, so no rate makes a day's slots a multiple of it, and the same hour of the next day gets a
    different topic.
    """
    return tuple(entry.topic for entry in _entries())


def builtin_script(topic: str) -> str:
    """Return the script of a built-in topic, compared without case and extra spaces; empty for any other topic."""
    return _scripts().get(_key(topic), "")


@cache
def _scripts() -> Mapping[str, str]:
    return {_key(entry.topic): entry.script for entry in _entries()}


@cache
def _entries() -> tuple[Topic, ...]:
    lines = resources.files(__package__).joinpath("builtin.jsonl").read_bytes()
    return tuple(msgspec.json.Decoder(Topic).decode_lines(lines))


def _key(topic: str) -> str:
    return " ".join(topic.split()).casefold()
