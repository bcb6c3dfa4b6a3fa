"""The failure of a job as every front end shows it, with the remedies of records of release 0.1."""

from __future__ import annotations

import re

import msgspec

from tenxsom_flow_engine.errors import Action, InvalidInput, Rejected
from tenxsom_flow_engine.jobs.lifecycle import can_be_corrected, ways_to_resolve
from tenxsom_flow_engine.jobs.model import Failure, JobRecord, Status, SubmissionState

#: Remedies if a service refused a job or failed to make it.
AFTER_REFUSAL = (Action.EDIT, Action.RETRY)
_REFUSALS = frozenset({InvalidInput.code, Rejected.code, "generation_failed"})
#: Release 0.1 stored commands as the last part of the next step.
_COMMANDS = re.compile(r"(?:^|[;,] )[^;,]*run_flow_enhanced\.py .*", re.DOTALL)


def failure_of(record: JobRecord) -> Failure | None:
    """Return a job's failure; if the record has no actions, derive them and cut commands off the next step."""
    failure = record.error
    if failure is None or record.status not in (Status.HELD, Status.FAILED):
        return failure
    if record.status is Status.FAILED and can_be_corrected(record):
        actions = dict.fromkeys((*ways_to_resolve(), *failure.actions))
        return msgspec.structs.replace(failure, actions=tuple(actions))
    if failure.actions:
        return failure
    next_step = _COMMANDS.sub("", failure.next_step)
    return msgspec.structs.replace(failure, next_step=next_step, actions=_actions(record, failure.code))


def _actions(record: JobRecord, code: str) -> tuple[Action, ...]:
    if record.status is Status.HELD:
        return ways_to_resolve(held=True)
    if record.submission.state is SubmissionState.UNKNOWN:
        return ways_to_resolve()
    return AFTER_REFUSAL if code in _REFUSALS else (Action.RETRY,)
