"""Formatting of counts, durations, money and external text."""

from __future__ import annotations

import pytest

from tenxsom_flow_engine.text import (
    ago,
    balance,
    duration,
    either,
    one_line,
    plural,
    rough_duration,
    usd,
    visible,
    within,
)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (30_000, "30,000 jobs")]
)  # fmt: skip
def test_plural(number: int, text: str) -> None:
    """Only a count of one is singular."""
    assert plural(number, "job") == text


def test_an_irregular_plural() -> None:
    """A noun can have an irregular plural."""
    assert (plural(1, "entry", "entries"), plural(2, "entry", "entries")) == ("1 entry", "2 entries")


@pytest.mark.parametrize(
    ("seconds", "text", "rough"),
    [(0, "0 s", "0 s"), (45, "45 s", "45 s"), (200, "3 min 20 s", "3 min"), (600, "10 min", "10 min"),
     (5400, "1 h 30 min", "1 h"), (86400, "1 day", "1 day"), (90_000, "1 day 1 h", "1 day"),
     (187_200, "2 days 4 h", "2 days")],
)  # fmt: skip
def test_lengths_of_time(seconds: float, text: str, rough: str) -> None:
    """A duration has its two largest units, or only the largest if rough."""
    assert (duration(seconds), rough_duration(seconds)) == (text, rough)


def test_times_relative_to_now() -> None:
    """A few seconds ago is `just now`, and an overdue time is `now`."""
    assert [ago(1), ago(720)] == ["just now", "12 min ago"]
    assert [within(0.2), within(720)] == ["now", "in 12 min"]


@pytest.mark.parametrize(
    ("amount", "text"), [(None, "–"), (0.0, "$0.00"), (0.14, "$0.14"), (0.0004, "$0.0004"), (1200.0, "$1,200.00")]
)
def test_usd(amount: float | None, text: str) -> None:
    """Money has two decimals, a small amount four; an unknown amount is a dash, never zero."""
    assert usd(amount) == text


def test_balance() -> None:
    """A balance in dollars is written like a price; credits have no trailing zeros."""
    assert balance(993.8, "USD") == "$993.80"
    assert balance(6963.0, "credits") == "6,963 credits"


def test_alternatives() -> None:
    """Alternatives are joined as in a sentence."""
    assert [either(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a or b", "a, b or c"]


def test_text_from_outside_is_one_line() -> None:
    """Line breaks and control characters become spaces, and a long text is truncated."""
    assert one_line("a\r\n\x1b[2Jb\u202e  c", 20) == "a [2Jb c"
    assert one_line("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("a\tb\n", "a\tb\n"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x9b31mb", "a\\x9b31mb"),
        ("caf\udce9", "caf\\udce9"),
        ("é 🐙", "é 🐙"),
    ],
)
def test_text_for_a_terminal_has_no_control_characters(given: str, written: str) -> None:
    """Control characters and unpaired surrogates are shown by their escapes; other text is unchanged."""
    assert visible(given) == written
