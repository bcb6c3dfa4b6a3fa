"""The result of one check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tenxsom_flow_engine.errors import Action, FlowError, ServiceError


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. Contains no secret."""

    #: The part that was checked, e.g. `store`.
    about: str
    #: `problem`: it does not work until someone fixes it; `warning`: it works, with a risk.
    state: Literal["ok", "warning", "problem"]
    text: str
    #: How to fix it, in addition to `actions`; empty if nothing is wrong.
    fix: str = ""
    #: Machine-readable cause: the code of an error or a verdict, or one that the check defines; `ok` if all is well.
    code: str = "ok"
    #: Possible actions on the job or service that `subject` names.
    actions: tuple[Action, ...] = ()
    subject: str = ""


def ok(about: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(about, "ok", text)


def warning(
    about: str, code: str, text: str, fix: str = "", actions: tuple[Action, ...] = (), subject: str = ""
) -> Finding:
    """Return a finding about something that works, with a risk."""
    return Finding(about, "warning", text, fix, code, actions, subject)


def problem(
    about: str, code: str, text: str, fix: str = "", actions: tuple[Action, ...] = (), subject: str = ""
) -> Finding:
    """Return a finding about something that does not work."""
    return Finding(about, "problem", text, fix, code, actions, subject)


def failed(about: str, error: FlowError, fix: str = "") -> Finding:
    """Return a check's error as a finding; `fix` is used if the error names no next step."""
    # The message of a service begins with its name, which the finding shows already.
    text = error.reason if isinstance(error, ServiceError) and error.service == about else error.message
    return problem(about, error.code, text, error.next_step or fix, error.actions, error.subject)


def run_check(about: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Run a check and give its findings. An error becomes a finding too, so that the other checks still run."""
    try:
        yield from check()
    except FlowError as error:
        yield failed(about, error)
    except Exception as error:  # a defect of one check must not stop the others
        yield problem(about, "defect", f"the check crashed: {type(error).__name__}", "this is a bug in the doctor")
