"""The interface of a job queue in benchmarks, and the job that every queue runs."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from abc import ABC, abstractmethod
from functools import cache

#: The Redis server, and the file that jobs write to. From the environment, since workers can be child processes.
URL = os.environ.get("BENCH_REDIS_URL", "")
TALLY = os.environ.get("BENCH_TALLY", "")
#: Seconds that the job takes; with 0 it ends immediately.
DURATION = float(os.environ.get("BENCH_DURATION", "0"))
#: Concurrent jobs in a worker process.
CONCURRENCY = 8
#: The entry that a job appends to the tally: its start, and the seconds since it was sent.
ENTRY = struct.Struct("<dd")


@cache
def _tally() -> int:
    return os.open(TALLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(sent: float) -> None:
    """The job: record its start and the time since `sent` (both on the monotonic clock), and take `DURATION`."""
    now = time.monotonic()
    os.write(_tally(), ENTRY.pack(now, now - sent))
    if DURATION:
        time.sleep(DURATION)


async def note_async(sent: float) -> None:
    """The job for an event loop."""
    now = time.monotonic()
    os.write(_tally(), ENTRY.pack(now, now - sent))
    if DURATION:
        await asyncio.sleep(DURATION)


def sent_now() -> float:
    """Return the argument for a job that is sent now."""
    return time.monotonic()


class Peer(ABC):
    """One job queue, used as its manual describes for durable jobs."""

    #: Whether it can add many jobs in one call.
    has_bulk = False

    @abstractmethod
    def enqueue(self, count: int) -> None:
        """Add jobs one by one; each is on the server before the next is sent."""

    def enqueue_many(self, count: int) -> None:
        """Add jobs in the fastest documented way."""
        raise NotImplementedError

    @abstractmethod
    def work(self) -> None:
        """Run a worker with `CONCURRENCY` concurrent jobs until it is killed."""
