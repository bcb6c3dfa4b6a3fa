"""Publishes videos: one folder for each job, which appears under its name only when it is complete and checked."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.files import sync
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.output.captions import plain_captions
from tenxsom_flow_engine.output.inspection import Inspector
from tenxsom_flow_engine.output.media import MediaFacts
from tenxsom_flow_engine.output.metadata import metadata_of

#: Seconds after which an unfinished folder counts as left behind by a killed worker.
STALE = 86400.0
#: The files in a job's folder.
FILES = ("video.mp4", "thumbnail.jpg", "captions.srt", "metadata.json")
#: The accepted range of a video's length, as factors of the ordered length.
MIN_LENGTH_FACTOR, MAX_LENGTH_FACTOR = 0.4, 2.5


class OutputFolder:
    """The folder of all published videos. Several workers, also on several machines, can share it.

    `inspect` reads the properties of a video, and makes the thumbnail if it gets a path; see `Inspector.inspect`.
    """

    def __init__(self, root: Path, inspect: Callable[[Path, Path | None], MediaFacts] | None = None) -> None:
        self.root = root
        self._inspect = inspect or Inspector().inspect
        self._staging = root / ".staging"

    def check(self) -> None:
        """Raise `OutputError` unless videos can be written here, and appear here by renaming their folder."""
        with self._mapped():
            self._staging.mkdir(parents=True, exist_ok=True)
            probe = self._staging / f"probe.{secrets.token_hex(4)}"
            probe.mkdir()
            (probe / "file").write_bytes(b"")
            renamed = probe
            try:
                renamed = probe.rename(probe.with_name(f"{probe.name}.renamed"))
            finally:
                shutil.rmtree(renamed)

    def free_space(self) -> int | None:
        """Return the free bytes of the folder's file system; None if it cannot be read."""
        existing = next(place for place in (self.root, *self.root.parents) if place.exists())
        try:
            return shutil.disk_usage(existing).free
        except OSError:
            return None

    def sweep(self) -> None:
        """Remove unfinished folders that killed workers left behind."""
        if not self._staging.is_dir():
            return
        for leftover in self._staging.iterdir():
            # Another worker can sweep at the same time and remove an entry first.
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > STALE:
                    if leftover.is_dir():
                        shutil.rmtree(leftover)
                    else:
                        leftover.unlink()

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        """Let `fill` write `video.mp4` (and any other files) into an empty folder, then check, complete and publish it.

        `reported_duration` is the length in seconds that the service reports, if any; the file can then differ more
        from the requested length. If another worker published the same job first, its video stays and this one is
        discarded. Raises `OutputError` if a file cannot be written or the video is incomplete, and any error of `fill`;
        no files remain after an error.
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
        """Return the existing files of a published video, by name.

        Files outside this folder are left out, also if a link leads there: a record can come from another machine, so
        its path is not trusted.
        """
        found = {}
        for name in FILES:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # removed, a loop of links, or an invalid path
                path = Path(video.path).with_name(name).resolve(strict=True)
                if path.is_file() and path.is_relative_to(self.root.resolve()):
                    found[name] = path
        return found

    def _folder(self, record: JobRecord) -> Path:
        """Return the job's folder; an earlier job with the same id keeps its folder."""
        plain = self.root / record.job_id
        with contextlib.suppress(OSError, ValueError, KeyError):
            if _read(plain)["nonce"] != record.nonce:
                return self.root / f"{record.job_id}~{record.nonce}"
        return plain

    def _complete(self, folder: Path, final: Path, record: JobRecord, reported_duration: float | None) -> None:
        file = folder / "video.mp4"
        if not file.exists():
            raise OutputError(f"{record.service} delivered no video file")
        thumbnail = folder / "thumbnail.jpg"
        facts = self._inspect(file, None if thumbnail.exists() else thumbnail)
        _check_length(facts.duration, record, reported_duration)
        if not (folder / "captions.srt").exists():
            (folder / "captions.srt").write_text(plain_captions(record.job.topic, facts.duration), "utf-8")
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        video = Video(str(final / "video.mp4"), facts.duration, facts.width, facts.height, file.stat().st_size, sha256)
        facts_of_job = metadata_of(record, video) | {"nonce": record.nonce}
        (folder / "metadata.json").write_text(json.dumps(facts_of_job, ensure_ascii=False, indent=2) + "\n", "utf-8")
        for path in folder.iterdir():
            sync(path)
        sync(folder)

    def _appear(self, staging: Path, final: Path) -> Video:
        try:
            staging.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            sync(self.root)
        return self._published(final)

    @staticmethod
    def _published(folder: Path) -> Video:
        try:
            known = _read(folder)
            if (folder / "video.mp4").stat().st_size != known["size"]:
                raise ValueError("the size of the video differs from its metadata")
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
                f"the folder {folder} exists but contains no finished video",
                next_step="move it away, then retry the job",
            ) from error

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            match error.errno:
                case errno.ENOSPC | errno.EDQUOT:
                    next_step = "free some space"
                case errno.EMFILE:  # gcsfuse refuses to rename a folder of more files than its rename-dir-limit
                    next_step = "mount the bucket with rename-dir-limit=100; for any other folder, raise ulimit -n"
                case _:
                    next_step = "set TENXSOM_OUTPUT_DIR to a folder you can write to"
            reason = error.strerror or str(error)
            raise OutputError(f"videos cannot be written to {self.root}: {reason}", next_step=next_step) from error


def _check_length(duration: float, record: JobRecord, reported_duration: float | None) -> None:
    """Raise `OutputError` if a length in seconds is far from all expected ones: it must be the wrong video.

    The bounds are wide, because services use the nearest length that they support, and some only approximate it.
    """
    ordered = record.job.duration
    expected = (ordered, *([reported_duration] if reported_duration else []))
    if not any(length * MIN_LENGTH_FACTOR <= duration <= length * MAX_LENGTH_FACTOR + 1.0 for length in expected):
        raise OutputError(f"{record.service} delivered {duration:.1f} s of video instead of the ordered {ordered} s")


def _read(folder: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_text("utf-8"))
    return metadata
