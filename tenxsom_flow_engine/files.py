"""Writes files so that neither a reader nor a crash meets half of one."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file atomically: readers see the old content or the new; with `durable`, also after a power failure.

    Several processes and threads can do this at the same time. Raises `OSError`.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_bytes(content)
        if durable:
            sync(aside)
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def make_private_folder(folder: Path) -> None:
    """Create a folder for its owner only, unless it exists. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
