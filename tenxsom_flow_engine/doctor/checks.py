"""What a look at one thing found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tenxsom_flow_engine.errors import FlowError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Holds no secret."""

    #: What was looked at, e.g. `store`.
    about: str
    #: `problem`: something does not work before it is mended; `warning`: it works, with a risk.
    state: Literal["ok", "warning", "problem"]
    text: str
    #: What to do or type; empty where all is well.
    fix: str = ""


def ok(about: str, text: str) -> Finding:
    """Return that a thing is well."""
    return Finding(about, "ok", text)


def warning(about: str, text: str, fix: str) -> Finding:
    """Return that a thing works, with a risk."""
    return Finding(about, "warning", text, fix)


def problem(about: str, text: str, fix: str) -> Finding:
    """Return that a thing does not work."""
    return Finding(about, "problem", text, fix)


def looked_at(about: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Give what a look finds; an error that it meets is a finding too, so that one does not hide the others."""
    try:
        yield from look()
    except FlowError as error:
        yield problem(about, error.message, error.next_step)
    except Exception as error:  # the looks at the other things are wanted all the same
        yield problem(about, f"looking at it broke: {type(error).__name__}", "this is a defect of the doctor")
