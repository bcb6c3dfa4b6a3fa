"""The state machine of a job: pure functions from a record to its next version.

Every store applies these in one transaction or script, so the rules exist once and are tested without a store. Each
function raises `ActionRefused` or `LeaseLost` if the change is not allowed. Other packages import them from here.
"""

from tenxsom_flow_engine.jobs.lifecycle.changes import FIRST_EVENTS, LAST_EVENTS
from tenxsom_flow_engine.jobs.lifecycle.decisions import cancel, resolve, retry, ways_to_resolve
from tenxsom_flow_engine.jobs.lifecycle.deliveries import adopt, dispatched, move, move_up, receive, redispatch
from tenxsom_flow_engine.jobs.lifecycle.edits import edit, reschedule, run_now
from tenxsom_flow_engine.jobs.lifecycle.generations import generation_ended, not_running, render_stopped
from tenxsom_flow_engine.jobs.lifecycle.journal import (
    accept,
    buys_again,
    can_be_corrected,
    clear_submission,
    in_doubt,
    intend,
    mark_unknown,
)
from tenxsom_flow_engine.jobs.lifecycle.leases import MAX_EXPIRIES, add, expire, release_lease, renew, take
from tenxsom_flow_engine.jobs.lifecycle.repairs import hold_after_restore, rewind, was_ahead
from tenxsom_flow_engine.jobs.lifecycle.settling import settle
from tenxsom_flow_engine.jobs.lifecycle.starts import check_start, expire_unstarted

__all__ = [
    "FIRST_EVENTS",
    "LAST_EVENTS",
    "MAX_EXPIRIES",
    "accept",
    "add",
    "adopt",
    "buys_again",
    "can_be_corrected",
    "cancel",
    "check_start",
    "clear_submission",
    "dispatched",
    "edit",
    "expire",
    "expire_unstarted",
    "generation_ended",
    "hold_after_restore",
    "in_doubt",
    "intend",
    "mark_unknown",
    "move",
    "move_up",
    "not_running",
    "receive",
    "redispatch",
    "release_lease",
    "render_stopped",
    "renew",
    "reschedule",
    "resolve",
    "retry",
    "rewind",
    "run_now",
    "settle",
    "take",
    "was_ahead",
    "ways_to_resolve",
]
