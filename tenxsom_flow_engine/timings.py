"""All waiting times of the engine as one value: production uses the defaults, tests pass shorter times."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """Timeouts of one HTTP call, in seconds: to connect, for each read, and for the whole call."""

    connect: float
    read: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All waiting times of the engine, in seconds. A job's own times (its due time, its lease) are settings."""

    # One step of a job (`generation`).
    #: How long after its timeout a create can still appear at the service: another worker might still be sending it.
    create_settle_margin: float = 60.0
    #: How long a paid job waits for a service that an operator must fix first.
    stopped_service_retry: float = 300.0
    #: How long a job waits for an in-flight slot that another job took first.
    slot_retry: float = 5.0
    #: How long a job waits for a worker that has its service configured.
    unknown_service_retry: float = 300.0
    #: Upper bound of the time between two polls of one generation, whatever its service suggests.
    max_poll_interval: float = math.inf

    #: How long a job whose video is in a spool waits for the bucket, and how often maintenance empties the spool.
    output_retry: float = 60.0

    # Calls to services over HTTP (`services`).
    #: A call that costs nothing and can be repeated.
    read_call: CallTimeouts = CallTimeouts(connect=5.0, read=20.0, total=30.0)
    #: A paid create. It gets more time, because an unknown outcome can put the job on hold.
    paid_call: CallTimeouts = CallTimeouts(connect=10.0, read=60.0, total=60.0)
    #: The download of a video.
    download_call: CallTimeouts = CallTimeouts(connect=10.0, read=30.0, total=600.0)
    #: Minimum pause before calling a busy service again, whatever `Retry-After` it sends.
    busy_floor: float = 30.0

    # Messages about events (`notifiers`).
    #: A webhook: Standard Webhooks recommends 15 to 30 s.
    webhook_call: CallTimeouts = CallTimeouts(connect=10.0, read=15.0, total=15.0)
    #: How long the command of `TENXSOM_ON_VIDEO` can run.
    on_video: float = 600.0
    #: How long a process that finds no endpoint waits before it checks again.
    endpoint_check: float = 5.0
    #: How long one process delivers the messages of an endpoint after its latest renewal of that right.
    delivery_lease: float = 15.0
    #: How often verdicts are compared with the open incidents.
    incident_check: float = 30.0
    #: How long a worker that ends waits for messages that are due.
    last_messages: float = 5.0

    # The rate limiter (`rate_limits`).
    #: How long a gate stays closed after a busy answer that names no time.
    busy_pause: float = 30.0
    #: Time between two creates that probe whether a stopped service works again.
    probe_interval: float = 300.0
    #: A waiter of a stopped service asks again after this time at first, later after half of its wait so far.
    stopped_hint: float = 1.0
    #: A waiter asks again after this time at most, because limits can be raised and pauses lifted earlier.
    max_hint: float = 900.0

    # Google Cloud Tasks (`queues.cloud_tasks`).
    #: How long the creation of a task is retried while Cloud Tasks is unreachable; 0: no retries.
    task_create_retry: float = 20.0
    #: Timeout of one call.
    task_call: float = 5.0
    #: A call without an answer for this long has its connection checked, which is closed after `task_ping_timeout`.
    task_ping: float = 30.0
    task_ping_timeout: float = 10.0

    # Workers and the store (`workers`, `store`).
    #: How often maintenance removes old records and leftovers.
    sweep_interval: float = 600.0
    #: How often maintenance removes old videos.
    prune_interval: float = 3600.0
    #: How often maintenance looks for deliveries that a queue backend has lost.
    lost_delivery_interval: float = 60.0
    #: How often maintenance asks the services about generations that no worker polls, to free their slots.
    slot_check_interval: float = 30.0
    #: How often maintenance plans the next slots of schedules.
    schedule_interval: float = 60.0
    #: How long a job is overdue before its delivery counts as possibly lost.
    overdue: float = 60.0
    #: How long a pull worker pauses while the store cannot be used.
    store_retry: float = 1.0
    #: The first delay before a write that must not be lost is repeated; later delays grow up to `max_write_retry`.
    first_write_retry: float = 0.1
    max_write_retry: float = 5.0
    #: How often a web worker tries to open a store that cannot be used.
    store_open_retry: float = 5.0
    #: A call on a SQLite store waits this long for the transaction of another process.
    sqlite_lock: float = 15.0
    #: How long the web pages reuse the queue state: with Cloud Tasks, reading it is a remote call.
    queue_state_age: float = 10.0
    #: How long one request of the dashboard acts on many jobs before it offers to continue.
    bulk_request: float = 5.0
    #: Timeouts of Redis: to connect, for a reply, and (within it) for its append-only file.
    redis_connect: float = 3.0
    redis_answer: float = 10.0
    redis_file: float = 8.0

    def spread_hint(self, waiter_id: str) -> float:
        """Return the seconds until a waiter asks again, from half of `max_hint`: spread out over many waiters."""
        return self.max_hint * (1 + zlib.crc32(waiter_id.encode()) / 2**32) / 2
