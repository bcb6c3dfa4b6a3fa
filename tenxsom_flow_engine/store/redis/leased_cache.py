"""The leased records of one handle, so that changing one needs no reading first."""

from __future__ import annotations

from threading import Lock

from tenxsom_flow_engine.store.redis.rows import Stored

#: Records kept at most: those of lost leases are never settled here.
MAX_RECORDS = 10_000


class LeasedRecords:
    """Leased records as this handle read or wrote them last. Threads share it.

    An entry can be out of date: a commit finds out by the version.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Stored] = {}
        self._lock = Lock()

    def get(self, job_id: str) -> Stored | None:
        """Return a record, or None."""
        return self._entries.get(job_id)

    def keep(self, stored: Stored) -> None:
        """Remember a record while it is leased; forget it otherwise."""
        job_id = stored.record.job_id
        with self._lock:
            self._entries.pop(job_id, None)
            if stored.record.lease is not None:
                self._entries[job_id] = stored
                if len(self._entries) > MAX_RECORDS:
                    del self._entries[next(iter(self._entries))]

    def forget(self, job_id: str) -> None:
        """Forget a record."""
        self._entries.pop(job_id, None)
