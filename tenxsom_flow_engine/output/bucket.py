"""Publishes videos to a bucket: all files under unique names, then `metadata.json`, which only one worker creates.

    JOB/video-5f3a9c21b07d.mp4  JOB/thumbnail-5f3a9c21b07d.jpg  JOB/captions-5f3a9c21b07d.srt  JOB/metadata.json

`metadata.json` is the commit mark: it is created only if it is absent, and names the other files. The names contain the
beginning of the video's SHA-256, so an interrupted upload is repeated under the same names, and two workers that got
different files never write to the same one.
"""

from __future__ import annotations

import itertools
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tenxsom_flow_engine.errors import FlowError, OutputAway, OutputError
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.output.address import NO_KEYS, BucketAddress, BucketKeys
from tenxsom_flow_engine.output.base import (
    CAPTIONS,
    FILES,
    LINK_LIFETIME,
    METADATA,
    THUMBNAIL,
    VIDEO,
    Output,
    Publication,
)
from tenxsom_flow_engine.output.completion import Inspect, complete, decode, encode, video_of
from tenxsom_flow_engine.output.inspection import Inspector
from tenxsom_flow_engine.output.objects import PART, Objects
from tenxsom_flow_engine.output.spool import Spool

_log = logging.getLogger(__name__)

#: The object that `check` creates once; a second creation must fail.
PROBE = ".tenxsom-probe"
#: The content types of the files.
TYPES: Mapping[str, str] = {
    VIDEO: "video/mp4", THUMBNAIL: "image/jpeg", CAPTIONS: "application/x-subrip", METADATA: "application/json"
}  # fmt: skip
#: The names of a publication's objects in its folder. Others are not ours, and never removed.
_OWN = re.compile(r"(video-[0-9a-f]{12}\.mp4|thumbnail-[0-9a-f]{12}\.jpg|captions-[0-9a-f]{12}\.srt|metadata\.json)")
#: Signed links that a process remembers, because for some accounts each signature is a request to Google.
REMEMBERED = 1000
#: Videos of the spool that are tried before the bucket counts as away.
MOST_FAILED = 3


class _Uploading(OutputAway):
    """Another thread or process of this machine uploads the video now."""


