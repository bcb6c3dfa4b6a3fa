"""The types of store: opens one that keeps the records of a queue, and the ledger of rate limits in it."""

from __future__ import annotations

from pathlib import Path

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.timings import Timings


def open_store_at(scheme: str, url: str, prefix: str, clock: Clock, timings: Timings = Timings()) -> JobStore:
    """Open the `sqlite` or `redis` store at a URL. `prefix` starts the names of our keys on a Redis server.

    The clock is for a SQLite store; a Redis server has its own. Raises `ConfigurationError`, `StoreError`.
    """
    if scheme == "redis":
        from tenxsom_flow_engine.store.redis.store import RedisStore

        return RedisStore(url, prefix, timings=timings)
    from tenxsom_flow_engine.store.sqlite import SQLiteStore

    path = url.removeprefix("sqlite://")
    if not path.startswith("/") or not path.strip("/"):
        raise ConfigurationError(
            f"TENXSOM_STORE {url!r} has no absolute path", next_step="write sqlite:///ABSOLUTE/PATH"
        )
    # Four slashes also denote an absolute path.
    return SQLiteStore(Path("/" + path.lstrip("/")), clock, timings)


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
