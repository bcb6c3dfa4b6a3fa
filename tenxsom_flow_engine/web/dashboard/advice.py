"""Actions as the dashboard shows them: a link to the button, or plain text if the dashboard has no button for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from tenxsom_flow_engine.errors import Action, FlowError

#: Actions on a job's page: the text of the link, and the id of the button.
_BUTTONS = {
    Action.RETRY: ("Retry", "retry"),
    Action.RESUBMIT: ("Order it again", "resubmit"),
    Action.CONFIRM_PURCHASE: ("Enter its ticket", "ticket"),
    Action.GIVE_UP: ("Mark it as failed", "give-up"),
}
#: Actions outside the dashboard, described in `docs/operations.md`.
_ELSEWHERE = {
    Action.LIST_OTHER_QUEUE: "List them on the command line",
    Action.START_WORKER: "Start a worker",
    Action.START_FALLBACK_WORKER: "Start a worker of this queue",
    Action.START_PUSH_WORKER: "Start a worker",
    Action.CREATE_QUEUE: "Create the queue",
    Action.UPDATE_QUEUE: "Update the queue",
    Action.REPAIR_CLOCK: "Set the store's clock back",
    Action.NAME_SERVICE: "Name the service that sold it",
    Action.ACCEPT_UNSEEN: "Or select “Use it unseen”",
    Action.ADD_TOPICS: "Add topics on the command line",
    Action.SHOW_SCHEDULE: "See the schedule on the command line",
    Action.RESTORE: "Restore the store from a backup",
}


@dataclass(frozen=True, slots=True)
class Link:
    """An action's text and the address of its button; the address is empty if the dashboard has none."""

    text: str
    url: str = ""


def links(actions: Iterable[Action], subject: str = "", *, editable: bool = False) -> Sequence[Link]:
    """Return the links for actions on a job or service; an action that needs a subject is omitted without one.

    `editable`: whether the job can be changed now; otherwise only a copy of it can.
    """
    return [link for action in actions if (link := _link(action, subject, editable=editable)) is not None]


def in_words(error: FlowError) -> str:
    """Return an error and its next steps as plain text, for places without links."""
    steps = [_ELSEWHERE[action] for action in error.actions if action in _ELSEWHERE]
    return ". ".join([str(error), *dict.fromkeys(steps)])


def _link(action: Action, subject: str, *, editable: bool) -> Link | None:
    if action in _ELSEWHERE:
        return Link(_ELSEWHERE[action])
    if action in _BUTTONS:
        text, button = _BUTTONS[action]
        return Link(text, url_for("dashboard.job.page", job_id=subject, _anchor=button)) if subject else None
    match action:
        case Action.EDIT if editable and subject:
            return Link("Edit and retry", url_for("dashboard.job.page", job_id=subject, _anchor="edit"))
        case Action.EDIT:
            copy: dict[str, Any] = {"from": subject}
            return Link("Add a changed copy", url_for("dashboard.add.page", **copy)) if subject else None
        case Action.LIST_JOBS:
            return Link("See all jobs", url_for("dashboard.jobs.page"))
        case Action.LIST_FAILED:
            return Link("See these jobs", url_for("dashboard.jobs.page", status="failed"))
        case Action.LIST_HELD:
            return Link("See these jobs", url_for("dashboard.jobs.page", status="held"))
        case Action.LIST_CANCELLED:
            return Link("See these jobs", url_for("dashboard.jobs.page", status="cancelled"))
        case Action.RESUME_QUEUE:
            return Link("Resume the queue", url_for("dashboard.overview.page", _anchor="queue-switch"))
        case Action.ENABLE_WEBHOOK | Action.ENABLE_ALERT:
            return Link("Enable it when it works", url_for("dashboard.endpoints.page", _anchor=subject or None))
        case Action.RESUME_SERVICE if subject:
            url = url_for("dashboard.overview.page", _anchor=f"switch-{subject}")
            return Link(f"Resume {subject}", url)
    return None
