"""The spool: complete videos on the local disk that are not in the bucket yet.

Each video of a bucket passes through it. While the bucket is away, the videos stay: a vendor's link expires, and what
was bought must not depend on it. Any worker of the machine uploads them later, also after a restart.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.files import sync
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.output.base import METADATA
from tenxsom_flow_engine.output.leftovers import free_space, remove_old


class Spool:
    """The folder of the spool. Its entries are folders with the complete files of one job each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / ".staging"

    def check(self) -> None:
        """Raise `OutputError` unless files can be written here."""
        with self.mapped():
            probe = self._staging / f"probe.{secrets.token_hex(4)}"
            self._staging.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()

    def free_space(self) -> int | None:
        """Return the free bytes of its file system; None if it cannot be read."""
        return free_space(self.root)

    def sweep(self) -> None:
        """Remove old folders that killed workers left behind. Entries stay."""
        remove_old(self._staging)

    @contextlib.contextmanager
    def staging(self, record: JobRecord) -> Iterator[Path]:
        """Yield an empty folder, which is removed afterwards unless `keep` has made it an entry."""
        folder = self._staging / f"{record.job_id}.{secrets.token_hex(4)}"
        with self.mapped():
            folder.mkdir(parents=True)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(self, staging: Path, record: JobRecord) -> Path:
        """Make a completed staging folder the entry of its job, durably; return the entry. An earlier one stays."""
        entry = self.entry(record)
        try:
            staging.rename(entry)
        except OSError:
            if not (entry / METADATA).exists():
                raise
        else:
            sync(self.root)
        return entry

    def entry(self, record: JobRecord) -> Path:
        """Return the path of a job's entry, which need not exist."""
        return self.root / f"{record.job_id}.{record.nonce}"

    def entries(self, seconds: float = 0.0) -> list[Path]:
        """Return the entries that are at least some seconds old."""
        found = []
        with contextlib.suppress(OSError):  # there is no spool yet
            for path in self.root.iterdir():
                with contextlib.suppress(OSError):  # published in between
                    if path.name[0] != "." and time.time() - (path / METADATA).stat().st_mtime >= seconds:
                        found.append(path)
        return found

    def remove(self, entry: Path) -> None:
        """Remove an entry, at once for other processes."""
        aside = self._staging / f"{entry.name}.{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):  # it is removed by another process, or by the next delivery
            entry.rename(aside)
            shutil.rmtree(aside)

    @contextlib.contextmanager
    def locked(self, entry: Path) -> Iterator[bool]:
        """Yield whether this thread alone delivers an entry until the end of the block."""
        try:
            descriptor = os.open(entry, os.O_RDONLY)
        except FileNotFoundError:  # delivered in between
            yield False
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield (entry / METADATA).exists()
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def mapped(self) -> Iterator[None]:
        """Convert errors of the file system to `OutputError`."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"videos cannot be kept in the spool {self.root}: {error.strerror or error}",
                next_step="free some space, or set TENXSOM_HOME to a folder you can write to",
            ) from error
