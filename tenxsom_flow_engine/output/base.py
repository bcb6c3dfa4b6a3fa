"""The contract of outputs: where finished videos go. A folder and a bucket implement it.

A job's video appears complete and checked, or not at all, and once, however many workers deliver it. Each publication
has the files of `FILES`. The address of its video is `Video.path`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.jobs import JobRecord, Video

#: The names of a publication's files. The last one is written last.
FILES = ("video.mp4", "thumbnail.jpg", "captions.srt", "metadata.json")
VIDEO, THUMBNAIL, CAPTIONS, METADATA = FILES
#: Seconds for which a signed link is valid, unless the caller names a time. S3 and GCS allow at most seven days.
LINK_LIFETIME = 3600.0


@dataclass(frozen=True, slots=True)
class Publication:
    """The files of one job in an output, as `Output.publications` lists them."""

    #: The name of their folder: the job's id; for a later job of the same id, also `~` (in a bucket `.`) and its nonce.
    name: str
    #: Bytes of all files.
    size: int
    #: When it was published, in seconds since 1970.
    at: float
    #: False for files without `metadata.json`, which a killed worker left behind.
    complete: bool = True

    @property
    def job_id(self) -> str:
        """The id of its job."""
        return re.split("[~.]", self.name, maxsplit=1)[0]


class Output(ABC):
    """A place for finished videos. Thread-safe; several workers, also on several machines, can share it."""

    #: The folder, or the address of the bucket, for messages.
    place: str
    #: Whether `files` gives paths of this machine.
    local: bool = False
    #: Scheme, host and port of links, for browsers that must be permitted to load from them; empty if there are none.
    link_origin: str = ""

    @abstractmethod
    def check(self) -> None:
        """Raise `OutputError` unless videos can be published here, `OutputAway` if only for now."""

    @abstractmethod
    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        """Let `fill` write `video.mp4` (and any other files) into an empty folder, then check, complete and publish it.

        `reported_duration` is the length in seconds that the service reports, if any; the file can then differ more
        from the requested length. If another worker published the same job first, its video stays and this one is
        discarded. Raises `OutputError` if a file cannot be written or the video is incomplete, and any error of `fill`;
        no files remain after such an error. Raises `OutputAway` if the video is complete and waits in the spool.
        """

    @abstractmethod
    def recover(self, record: JobRecord) -> Video | None:
        """Return a job's video if it is published already, or waits in the spool of this machine, which publishes it.

        None: it must be fetched. Raises `OutputError` like `publish`.
        """

    @abstractmethod
    def files(self, video: Video) -> Mapping[str, str]:
        """Return the path or address of each existing file of a published video, by its name in `FILES`.

        Files outside this output are left out: a record can come from another machine, so its path is not trusted.
        Raises `OutputAway`.
        """

    @abstractmethod
    def read(self, video: Video, name: str) -> bytes:
        """Return the content of a small file of a published video. Raises `OutputError`, also if it does not exist."""

    @abstractmethod
    def download(self, video: Video, name: str, target: Path) -> None:
        """Copy a file of a published video to a local path. Raises `OutputError`, also if it does not exist."""

    @abstractmethod
    def publications(self) -> Iterator[Publication]:
        """Give the publications in any order. Raises `OutputError`."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove the publication with this name, at once for readers. Raises `OutputError`."""

    def link(self, video: Video, name: str = VIDEO, lifetime: float = LINK_LIFETIME) -> str | None:
        """Return a link to a file of a published video, for `lifetime` seconds and anyone who has it.

        None if the output is not on the web, or the video is not in it. Raises `OutputError`.
        """
        return None

    def check_links(self) -> bool:
        """Return whether this output has links, after signing one. Raises `OutputError` if that is impossible."""
        return False

    def deliver(self) -> int:
        """Publish the videos that wait in the spool of this machine; return how many. Raises `OutputError`."""
        return 0

    def waiting(self, seconds: float = 0.0) -> int:
        """Return the number of videos that have waited in the spool of this machine for at least some seconds."""
        return 0

    def free_space(self) -> int | None:
        """Return the free bytes of the local file system that videos are written to; None if it cannot be read."""
        return None

    def sweep(self) -> None:
        """Remove what killed workers left behind on this machine."""
        return
