"""What a look at one thing found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tenxsom_flow_engine.errors import Action, FlowError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Holds no secret."""

    #: What was looked at, e.g. `store`.
    about: str
    #: `problem`: something does not work until it is fixed; `warning`: it works, with a risk.
    state: Literal["ok", "warning", "problem"]
    text: str
    #: What to do, apart from `actions`; empty where all is well.
    fix: str = ""
    #: What is wrong, for programs: an error's or a verdict's code, or one of the check's own; `ok` where nothing is.
    code: str = "ok"
    #: What can be done with the engine, to the job or service that `subject` names.
    actions: tuple[Action, ...] = ()
    subject: str = ""


def ok(about: str, text: str) -> Finding:
    """Return that nothing is wrong."""
    return Finding(about, "ok", text)


def warning(
    about: str, code: str, text: str, fix: str = "", actions: tuple[Action, ...] = (), subject: str = ""
) -> Finding:
    """Return that a thing works, with a risk."""
    return Finding(about, "warning", text, fix, code, actions, subject)


def problem(
    about: str, code: str, text: str, fix: str = "", actions: tuple[Action, ...] = (), subject: str = ""
) -> Finding:
    """Return that a thing does not work."""
    return Finding(about, "problem", text, fix, code, actions, subject)


def failed(about: str, error: FlowError, fix: str = "") -> Finding:
    """Return that looking at a thing failed; `fix` is for an error that names no next step."""
    return problem(about, error.code, error.message, error.next_step or fix, error.actions, error.subject)


def looked_at(about: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Give what a look finds; an error that it meets is a finding too, so that one does not hide the others."""
    try:
        yield from look()
    except FlowError as error:
        yield failed(about, error)
    except Exception as error:  # the looks at the other things are wanted all the same
        yield problem(about, "defect", f"looking at it broke: {type(error).__name__}", "this is a defect of the doctor")
