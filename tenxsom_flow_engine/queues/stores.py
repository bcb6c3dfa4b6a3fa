"""The types of store: opens one that keeps the records of a queue, and the ledger of rate limits in it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Counts
from tenxsom_flow_engine.timings import Timings


def open_store_at(scheme: str, url: str, prefix: str, clock: Clock, timings: Timings = Timings()) -> JobStore:
    """Open the `sqlite` or `redis` store at a URL. `prefix` starts the names of our keys on a Redis server.

    The clock is for a SQLite store; a Redis server has its own. Raises `ConfigurationError`, `StoreError`.
    """
    if scheme == "redis":
        from tenxsom_flow_engine.store.redis.store import RedisStore

        return RedisStore(url, prefix, timings=timings)
    from tenxsom_flow_engine.store.sqlite import SQLiteStore

    return SQLiteStore(sqlite_path(url), clock, timings)


def sqlite_path(url: str) -> Path:
    """Return the file of a `sqlite` URL. Raises `ConfigurationError` if its path is not absolute."""
    path = url.removeprefix("sqlite://")
    if not path.startswith("/") or not path.strip("/"):
        raise ConfigurationError(
            f"TENXSOM_STORE {url!r} has no absolute path", next_step="write sqlite:///ABSOLUTE/PATH"
        )
    # Four slashes also denote an absolute path.
    return Path("/" + path.lstrip("/"))


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """A store's place, as shown to operators, and the numbers of its jobs."""

    place: str
    counts: Counts

    @property
    def jobs(self) -> int:
        """The number of its jobs."""
        return sum(self.counts.by_status.values())

    @property
    def unfinished(self) -> int:
        """The number of its jobs that are not final."""
        return self.counts.unfinished + self.counts.by_status[Status.HELD]


def summarize_store(scheme: str, url: str, prefix: str, clock: Clock) -> StoreSummary | None:
    """Return a summary of a store; None if it does not exist, or has never held a job. Creates nothing.

    Raises `ConfigurationError`, `StoreError`.
    """
    if scheme == "redis":
        from tenxsom_flow_engine.store.redis.probe import is_redis_listening

        if not is_redis_listening(url):
            return None
    elif not sqlite_path(url).is_file():
        return None
    with closing(open_store_at(scheme, url, prefix, clock)) as store:
        return StoreSummary(store.place, store.status_counts()) if store.holds_jobs() else None


def open_ledger(store: JobStore, timings: Timings = Timings()) -> Ledger:
    """Open the ledger of an open store. Raises `ConfigurationError` for a type of store that has none."""
    if store.scheme == "redis":
        from tenxsom_flow_engine.rate_limits.redis import RedisLedger
        from tenxsom_flow_engine.store.redis.store import RedisStore

        assert isinstance(store, RedisStore)
        return RedisLedger(store.connection, timings=timings)
    if store.scheme == "sqlite":
        from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
        from tenxsom_flow_engine.store.sqlite import SQLiteStore

        assert isinstance(store, SQLiteStore)
        return SQLiteLedger(store, timings)
    raise ConfigurationError(
        f"a {store.scheme} store has no ledger for the rate limits", next_step="pass a limiter to the engine"
    )
