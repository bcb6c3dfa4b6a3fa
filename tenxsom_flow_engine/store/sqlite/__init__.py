"""The job store in one SQLite file."""

from tenxsom_flow_engine.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
