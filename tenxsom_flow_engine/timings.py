"""How long the engine waits, as one value: production uses the defaults, a rehearsal hands in shorter times."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """Time limits of one HTTP call, in seconds: to connect, for each read, and for the whole call."""

    connect: float
    read: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All waiting times of the engine, in seconds. A job's own times (its due time, its lease) are settings."""

    # One step of a job (`generation`).
    #: After a create timed out, its silence proves nothing for this long: another worker may still be sending it.
    create_settle_margin: float = 60.0
    #: How long a paid job waits for a service that an operator must fix first.
    stopped_service_retry: float = 300.0
    #: How long a job waits for an in-flight slot that another job took first.
    slot_retry: float = 5.0
    #: How long a job waits for a worker that has its service configured.
    unknown_service_retry: float = 300.0
    #: Upper bound of the time between two polls of one generation, whatever its service suggests.
    max_poll_interval: float = math.inf

    # Calls to services over HTTP (`services`).
    #: A call that costs nothing and may be repeated.
    read_call: CallTimeouts = CallTimeouts(connect=5.0, read=20.0, total=30.0)
    #: A paid create. An outcome that stays unknown may have to be held, so it gets more time.
    paid_call: CallTimeouts = CallTimeouts(connect=10.0, read=60.0, total=60.0)
    #: The download of a video.
    download_call: CallTimeouts = CallTimeouts(connect=10.0, read=30.0, total=600.0)
    #: How long a busy service is left alone at least, whatever `Retry-After` it sends.
    busy_floor: float = 30.0

    # The rate limiter (`rate_limits`).
    #: How long a gate stays closed after a busy answer that names no time.
    busy_pause: float = 30.0
    #: Time between two creates that probe whether a stopped service works again.
    probe_interval: float = 300.0
    #: A waiter of a stopped service asks again after this time at first, later after half of its wait so far.
    stopped_hint: float = 1.0
    #: A waiter asks again after this time at most: limits may be raised and pauses lifted meanwhile.
    max_hint: float = 900.0

    # Google Cloud Tasks (`queues.cloud_tasks`).
    #: How long the creation of a task is repeated while the service cannot be reached; 0: it is not repeated.
    task_create_retry: float = 20.0

    # Workers and the store (`workers`, `store`).
    #: How often maintenance removes old records and leftovers.
    sweep_interval: float = 600.0
    #: How often maintenance looks for deliveries that a queue backend has lost.
    lost_delivery_interval: float = 60.0
    #: How long a job is overdue before its delivery counts as possibly lost.
    overdue: float = 60.0
    #: How long a pull worker pauses while the store cannot be used.
    store_retry: float = 1.0
    #: A write that must not be lost is repeated after this time at first, at most after `max_write_retry`.
    first_write_retry: float = 0.1
    max_write_retry: float = 5.0
    #: How often a web worker tries to open a store that cannot be used.
    store_open_retry: float = 5.0
    #: A call on a SQLite store waits this long for the transaction of another process.
    sqlite_lock: float = 15.0
    #: How long the web answers with the queue state it has read last: with Cloud Tasks, reading it is a remote call.
    queue_state_age: float = 10.0
    #: How long one request of the dashboard acts on many jobs before it offers to continue.
    bulk_request: float = 5.0
    #: A connection to Redis; an answer from it; and its append-only file, before the answer is given up.
    redis_connect: float = 3.0
    redis_answer: float = 10.0
    redis_file: float = 8.0
