"""The folder that a draft's worker and its rendering child share: the order goes in, progress and files come out.

The child holds a lock on it for as long as it lives, so anybody can tell a render that goes on from one that died.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
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


class Refusal(msgspec.Struct, frozen=True):
    """Why this order can never be rendered."""

    message: str


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
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
        finally:
            os.close(descriptor)

    def count_start(self) -> int:
        """Return how often a render of this folder was begun, this time included. What was finished is so no more."""
        (self.path / "done").unlink(missing_ok=True)
        path = self.path / "starts"
        starts = (int(path.read_text()) if path.exists() else 0) + 1
        self._write("starts", str(starts).encode())
        return starts

    def report(self, fraction: float) -> None:
        """Say how far the render is, 0 to 1."""
        self._write("progress", f"{fraction:.3f}".encode())

    def progress(self) -> float:
        """Return how far the render is."""
        try:
            return float((self.path / "progress").read_text())
        except (FileNotFoundError, ValueError):
            return 0.0

    def finish(self) -> None:
        """Say that all files are whole."""
        self._write("done", b"")

    @property
    def finished(self) -> bool:
        """Whether all files are whole and still here."""
        return (self.path / "done").exists() and all((self.files / name).exists() for name in FILES)

    def refuse(self, message: str) -> None:
        """Say that this order can never be rendered."""
        self._write("refusal.json", msgspec.json.encode(Refusal(message)))

    def refusal(self) -> str | None:
        """Return why the order can never be rendered, if so."""
        try:
            return msgspec.json.decode((self.path / "refusal.json").read_bytes(), type=Refusal).message
        except FileNotFoundError:
            return None

    def last_words(self) -> str:
        """Return the last line that the child wrote to its error output."""
        try:
            lines = (self.path / "errors").read_text("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _write(self, name: str, content: bytes) -> None:
        """Write a file so that a reader finds the old content or the new, never half of it."""
        aside = self.path / f".{name}.{os.getpid()}"
        aside.write_bytes(content)
        aside.replace(self.path / name)
