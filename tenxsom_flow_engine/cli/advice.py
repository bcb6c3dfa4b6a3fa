"""The commands for each action that an error, a finding or a verdict suggests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tenxsom_flow_engine.cli.program import program, push_worker_program, worker_program
from tenxsom_flow_engine.errors import Action, FlowError

if TYPE_CHECKING:
    from tenxsom_flow_engine.jobs import Failure

#: `{job}`, `{service}`, `{schedule}`, `{endpoint}` and `{queue_type}` are the subject of the action; `{program}` is the
#: name that the user called.
_WORDS: Mapping[Action, str] = {
    Action.RETRY: "retry it with: {program} retry {job}",
    Action.EDIT: "change it and retry with: {program} retry {job} --prompt TEXT",
    Action.RESUBMIT: "if it was not accepted: {program} jobs resolve {job} --resubmit",
    Action.CONFIRM_PURCHASE: "if it was accepted: {program} jobs resolve {job} --ticket ID",
    Action.NAME_SERVICE: "name the service that sold it: {program} jobs resolve {job} --ticket ID --service NAME",
    Action.ACCEPT_UNSEEN: "to use it unseen: {program} jobs resolve {job} --ticket ID --force",
    Action.GIVE_UP: "to mark the job as failed: {program} jobs resolve {job} --give-up",
    Action.LIST_JOBS: "list them with: {program} jobs",
    Action.LIST_FAILED: "see them with: {program} jobs --status failed",
    Action.LIST_HELD: "see them with: {program} jobs --status held",
    Action.LIST_CANCELLED: "see them with: {program} jobs --status cancelled",
    Action.LIST_OTHER_QUEUE: "list them with: {program} jobs --queue-type {queue_type}",
    Action.START_WORKER: "start one with: {worker}",
    Action.START_FALLBACK_WORKER: "start one with: {worker} --queue-type {queue_type}",
    Action.START_PUSH_WORKER: "start one with: {push_worker}",
    Action.RESUME_QUEUE: "resume it with: {program} queue resume",
    Action.CREATE_QUEUE: "create it with: {program} queue create (it can take a minute to become visible)",
    Action.UPDATE_QUEUE: "change it with: {program} queue update",
    Action.RESUME_SERVICE: "resume it with: {program} limits resume {service}",
    Action.ADD_TOPICS: "add topics with: {program} schedule add-topics {schedule} --topics-file FILE",
    Action.SHOW_SCHEDULE: "see it with: {program} schedule show {schedule}",
    Action.ENABLE_WEBHOOK: "when the receiver works: {program} webhook enable {endpoint}",
    Action.ENABLE_ALERT: "when it works: {program} alert enable {endpoint}",
    Action.RESTORE: "restore a backup with: {program} restore FILE",
    Action.REPAIR_CLOCK: "if this machine's clock is right, set the store's back with: {program} queue repair-clock",
}


def advise(next_step: str, actions: tuple[Action, ...], subject: str = "") -> str:
    """Return one line of advice: the next step, then a command for each action on the subject."""
    names = {"program": program(), "worker": worker_program(), "push_worker": push_worker_program()}
    subjects = {
        "job": subject or "JOB",
        "service": subject or "SERVICE",
        "queue_type": subject or "TYPE",
        "schedule": subject or "NAME",
        "endpoint": subject or "ID",
    }
    commands = [_WORDS[one].format(**subjects, **names) for one in actions]
    return "; ".join(filter(None, [next_step, *commands]))


def next_step(error: FlowError) -> str:
    """Return the advice for an error."""
    return advise(error.next_step, error.actions, error.subject)


def next_step_of(failure: Failure, job_id: str) -> str:
    """Return the advice for the failure of a job (see `remedies.failure_of`)."""
    return advise(failure.next_step, failure.actions, job_id)
