"""Publishes videos to a folder: each job's folder appears under its name when it is complete and checked."""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.files import sync
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.output.base import FILES, METADATA, VIDEO, Output, Publication
from tenxsom_flow_engine.output.completion import Inspect, complete, decode, video_of
from tenxsom_flow_engine.output.inspection import Inspector
from tenxsom_flow_engine.output.leftovers import free_space, remove_old

#: Errors with which file systems refuse to rename a folder. Cloud Storage FUSE gives EMFILE for a folder with more
#: files than its `rename-dir-limit`, which is 0 by default
#: (https://cloud.google.com/storage/docs/cloud-storage-fuse/config-file).
_NO_RENAME = (errno.EMFILE, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV)


class OutputFolder(Output):
    """The folder of all published videos. Several workers, also on several machines, can share it."""

    local = True

    def __init__(self, root: Path, inspect: Inspect | None = None) -> None:
        self.root = root
        self.place = str(root)
        self._inspect = inspect or Inspector().inspect
        self._staging = root / ".staging"

    def check(self) -> None:
        """Raise `OutputError` unless videos can be written here, and appear here by renaming their folder."""
        with self._mapped():
            self._staging.mkdir(parents=True, exist_ok=True)
            probe = self._staging / f"probe.{secrets.token_hex(4)}"
            probe.mkdir()
            renamed = probe
            try:
                for name in FILES:
                    (probe / name).write_bytes(b"")
                with self._renaming():
                    renamed = probe.rename(probe.with_name(f"{probe.name}.renamed"))
            finally:
                shutil.rmtree(renamed)

    def free_space(self) -> int | None:
        return free_space(self.root)

    def sweep(self) -> None:
        remove_old(self._staging)

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        if (video := self.recover(record)) is not None:
            return video
        final = self._folder(record)
        with self._mapped():
            staging = self._staging / f"{record.job_id}.{secrets.token_hex(4)}"
            staging.mkdir(parents=True)
            try:
                fill(staging)
                complete(staging, record, self._inspect, reported_duration)
                return self._appear(staging, final)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def recover(self, record: JobRecord) -> Video | None:
        with self._mapped():
            final = self._folder(record)
            return self._published(final) if final.exists() else None

    def files(self, video: Video) -> Mapping[str, str]:
        return {name: str(path) for name in FILES if (path := self._file(video, name))}

    def read(self, video: Video, name: str) -> bytes:
        with self._mapped_for_readers(video, name) as path:
            return path.read_bytes()

    def download(self, video: Video, name: str, target: Path) -> None:
        with self._mapped_for_readers(video, name) as path:
            shutil.copyfile(path, target)

    def publications(self) -> Iterator[Publication]:
        with self._mapped():
            folders = [path for path in self.root.iterdir() if path.name[0] != "."] if self.root.is_dir() else []
        for folder in folders:
            with contextlib.suppress(OSError):  # another worker removes it, or it is not a publication
                at = (folder / METADATA).stat().st_mtime
                if self._is_publication(folder):
                    yield Publication(folder.name, sum(path.stat().st_size for path in folder.iterdir()), at)

    @staticmethod
    def _is_publication(folder: Path) -> bool:
        """Return whether a folder is that of a job: its metadata names the job."""
        try:
            return bool(folder.name.partition("~")[0] == decode((folder / METADATA).read_bytes())["job_id"])
        except (ValueError, KeyError, TypeError):
            return False

    def remove(self, name: str) -> None:
        with self._mapped():
            aside = self._staging / f"{name}.{secrets.token_hex(4)}"
            self._staging.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another worker has removed it
                (self.root / name).rename(aside)
                shutil.rmtree(aside)

    def _file(self, video: Video, name: str) -> Path | None:
        """Return the path of an existing file; None also if it is outside this folder, where a link can lead."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # removed, a loop of links, or an invalid path
            path = Path(video.path).with_name(name).resolve(strict=True)
            if path.is_file() and path.is_relative_to(self.root.resolve()):
                return path
        return None

    def _folder(self, record: JobRecord) -> Path:
        """Return the job's folder; an earlier job with the same id keeps its folder."""
        plain = self.root / record.job_id
        with contextlib.suppress(OSError, ValueError, KeyError):
            if decode((plain / METADATA).read_bytes())["nonce"] != record.nonce:
                return self.root / f"{record.job_id}~{record.nonce}"
        return plain

    def _appear(self, staging: Path, final: Path) -> Video:
        try:
            with self._renaming():
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
            metadata = decode((folder / METADATA).read_bytes())
            if (folder / VIDEO).stat().st_size != metadata["size"]:
                raise ValueError("the size of the video differs from its metadata")
            return video_of(metadata, str(folder / VIDEO))
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise OutputError(
                f"the folder {folder} exists but contains no finished video",
                next_step="move it away, then retry the job",
            ) from error

    @contextlib.contextmanager
    def _renaming(self) -> Iterator[None]:
        """Name the file system if it refuses to rename a folder, by which a video appears."""
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_RENAME:
                raise
            raise OutputError(
                f"videos cannot be published to {self.root}: its file system does not rename a folder with files, as "
                f"Cloud Storage FUSE without rename-dir-limit ({error.strerror})",
                next_step="write to the bucket directly, without a mount: set TENXSOM_OUTPUT_DIR=gs://BUCKET",
            ) from error

    @contextlib.contextmanager
    def _mapped_for_readers(self, video: Video, name: str) -> Iterator[Path]:
        path = self._file(video, name)
        if path is None:
            raise OutputError(f"{name} does not exist next to {video.path}, or is outside {self.root}")
        try:
            yield path
        except OSError as error:
            raise OutputError(f"{path} cannot be read: {error.strerror or error}") from error

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            match error.errno:
                case errno.ENOSPC | errno.EDQUOT:
                    next_step = "free some space"
                case errno.EMFILE:
                    next_step = "raise the limit of open files: ulimit -n"
                case _:
                    next_step = "set TENXSOM_OUTPUT_DIR to a folder you can write to"
            reason = error.strerror or str(error)
            raise OutputError(f"videos cannot be written to {self.root}: {reason}", next_step=next_step) from error
