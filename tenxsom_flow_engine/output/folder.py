"""Where videos are published: one folder for each job, which appears under its name only when whole and checked."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.output.media import inspect, write_thumbnail
from tenxsom_flow_engine.output.metadata import metadata_of, plain_captions

#: Seconds after which a folder that was never finished is taken for the leftover of a killed worker.
STALE = 86400.0
#: What a job's folder holds.
FILES = ("video.mp4", "thumbnail.jpg", "captions.srt", "metadata.json")
#: Shares of the ordered length between which a video may be.
MIN_LENGTH_FACTOR, MAX_LENGTH_FACTOR = 0.4, 2.5


class OutputFolder:
    """The folder of all published videos. Several workers, also on several machines, may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / ".staging"

    def check(self) -> None:
        """Raise `OutputError` unless videos can be written here."""
        with self._mapped():
            self._staging.mkdir(parents=True, exist_ok=True)
            probe = self._staging / f"probe.{secrets.token_hex(4)}"
            probe.write_bytes(b"")
            probe.unlink()

    def sweep(self) -> None:
        """Remove what killed workers left unfinished."""
        if not self._staging.is_dir():
            return
        for leftover in self._staging.iterdir():
            # Another worker may sweep too, so an entry may be gone by now.
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > STALE:
                    if leftover.is_dir():
                        shutil.rmtree(leftover)
                    else:
                        leftover.unlink()

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        """Have `fill` write `video.mp4` (and what else it has) into an empty folder, check it, complete and publish it.

        `reported_duration` is the length in seconds that the service reports, if it does; the file may then differ more
        from the requested length.
        If another worker published the same job first, its video stays and this one is thrown away. Raises
        `OutputError` if nothing can be written or the video is not whole, and what `fill` raises; nothing is left then.
        """
        final = self._folder(record)
        with self._mapped():
            if final.exists():
                return self._published(final)
            staging = self._staging / f"{record.job_id}.{secrets.token_hex(4)}"
            staging.mkdir(parents=True)
            try:
                fill(staging)
                self._complete(staging, final, record, reported_duration)
                return self._appear(staging, final)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def files(self, video: Video) -> Mapping[str, Path]:
        """Return the files of a published video that are still there, by their names.

        None of one that lies elsewhere, also where a link leads there: a record may come from another machine, and its
        path is not trusted with more than this folder.
        """
        found = {}
        for name in FILES:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # gone, a loop of links, no path at all
                path = Path(video.path).with_name(name).resolve(strict=True)
                if path.is_file() and path.is_relative_to(self.root.resolve()):
                    found[name] = path
        return found

    def _folder(self, record: JobRecord) -> Path:
        """Return the job's folder; an earlier job that had the same id keeps its own."""
        plain = self.root / record.job_id
        with contextlib.suppress(OSError, ValueError, KeyError):
            if _read(plain)["nonce"] != record.nonce:
                return self.root / f"{record.job_id}~{record.nonce}"
        return plain

    def _complete(self, folder: Path, final: Path, record: JobRecord, reported_duration: float | None) -> None:
        file = folder / "video.mp4"
        if not file.exists():
            raise OutputError(f"{record.service} delivered no video file")
        facts = inspect(file)
        _check_length(facts.duration, record, reported_duration)
        if not (folder / "thumbnail.jpg").exists():
            write_thumbnail(file, folder / "thumbnail.jpg")
        if not (folder / "captions.srt").exists():
            (folder / "captions.srt").write_text(plain_captions(record.job.topic, facts.duration), "utf-8")
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        video = Video(str(final / "video.mp4"), facts.duration, facts.width, facts.height, file.stat().st_size, sha256)
        facts_of_job = metadata_of(record, video) | {"nonce": record.nonce}
        (folder / "metadata.json").write_text(json.dumps(facts_of_job, ensure_ascii=False, indent=2) + "\n", "utf-8")
        for path in folder.iterdir():
            _sync(path)
        _sync(folder)

    def _appear(self, staging: Path, final: Path) -> Video:
        try:
            staging.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            _sync(self.root)
        return self._published(final)

    @staticmethod
    def _published(folder: Path) -> Video:
        try:
            known = _read(folder)
            if (folder / "video.mp4").stat().st_size != known["size"]:
                raise ValueError("the video has another size than its metadata says")
            return Video(
                str(folder / "video.mp4"),
                known["duration"],
                known["width"],
                known["height"],
                known["size"],
                known["sha256"],
            )
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise OutputError(
                f"the folder {folder} is there but holds no finished video",
                next_step="move it away, then retry the job",
            ) from error

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            next_step = "free some space" if full else "set TENXSOM_OUTPUT_DIR to a folder you can write to"
            reason = error.strerror or str(error)
            raise OutputError(f"videos cannot be written to {self.root}: {reason}", next_step=next_step) from error


def _check_length(duration: float, record: JobRecord, reported_duration: float | None) -> None:
    """Raise `OutputError` for a length (seconds) that is far from all that was expected: then it is another video.

    The bounds are wide, because services take the nearest length they allow, and some of them keep it loosely.
    """
    ordered = record.job.duration
    expected = (ordered, *([reported_duration] if reported_duration else []))
    if not any(length * MIN_LENGTH_FACTOR <= duration <= length * MAX_LENGTH_FACTOR + 1.0 for length in expected):
        raise OutputError(f"{record.service} delivered {duration:.1f} s of video where {ordered} s were ordered")


def _read(folder: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_text("utf-8"))
    return metadata


def _sync(path: Path) -> None:
    """Put a file or folder on disk, so that a folder that appeared is whole after a power cut too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
