"""Mutations of JSON texts: odd values in place of valid ones, and damaged bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

#: Numbers at and beyond the limits of clocks, databases and number formats.
NUMBERS = (
    0, -1, 1, 0.5, -0.0, 2**31, 2**53 - 1, 2**53 + 1, 2**63, 10**30, -(10**18), 1e300, -1e300, 1e15, 253370764799,
    5e-324,
)  # fmt: skip
#: Texts that are dangerous in a path, a URL, a terminal, a page, a key or a query.
TEXTS = (
    "", " ", "\0", "\n", "\x1b[31m", "\x9b", "\u202e", "\ufeff", "\ud800", "\U0001f30a" * 5, "\u0301" * 50, "ß" * 600,
    "../../etc", "/etc/passwd", ".", "..", "a/b", "a?b=c", "a b", "a:b|c", "{a}", "%s%n", "'; DROP TABLE jobs; --",
    "<script>alert(1)</script>", "{{7*7}}", "null", "NaN", "1e999", "9" * 400, "x" * 20_000, "auto", "draft",
    "simulated", "accepted", "succeeded", "#simulated", "2026-12-24T18:00:00Z",
)  # fmt: skip
#: Texts that are no JSON value, or one that JSON libraries disagree about.
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "01", "+1", "'a'", "[", "{}}", "tru", '"\\ud800"', '"\\x"', "1" * 5000)


def mutate(text: bytes, draw: random.Random) -> bytes:
    """Return a JSON text with one to three mutations of its values or bytes."""
    for _ in range(draw.choice((1, 1, 1, 1, 2, 3))):
        text = draw.choice((_change_value, _change_value, _change_value, _remove, _add, _repeat_key, _raw, damage))(
            text, draw
        )
    return text


def damage(text: bytes, draw: random.Random) -> bytes:
    """Return a text with changed, missing or additional bytes."""
    content = bytearray(text or b"\0")
    position = draw.randrange(len(content))
    match draw.randrange(6):
        case 0:
            content[position] ^= 1 << draw.randrange(8)
        case 1:
            del content[position:]
        case 2:
            del content[position : position + draw.randint(1, 8)]
        case 3:
            content[position:position] = draw.randbytes(draw.randint(1, 4))
        case 4:
            content[:0] = draw.choice((b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b" " * 5000, b"[" * 5000))
        case _:
            content = bytearray(text.decode("utf-8", "replace").encode("utf-16"))
    return bytes(content)


def odd_value(draw: random.Random) -> Any:
    """Return a value that is rarely the right one."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: draw.choice(NUMBERS),
        lambda: draw.choice(TEXTS),
        lambda: draw.choice((None, True, False)),
        lambda: draw.choice(([], {}, [[]], {"": {}}, ["a"] * 3, {"v": 1}, {"id": {"id": {"id": 1}}})),
    )
    return draw.choice(kinds)()


def _change_value(text: bytes, draw: random.Random) -> bytes:
    def change(holder: Any, key: Any) -> None:
        holder[key] = odd_value(draw)

    return _edit(text, draw, change)


def _remove(text: bytes, draw: random.Random) -> bytes:
    def remove(holder: Any, key: Any) -> None:
        del holder[key]

    return _edit(text, draw, remove)


def _add(text: bytes, draw: random.Random) -> bytes:
    def add(holder: Any, key: Any) -> None:
        if isinstance(holder, dict):
            holder[draw.choice((*TEXTS, "topic", "job", "params", "v", "lease"))] = odd_value(draw)
        else:
            holder.append(odd_value(draw))

    return _edit(text, draw, add)


def _edit(text: bytes, draw: random.Random, change: Any) -> bytes:
    """Change one place of a JSON text; damage the text if it is no JSON object or list any more."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return damage(text, draw)
    places = list(_places(value))
    if not places:
        return damage(text, draw)
    change(*draw.choice(places))
    return _write(value)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return all places in a value, as a list or dict with its index or key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = []
    for key in keys:
        found += [(value, key), *_places(value[key])]
    return found


def _repeat_key(text: bytes, draw: random.Random) -> bytes:
    """Give an object a key twice, with two values."""
    position = text.find(b'"', draw.randrange(len(text) + 1))
    end = text.find(b":", position)
    if position < 0 or end < 0:
        return damage(text, draw)
    return text[:position] + text[position : end + 1] + _write(odd_value(draw)) + b"," + text[position:]


def _raw(text: bytes, draw: random.Random) -> bytes:
    """Replace a value by a text that is no JSON."""
    marker = '"a value to replace"'
    marked = _edit(text, draw, lambda holder, key: holder.__setitem__(key, json.loads(marker)))
    return marked.replace(marker.encode(), draw.choice(RAW).encode())


def _write(value: Any) -> bytes:
    return json.dumps(value).encode()
