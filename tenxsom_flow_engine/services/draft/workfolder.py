"""The folder that a draft's worker and its rendering child share: the order goes in, progress and files come out.

The child holds a lock on it for as long as it lives, so anybody can tell a render that goes on from one that died.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

FILES = ("video.mp4", "thumbnail.jpg", "captions.srt")


class Order(msgspec.Struct, frozen=True):
    """What to render."""

    topic: str
    prompt: str
    duration: int
    aspect_ratio: str
    quality: str
    seed: str


class Fault(msgspec.Struct, frozen=True):
    """Why a render gave up: a sentence, what to do about it, and whether the order can never be rendered."""

    message: str
    next_step: str
    permanent: bool


class WorkFolder:
    """One order's folder; see the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = path / "files"

    def begin(self, order: Order) -> None:
        """Make the folder, if it is not there."""
        self.files.mkdir(parents=True, exist_ok=True)
        self._write("order.json", msgspec.json.encode(order))

    def order(self) -> Order:
        """Return what to render."""
        return msgspec.json.decode((self.path / "order.json").read_bytes(), type=Order)

    @contextlib.contextmanager
    def lock(self) -> Iterator[int | None]:
        """Yield a descriptor that holds the folder's lock, or None if a render holds it.

        A child that inherits the descriptor keeps the lock until it ends, also after this block has closed it here.
        Raises FileNotFoundError if the folder is not there.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            if not os.fstat(descriptor).st_nlink:  # removed between the two calls
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
            yield descriptor
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the folder; by the holder of its lock only."""
        # Out of the way first, so that nobody finds half of it.
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        self.path.rename(aside)
        shutil.rmtree(aside)

    # The render's starts and progress.

    @property
    def starts(self) -> int:
        """How often a render of this folder was begun."""
        try:
            return int((self.path / "starts").read_text())
        except FileNotFoundError:
            return 0

    def count_start(self) -> None:
        """Note that a render begins. What an earlier one told, finished or complained of is so no more."""
        for name in ("done", "fault.json", "progress"):
            (self.path / name).unlink(missing_ok=True)
        self._write("starts", str(self.starts + 1).encode())

    def report(self, fraction: float) -> None:
        """Say how far the render is, 0 to 1."""
        self._write("progress", f"{fraction:.3f}".encode())

    def progress(self) -> tuple[float, float, float]:
        """Return how far the render is, and the instants at which it was begun and told so."""
        begun = (self.path / "starts").stat().st_mtime
        try:
            with (self.path / "progress").open() as file:
                return float(file.read()), begun, os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return 0.0, begun, begun

    # How it ended.

    def finish(self) -> None:
        """Say that all files are whole."""
        self._write("done", b"")

    @property
    def finished(self) -> bool:
        """Whether all files are whole and still here."""
        return (self.path / "done").exists() and all((self.files / name).exists() for name in FILES)

    def give_up(self, fault: Fault) -> None:
        """Say why the render ended without a video, of which nothing is kept."""
        self.clear()
        self._write("fault.json", msgspec.json.encode(fault))

    def fault(self) -> Fault | None:
        """Return why the last render gave up, if it did."""
        try:
            return msgspec.json.decode((self.path / "fault.json").read_bytes(), type=Fault)
        except FileNotFoundError:
            return None

    def forget_fault(self) -> None:
        """Let the order be begun again."""
        (self.path / "fault.json").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the files, whole or half made."""
        self.files.mkdir(exist_ok=True)
        for file in self.files.iterdir():
            file.unlink()

    def last_words(self) -> str:
        """Return the last line that the child wrote to its error output."""
        try:
            lines = (self.path / "errors").read_text("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    # What came of it outside.

    def cancel(self) -> None:
        """Ask the render to stop and to remove the folder."""
        (self.path / "cancelled").touch()

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the video any more."""
        return (self.path / "cancelled").exists()

    def published_at(self) -> float | None:
        """Return when the video was linked to from elsewhere, if it is: it stays there when this folder goes."""
        try:
            video = (self.files / FILES[0]).stat()
        except FileNotFoundError:
            return None
        return video.st_ctime if video.st_nlink > 1 else None

    def _write(self, name: str, content: bytes) -> None:
        """Write a file so that a reader finds the old content or the new, never half of it."""
        aside = self.path / f".{name}.{secrets.token_hex(4)}"  # workers and their threads may write at once
        try:
            aside.write_bytes(content)
            aside.replace(self.path / name)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
