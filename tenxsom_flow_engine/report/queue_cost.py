"""Compare what the queue backends cost together with the stores that they need.

Cloud Tasks is charged per operation and needs a store as well: a managed Redis, charged per month, or a SQLite file on
a machine. The other queue backends are a store alone.

Prices from cloud.google.com/tasks/pricing (2026): an operation is an API call or an attempt to push a task, counted
once per 32 KB; the first million operations in a month are free, each further million costs $0.40.
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
#: Bytes of a task in addition to its job: address, headers, token, names.
ENVELOPE = 2048
DAYS_IN_MONTH = 365.25 / 12
#: Default for the comparison: USD per month of Google's smallest managed Redis (Memorystore, basic tier, 1 GB in
#: us-central1 at about $0.049 an hour).
REDIS_USD = 36.0
#: Seconds of a render, and between two polls: an estimate for a store without finished videos.
TYPICAL_RENDER, TYPICAL_POLL = 180.0, 15.0


@dataclass(frozen=True, slots=True)
class Load:
    """Load that one video puts on its queue."""

    #: Deliveries.
    steps: float
    #: Operations that one task counts as, by its size.
    units: float
    #: Number of videos that were measured; 0 for an estimate.
    measured: int

    @property
    def operations(self) -> float:
        """Cloud Tasks operations per video: each step creates a task and pushes it."""
        return self.steps * 2 * self.units


#: A submit, a poll every `TYPICAL_POLL` seconds of a render, a fetch.
TYPICAL = Load(steps=2 + TYPICAL_RENDER / TYPICAL_POLL, units=1.0, measured=0)


def measure(records: Sequence[JobRecord]) -> Load:
    """Return the average load of finished videos; `TYPICAL` if there are none."""
    if not records:
        return TYPICAL
    # `seq` numbers the deliveries of a job.
    steps = sum(record.seq for record in records) / len(records)
    units = sum(math.ceil((len(encode(record.job)) + ENVELOPE) / UNIT) for record in records) / len(records)
    return Load(steps, units, len(records))


@dataclass(frozen=True, slots=True)
class QueueCost:
    """Monthly cost of the queue at a number of videos per day."""

    videos_per_day: float
    operations: float
    cloud_tasks_usd: float
    redis_usd: float
    #: Number of videos per day above which a Redis alone is cheaper than Cloud Tasks with a file.
    break_even: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A queue backend with its store, and what both cost in a month."""

    queue_type: str
    #: `redis` or `sqlite`.
    store: str
    queue_usd: float
    store_usd: float

    @property
    def usd(self) -> float:
        """What both cost."""
        return self.queue_usd + self.store_usd


def choices(month: QueueCost, machine_usd: float = 0.0) -> tuple[Choice, ...]:
    """Return every queue backend with every store that it can have, the cheapest first.

    `machine_usd`: what the machine of a SQLite file costs in a month; nothing if it is there for the workers anyway.
    """
    found = (
        Choice("local", "sqlite", 0.0, machine_usd),
        Choice("redis", "redis", 0.0, month.redis_usd),
        Choice("cloud_tasks", "sqlite", month.cloud_tasks_usd, machine_usd),
        Choice("cloud_tasks", "redis", month.cloud_tasks_usd, month.redis_usd),
    )
    return tuple(sorted(found, key=lambda one: one.usd))


def queue_cost(load: Load, videos_per_day: float, redis_usd: float) -> QueueCost:
    """Return the monthly cost of a load."""
    operations = load.operations * videos_per_day * DAYS_IN_MONTH
    affordable = FREE_OPERATIONS + redis_usd / USD_PER_OPERATION
    return QueueCost(
        videos_per_day=videos_per_day,
        operations=operations,
        cloud_tasks_usd=max(0.0, operations - FREE_OPERATIONS) * USD_PER_OPERATION,
        redis_usd=redis_usd,
        break_even=affordable / (load.operations * DAYS_IN_MONTH),
    )
