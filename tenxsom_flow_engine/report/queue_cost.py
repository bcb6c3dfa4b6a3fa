"""What the queue itself costs: Cloud Tasks, paid by the operation, beside a managed Redis, paid by the month.

Prices are those of cloud.google.com/tasks/pricing (2026): an operation is an API call or an attempt to push a task,
each counted for every 32 KB; the first million in a month are free, then a million costs USD 0.40.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.codec import encode

FREE_OPERATIONS = 1_000_000
USD_PER_OPERATION = 0.40 / 1_000_000
#: Bytes that count as one operation.
UNIT = 32 * 1024
#: Bytes of a task beside its job: address, headers, token, names.
ENVELOPE = 2048
DAYS_IN_MONTH = 365.25 / 12
#: USD a month of the smallest managed Redis of Google (Memorystore, basic tier, 1 GB in us-central1 at about USD 0.049
#: an hour), as a default to compare with.
REDIS_USD = 36.0
#: Seconds that a render takes and between two polls, where no video has been made yet to measure the steps by.
TYPICAL_RENDER, TYPICAL_POLL = 180.0, 15.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a video asks of its queue, and how that is known."""

    #: Deliveries.
    steps: float
    #: Operations that one task counts for, by its size.
    units: float
    #: The videos that this was measured on; 0: it is estimated.
    measured: int

    @property
    def operations(self) -> float:
        """Cloud Tasks operations of a video: each step is a task that is created, and one that is pushed."""
        return self.steps * 2 * self.units


#: A submit, a poll every `TYPICAL_POLL` seconds of a render, a fetch.
TYPICAL = Load(steps=2 + TYPICAL_RENDER / TYPICAL_POLL, units=1.0, measured=0)


def measure(records: Sequence[JobRecord]) -> Load:
    """Return the load of videos that were made; `TYPICAL` if there are none."""
    if not records:
        return TYPICAL
    # A record counts its deliveries.
    steps = sum(record.seq for record in records) / len(records)
    units = sum(math.ceil((len(encode(record.job)) + ENVELOPE) / UNIT) for record in records) / len(records)
    return Load(steps, units, len(records))


@dataclass(frozen=True, slots=True)
class QueueCost:
    """What carrying so many videos a day costs in a month."""

    videos_per_day: float
    operations: float
    cloud_tasks_usd: float
    redis_usd: float
    #: The number of videos a day from which on Redis is the cheaper one.
    break_even: float


def queue_cost(load: Load, videos_per_day: float, redis_usd: float) -> QueueCost:
    """Return the month's cost of a load."""
    operations = load.operations * videos_per_day * DAYS_IN_MONTH
    affordable = FREE_OPERATIONS + redis_usd / USD_PER_OPERATION
    return QueueCost(
        videos_per_day=videos_per_day,
        operations=operations,
        cloud_tasks_usd=max(0.0, operations - FREE_OPERATIONS) * USD_PER_OPERATION,
        redis_usd=redis_usd,
        break_even=affordable / (load.operations * DAYS_IN_MONTH),
    )
