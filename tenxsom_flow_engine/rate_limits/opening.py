"""Opens the rate limiter's ledger, which is kept in the store of the jobs."""

from __future__ import annotations

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.timings import Timings


def open_ledger(store: JobStore, timings: Timings = Timings()) -> Ledger:
    """Open the ledger of an open store. Raises `ConfigurationError` for a type of store that has none."""
    if store.scheme == "sqlite":
        from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
        from tenxsom_flow_engine.store.sqlite import SQLiteStore

        assert isinstance(store, SQLiteStore)
        return SQLiteLedger(store, timings)
    if store.scheme == "redis":
        from tenxsom_flow_engine.rate_limits.redis import RedisLedger
        from tenxsom_flow_engine.store.redis.store import RedisStore

        assert isinstance(store, RedisStore)
        return RedisLedger(store.connection, timings=timings)
    raise ConfigurationError(
        f"a {store.scheme} store has no ledger for the rate limits", next_step="pass a limiter to the engine"
    )
