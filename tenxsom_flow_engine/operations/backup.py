"""Write a backup of a store into a file, while workers run."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tenxsom_flow_engine.composition import Overrides
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.files import sync
from tenxsom_flow_engine.queues.selection import choose_queue, choose_store
from tenxsom_flow_engine.queues.stores import sqlite_path
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.backup import Progress


def back_up(
    settings: Settings,
    queue_type: str | None,
    file: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda share: None,
    overrides: Overrides | None = None,
) -> int:
    """Write a whole, checked backup that only the user can read; return its size in bytes.

    It appears under its name when it is complete. Raises `ConfigurationError` for an unusable file, `StoreError`.
    """
    choice = choose_store(settings, choose_queue(settings, queue_type).queue_type)
    if choice.scheme == "sqlite" and file.exists() and _same(file, sqlite_path(choice.url)):
        raise ConfigurationError(f"{file} is the store itself", next_step="name another file")
    if file.exists() and not (overwrite and file.is_file()):
        raise ConfigurationError(f"{file} exists already", next_step="name another file")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)  # mode 0600
        os.close(handle)
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}", next_step="name another file"
        ) from error
    part = Path(name)
    try:
        if choice.scheme == "redis":
            from tenxsom_flow_engine.store.redis import backup as redis_backup

            timings = (overrides or Overrides()).timings
            redis_backup.back_up(choice.url, settings.redis.key, part, timings)
        else:
            from tenxsom_flow_engine.store.sqlite import backup

            backup.back_up(sqlite_path(choice.url), part, progress)
        size = part.stat().st_size
        part.replace(file)
        sync(file.parent)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return size


def _same(file: Path, store: Path) -> bool:
    return any(other.exists() and file.samefile(other) for other in (store, Path(f"{store}-wal"), Path(f"{store}-shm")))
