"""A cache of the records that this store handle has leased, so that changing one needs no read first."""

from __future__ import annotations

from threading import Lock

from tenxsom_flow_engine.store.redis.rows import Stored

#: Maximum number of records: records whose lease was lost are never settled here, so they stay.
MAX_RECORDS = 10_000


class LeasedRecords:
    """Leased records as this handle last read or wrote them. Thread-safe.

    An entry can be out of date; a commit detects that by the version.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Stored] = {}
        self._lock = Lock()

    def get(self, job_id: str) -> Stored | None:
        """Return a record, or None."""
        return self._entries.get(job_id)

    def keep(self, stored: Stored) -> None:
        """Cache a record if it is leased; remove it otherwise."""
        job_id = stored.record.job_id
        with self._lock:
            self._entries.pop(job_id, None)
            if stored.record.lease is not None:
                self._entries[job_id] = stored
                if len(self._entries) > MAX_RECORDS:
                    del self._entries[next(iter(self._entries))]

    def forget(self, job_id: str) -> None:
        """Remove a record."""
        self._entries.pop(job_id, None)
