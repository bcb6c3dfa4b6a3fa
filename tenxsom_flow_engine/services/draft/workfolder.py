"""The folder through which a worker and its rendering child communicate: order in, progress and files out.

The child locks it until it exits, so any process can distinguish a running render from a dead one.
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

from tenxsom_flow_engine.files import write_whole
from tenxsom_flow_engine.jobs import STYLES
from tenxsom_flow_engine.services.draft.render.formats import SAFE_AREAS

FILES = ("video.mp4", "thumbnail.jpg", "captions.srt")


class Order(msgspec.Struct, frozen=True):
    """The order of one draft. Fields with a default are absent from orders of earlier releases."""

    topic: str
    #: The script; named as in the orders of earlier releases.
    prompt: str
    duration: int
    aspect_ratio: str
    quality: str
    seed: str
    style: str = STYLES[0]
    mark: bool = False
    safe_area: str = SAFE_AREAS[0]


class Fault(msgspec.Struct, frozen=True):
    """Why a render failed: a message, the next step, and whether no attempt can succeed (`permanent`)."""

    message: str
    next_step: str
    permanent: bool


class WorkFolder:
    """The folder of one order; see the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = path / "files"

    def begin(self, order: Order) -> None:
        """Create the folder if it does not exist, and write the order."""
        self.files.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "order.json", msgspec.json.encode(order))

    def order(self) -> Order:
        """Return the order."""
        return msgspec.json.decode((self.path / "order.json").read_bytes(), type=Order)

    @property
    def has_order(self) -> bool:
        """Whether this is an existing folder with an order: no other folder is ever changed or removed."""
        try:
            self.order()
        except (OSError, msgspec.DecodeError):
            return False
        return not self.path.is_symlink()

    @contextlib.contextmanager
    def lock(self) -> Iterator[int | None]:
        """Yield a descriptor that holds the folder's lock, or None if a render holds it.

        A child that inherits the descriptor keeps the lock until it exits, even after this block has closed its copy.
        Raises FileNotFoundError if the folder does not exist.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
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
        """Remove the folder; the caller must hold its lock."""
        # Renamed first, so that no process sees a partly deleted folder.
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        self.path.rename(aside)
        shutil.rmtree(aside)

    # The render's starts and progress.

    @property
    def starts(self) -> int:
        """The number of times that the render was started."""
        try:
            return int((self.path / "starts").read_text())
        except FileNotFoundError:
            return 0

    def count_start(self) -> None:
        """Record the start of a render and remove progress, completion mark and fault of earlier ones."""
        for name in ("done", "fault.json", "progress"):
            (self.path / name).unlink(missing_ok=True)
        write_whole(self.path / "starts", str(self.starts + 1).encode())

    def report(self, fraction: float) -> None:
        """Record the progress of the render, 0 to 1."""
        write_whole(self.path / "progress", f"{fraction:.3f}".encode())

    def progress(self) -> tuple[float, float, float]:
        """Return the progress (0 to 1), and the times of the render's start and of that progress report."""
        begun = (self.path / "starts").stat().st_mtime
        try:
            with (self.path / "progress").open() as file:
                return float(file.read()), begun, os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return 0.0, begun, begun

    # The result.

    def finish(self) -> None:
        """Record that all files are complete."""
        write_whole(self.path / "done", b"")

    @property
    def finished(self) -> bool:
        """Whether all files are complete and exist."""
        return (self.path / "done").exists() and all((self.files / name).exists() for name in FILES)

    def fail(self, fault: Fault) -> None:
        """Record why the render failed, and remove its files."""
        self.clear()
        write_whole(self.path / "fault.json", msgspec.json.encode(fault))

    def fault(self) -> Fault | None:
        """Return why the last render failed, or None."""
        try:
            return msgspec.json.decode((self.path / "fault.json").read_bytes(), type=Fault)
        except FileNotFoundError:
            return None

    def forget_fault(self) -> None:
        """Remove the fault, so that the render can be started again."""
        (self.path / "fault.json").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the files, complete or not."""
        self.files.mkdir(exist_ok=True)
        for file in self.files.iterdir():
            file.unlink()

    def last_error_line(self) -> str:
        """Return the last line that the child wrote to its error output."""
        try:
            lines = (self.path / "errors").read_text("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    # Cancellation and publishing.

    def cancel(self) -> None:
        """Ask the render to stop and to remove the folder."""
        (self.path / "cancelled").touch()

    @property
    def cancelled(self) -> bool:
        """Whether the order was cancelled."""
        return (self.path / "cancelled").exists()

    def mark_fetched(self) -> None:
        """Record that the files are being fetched now."""
        with contextlib.suppress(OSError):  # the fetch itself reports that the folder is gone
            (self.path / "fetched").touch()

    def fetched_at(self) -> float | None:
        """Return when the files were last fetched, or None."""
        try:
            return (self.path / "fetched").stat().st_mtime
        except FileNotFoundError:
            return None

    def published_at(self) -> float | None:
        """Return when the video was hard-linked elsewhere, or None. That link survives the removal of this folder."""
        try:
            video = (self.files / FILES[0]).stat()
        except FileNotFoundError:
            return None
        return video.st_ctime if video.st_nlink > 1 else None
