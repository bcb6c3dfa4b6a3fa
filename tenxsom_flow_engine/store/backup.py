"""Backups of a store, and the exchange of a store's contents for those of a backup, whatever its type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenxsom_flow_engine.store.base import JobStore

#: Gets the share of a backup that is done, from 0 to 1.
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A store that is being replaced, while no other process can use it."""

    #: The backup's contents in a store of their own; changes to it are part of what `commit` puts in place.
    restored: JobStore
    #: The contents that are replaced, for reading, as far as they are readable; None if they are missing or damaged.
    replaced: JobStore | None
    #: Whether these are undamaged and not older than the backup, so that they show all purchases since.
    complete: bool
    #: The store's time at the backup.
    backup_at: float
    #: Where the replaced contents stay; empty if there were none.
    kept: str
    #: Puts the restored contents in place, completely or not at all. Both stores are closed then.
    commit: Callable[[], None]
