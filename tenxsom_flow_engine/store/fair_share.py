"""The fair order in which the channels of a queue are claimed, the same in every store.

Each channel has a virtual time: its leases without a ticket, divided by its weight. The waiting channel with the lowest
virtual time is next. A channel that was idle starts at the virtual time of the queue, so it gains nothing by waiting. A
lease that ends without a purchase or a failure does not count. On Redis, `redis/scripts/turns.lua` applies the same
rules: change both together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import TICKET_MARK, JobRecord
from tenxsom_flow_engine.store.claiming import Capacity

#: Stands for the queue itself among its channels; no channel can have this name.
OVERALL = "*"
#: Ends the token of a lease that counts in the virtual time of its channel.
COUNTED = "+"
#: Seconds by which each level of priority moves a due job forward in the line of its channel. Any job is first in time.
PRIORITY_SECONDS = 600.0
#: Seconds between two checks of a paused channel.
PAUSE_CHECK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """The next job of a lane, and the virtual time of its channel."""

    lane: str
    channel: str
    virtual_time: float
    weight: float
    due: float
    #: The order of adding.
    position: int
    job_id: str


def line_key(due: float, priority: int) -> float:
    """Return the place of a due job in the line of its channel; the lowest is first."""
    return due - priority * PRIORITY_SECONDS


def take_turns(
    allowed: Capacity, taken: int, next_turn: Callable[[str], Turn | None], take: Callable[[Turn], bool]
) -> None:
    """Call `take` for the jobs to lease, in fair order, within a capacity of which `taken` is used up.

    `next_turn` returns the next job of a lane; `take` returns whether it leased the job.
    """
    if taken >= allowed.total:
        return
    openings = {lane: free for lane, free in allowed.openings.items() if not lane.startswith(TICKET_MARK)}
    turns = {lane: turn for lane, free in openings.items() if free > 0 and (turn := next_turn(lane))}
    while taken < allowed.total:
        open_lanes = [
            turn for lane, turn in turns.items() if all(openings[one] > 0 for one in allowed.lanes_used(lane))
        ]
        if not open_lanes:
            return
        turn = min(open_lanes, key=lambda turn: (turn.virtual_time, turn.due, turn.position))
        if take(turn):
            taken += 1
            for lane in allowed.lanes_used(turn.lane):
                openings[lane] -= 1
        for lane in [lane for lane, other in turns.items() if other.channel == turn.channel]:
            del turns[lane]
            if taken < allowed.total and openings[lane] > 0 and (following := next_turn(lane)):
                turns[lane] = following


def ended_unbought(before: JobRecord, after: JobRecord) -> bool:
    """Return whether a lease without a ticket ended with no purchase and no failure: the job waits, or expired."""
    lease = before.lease
    if lease is None or not lease.token.endswith(COUNTED) or after.lease is not None:
        return False
    waits = after.due is not None and not after.lane.startswith(TICKET_MARK) and after.attempts == before.attempts
    return waits or after.expired
