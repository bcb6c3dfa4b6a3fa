"""Waiting for a job: a request that is answered when the job needs no more waiting.

Each wait holds a thread, so their number is bounded; beyond it a request is answered at once with the present state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tenxsom_flow_engine.jobs import FINAL, JobRecord, Status
from tenxsom_flow_engine.store.base import JobStore

#: Maximum number of waits in each process.
LONG_POLLS = 16
#: Seconds between two reads of the record while the store changes, and without a change.
_BUSY, _QUIET = 0.1, 1.0


class LongPolls:
    """The waits of one process. Thread-safe."""

    def __init__(self, stopping: Callable[[], bool], places: int = LONG_POLLS) -> None:
        self._stopping = stopping
        self._places = threading.BoundedSemaphore(places)
        #: Never set: a pause that ends by its time.
        self._never = threading.Event()

    def follow(self, store: JobStore, record: JobRecord, seconds: float) -> tuple[JobRecord, bool]:
        """Wait until a job is final or held, at most `seconds`; return its record, and whether it was waited for.

        Raises `JobNotFound`, `StoreError`.
        """
        if not seconds > 0 or _rests(record):  # also for a number that is none
            return record, True
        if not self._places.acquire(blocking=False):
            return record, False
        try:
            ends = time.monotonic() + seconds
            while not self._stopping():
                revision = store.revision()
                record = store.require(record.job_id)
                left = ends - time.monotonic()
                if _rests(record) or left <= 0:
                    break
                store.wait(revision, timeout=min(left, _QUIET), wake=self._never)
                self._never.wait(min(left, _BUSY))
            return record, True
        finally:
            self._places.release()


def _rests(record: JobRecord) -> bool:
    return record.status in FINAL or record.status is Status.HELD
