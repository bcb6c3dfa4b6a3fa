"""What a benchmark asks of a job queue, and the job that all of them run."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from abc import ABC, abstractmethod
from functools import cache

#: The server, and the file that the jobs write to. (Named here, so that each process of a peer has the same.)
URL = os.environ.get("BENCH_REDIS_URL", "")
TALLY = os.environ.get("BENCH_TALLY", "")
#: Seconds that the job works; 0: it is done at once.
DURATION = float(os.environ.get("BENCH_DURATION", "0"))
#: Jobs at once in one worker process.
CONCURRENCY = 8
#: Bytes that one run of the job adds to the tally.
ENTRY = struct.Struct("<dd")


@cache
def _tally() -> int:
    return os.open(TALLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(sent: float) -> None:
    """Do the job: write down when it began and how long that was after `sent` (both on the machine's steady clock)."""
    now = time.monotonic()
    os.write(_tally(), ENTRY.pack(now, now - sent))
    if DURATION:
        time.sleep(DURATION)


async def note_async(sent: float) -> None:
    """Do the job on an event loop."""
    now = time.monotonic()
    os.write(_tally(), ENTRY.pack(now, now - sent))
    if DURATION:
        await asyncio.sleep(DURATION)


def sent_now() -> float:
    """Return the argument of a job that is sent now."""
    return time.monotonic()


class Peer(ABC):
    """One job queue: how its manual adds jobs, one by one and many at once, and runs a worker that keeps them."""

    #: Whether it has a way to add many at once that is not a loop.
    has_bulk = False

    @abstractmethod
    def enqueue(self, count: int) -> None:
        """Add jobs one by one, each there when the next is sent."""

    def enqueue_many(self, count: int) -> None:
        """Add jobs in the fastest documented way."""
        raise NotImplementedError

    @abstractmethod
    def work(self) -> None:
        """Run one worker process with `CONCURRENCY` jobs at once, until killed."""