class OutputBucket(Output):
    """The videos below an address in a bucket, and the spool of this machine in the folder `spool`.

    `part` is the size in bytes of the parts in which large files are uploaded.
    """

    def __init__(
        self,
        address: BucketAddress,
        spool: Path,
        keys: BucketKeys = NO_KEYS,
        inspect: Inspect | None = None,
        part: int = PART,
    ) -> None:
        self.place = str(address)
        self.link_origin = address.origin(keys.region)
        self._objects = Objects(address, keys, part)
        self._spool = Spool(spool)
        self._inspect = inspect or Inspector().inspect
        self._links: dict[tuple[str, str, float], tuple[str, float]] = {}
        self._links_lock = threading.Lock()

    def check(self) -> None:
        """Raise `OutputError` unless the spool can be written, and the bucket creates an object at most once."""
        self._spool.check()
        if self._objects.create(PROBE, b"") and self._objects.create(PROBE, b""):
            raise OutputError(
                f"the bucket {self.place} overwrites an object that must only be created, so two workers could publish "
                "a video twice",
                next_step="use a server that supports the header If-None-Match: *",
            )

    def check_links(self) -> bool:
        self._objects.sign(PROBE, LINK_LIFETIME)
        return True

    def free_space(self) -> int | None:
        return self._spool.free_space()

    def sweep(self) -> None:
        self._spool.sweep()

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        if (video := self.recover(record)) is not None:
            return video
        with self._spool.staging(record) as staging:
            fill(staging)
            complete(staging, record, self._inspect, reported_duration)
            entry = self._spool.keep(staging, record)
        return self._deliver(entry)

    def recover(self, record: JobRecord) -> Video | None:
        entry = self._spool.entry(record)
        if (entry / METADATA).exists():
            return self._deliver(entry)
        try:
            return self._published(record.job_id, record.nonce)
        except OutputError:  # the video is fetched into the spool now, because its vendor does not keep it
            return None

    def deliver(self) -> int:
        delivered, failures = 0, []
        for entry in self._spool.entries():
            try:
                video = self._deliver(entry)
            except _Uploading:
                continue
            except OutputAway as error:
                failures.append(error)
                if len(failures) == MOST_FAILED:  # it is not the video
                    break
                continue
            delivered += 1
            _log.info("published the spooled video %s", video.path)
        if failures:
            raise failures[0]
        return delivered

    def waiting(self, seconds: float = 0.0) -> int:
        return len(self._spool.entries(seconds))

    def files(self, video: Video) -> Mapping[str, str]:
        found = self._stored_names(video)
        if found is None:
            return {}
        folder, names = found
        existing = {one.key for one in self._objects.list(folder)}
        if f"{folder}/{METADATA}" not in existing:
            return {}
        keys = {name: f"{folder}/{stored}" for name, stored in names.items()}
        return {name: f"{self.place}/{key}" for name, key in keys.items() if key in existing}

    def read(self, video: Video, name: str) -> bytes:
        content = self._objects.read(self._key(video, name))
        if content is None:
            raise OutputError(f"{name} of the video {video.path} does not exist")
        return content

    def download(self, video: Video, name: str, target: Path) -> None:
        self._objects.download(self._key(video, name), target)

    def link(self, video: Video, name: str = VIDEO, lifetime: float = LINK_LIFETIME) -> str | None:
        if self._stored_names(video) is None:
            return None
        wanted = video.path, name, lifetime
        with self._links_lock:
            link, usable_until = self._links.get(wanted, ("", 0.0))
        if time.monotonic() < usable_until:
            return link
        link = self._objects.sign(self._key(video, name), lifetime)
        with self._links_lock:
            if len(self._links) >= REMEMBERED:
                del self._links[next(iter(self._links))]
            self._links[wanted] = link, time.monotonic() + lifetime / 2
        return link

    def publications(self) -> Iterator[Publication]:
        below = (one for one in self._objects.list() if _OWN.fullmatch(one.key.partition("/")[2]))
        for name, group in itertools.groupby(below, lambda one: one.key.partition("/")[0]):
            own = list(group)
            mark = next((one for one in own if one.key == f"{name}/{METADATA}"), None)
            if own == [mark]:  # of another program
                continue
            at = mark.at if mark else max(one.at for one in own)
            yield Publication(name, sum(one.size for one in own), at, complete=mark is not None)

    def remove(self, name: str) -> None:
        self._objects.delete([f"{name}/{METADATA}"])
        own = [one.key for one in self._objects.list(name) if _OWN.fullmatch(one.key.removeprefix(f"{name}/"))]
        self._objects.delete(own)

    def _deliver(self, entry: Path) -> Video:
        """Upload an entry of the spool, unless another worker has published its job. Raises `OutputAway`."""
        with self._spool.locked(entry) as own:
            if not own:
                job_id, _, nonce = entry.name.rpartition(".")
                if not entry.exists() and (published := self._published(job_id, nonce)) is not None:
                    return published
                raise _Uploading(f"another thread of this machine uploads the video in {entry}")
            try:
                video = self._upload(entry)
            except OutputError as error:  # the video is safe, so this is a reason to wait, not to fail
                message = f"the video waits in the spool of {socket.gethostname()}: {error.message}"
                raise OutputAway(message, next_step=error.next_step) from error
            self._spool.remove(entry)
            return video

    def _upload(self, entry: Path) -> Video:
        with self._spool.mapped():
            metadata = decode((entry / METADATA).read_bytes())
        job_id, nonce = metadata["job_id"], metadata["nonce"]
        names = _stored_names(metadata["sha256"])
        attributes = _attributes(metadata)
        for folder in (job_id, f"{job_id}.{nonce}"):
            known = self._metadata(folder)
            if known is None:
                for name, stored in names.items():
                    if name != METADATA:
                        self._objects.upload(f"{folder}/{stored}", entry / name, attributes[name])
                content = encode(metadata | {"files": names})
                if self._objects.create(f"{folder}/{METADATA}", content, attributes[METADATA]):
                    return self._video(folder, metadata)
                known = self._metadata(folder)
                if known is None:
                    raise OutputAway(f"{self.place}/{folder} has just been removed")
                if known["sha256"] != metadata["sha256"]:
                    self._discard(folder, names)
            if known["nonce"] == nonce:
                return self._video(folder, known)
        raise OutputError(f"the folder {job_id}.{nonce} of {self.place} belongs to another job")

    def _discard(self, folder: str, names: Mapping[str, str]) -> None:
        """Delete the files of an upload that another worker's was faster than."""
        try:
            self._objects.delete([f"{folder}/{stored}" for name, stored in names.items() if name != METADATA])
        except FlowError as error:
            _log.warning("a second upload of %s stays in %s: %s", folder, self.place, error)

    def _published(self, job_id: str, nonce: str) -> Video | None:
        for folder in (job_id, f"{job_id}.{nonce}"):
            known = self._metadata(folder)
            if known is None:
                return None
            if known["nonce"] == nonce:
                return self._video(folder, known)
        return None

    def _metadata(self, folder: str) -> dict[str, Any] | None:
        """Return the metadata of a publication; None if there is none."""
        content = self._objects.read(f"{folder}/{METADATA}")
        if content is None:
            return None
        try:
            metadata = decode(content)
            video_of(metadata, metadata["nonce"])
        except (ValueError, KeyError) as error:
            raise OutputError(
                f"{self.place}/{folder}/{METADATA} exists but describes no finished video",
                next_step="move it away, then retry the job",
            ) from error
        return metadata

    def _video(self, folder: str, metadata: dict[str, Any]) -> Video:
        return video_of(metadata, f"{self.place}/{folder}/{_stored_names(metadata['sha256'])[VIDEO]}")

    def _key(self, video: Video, name: str) -> str:
        """Return the key of a file. Raises `OutputError` for a video of another output."""
        found = self._stored_names(video)
        if found is None:
            raise OutputError(f"the video {video.path} is not in {self.place}")
        folder, names = found
        return f"{folder}/{names[name]}"

    def _stored_names(self, video: Video) -> tuple[str, Mapping[str, str]] | None:
        """Return the folder of a video and the names of its files; None if it is not in this bucket."""
        folder, _, file = video.path.removeprefix(f"{self.place}/").partition("/")
        names = _stored_names(video.sha256)
        return (folder, names) if f"{self.place}/{folder}/{names[VIDEO]}" == video.path and file else None


def _stored_names(sha256: str) -> Mapping[str, str]:
    """Return the names of the files in a bucket, by their names in `FILES`."""
    mark = sha256[:12]
    parts = [name.partition(".") for name in FILES[:-1]]
    return {f"{stem}.{kind}": f"{stem}-{mark}.{kind}" for stem, _, kind in parts} | {METADATA: METADATA}


def _attributes(metadata: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """Return the headers with which each file is sent to readers: its type, and a name for those who save it."""
    title = quote(str(metadata.get("title") or metadata["job_id"]), safe="")
    found = {}
    for name, kind in TYPES.items():
        suffix = name.partition(".")[2]
        found[name] = {"Content-Type": kind, "Content-Disposition": f"inline; filename*=UTF-8''{title}.{suffix}"}
    found[VIDEO]["sha256"] = metadata["sha256"]
    return found
