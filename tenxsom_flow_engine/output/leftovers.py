"""Files of unfinished publications on the local disk: how old they can be, and how much space is left for them."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

#: Seconds after which an unfinished folder counts as left behind by a killed worker.
STALE = 86400.0


def remove_old(staging: Path) -> None:
    """Remove the entries of a staging folder that are older than `STALE`."""
    if not staging.is_dir():
        return
    for leftover in staging.iterdir():
        # Another worker can sweep at the same time and remove an entry first.
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STALE:
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()


def free_space(folder: Path) -> int | None:
    """Return the free bytes of a folder's file system; None if it cannot be read."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        return shutil.disk_usage(existing).free
    except OSError:
        return None
