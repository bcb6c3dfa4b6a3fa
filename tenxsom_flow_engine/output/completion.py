"""Completes a fetched video in its folder: checks the file, adds thumbnail, captions and metadata, and flushes all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.files import sync
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.output.base import CAPTIONS, METADATA, THUMBNAIL, VIDEO
from tenxsom_flow_engine.output.captions import plain_captions
from tenxsom_flow_engine.output.media import MediaFacts
from tenxsom_flow_engine.output.metadata import metadata_of

#: Reads the properties of a video, and makes the thumbnail if it gets a path; see `Inspector.inspect`.
Inspect = Callable[[Path, Path | None], MediaFacts]

#: The accepted range of a video's length, as factors of the ordered length.
MIN_LENGTH_FACTOR, MAX_LENGTH_FACTOR = 0.4, 2.5


def complete(folder: Path, record: JobRecord, inspect: Inspect, reported_duration: float | None) -> None:
    """Complete the files in a folder. Raises `OutputError` if the video is missing, incomplete or another one."""
    file = folder / VIDEO
    if not file.exists():
        raise OutputError(f"{record.service} delivered no video file")
    thumbnail = folder / THUMBNAIL
    facts = inspect(file, None if thumbnail.exists() else thumbnail)
    _check_length(facts.duration, record, reported_duration)
    if not (folder / CAPTIONS).exists():
        (folder / CAPTIONS).write_text(plain_captions(record.job.topic, facts.duration), "utf-8")
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    video = Video(VIDEO, facts.duration, facts.width, facts.height, file.stat().st_size, sha256)
    (folder / METADATA).write_bytes(encode(metadata_of(record, video) | {"nonce": record.nonce}))
    for path in folder.iterdir():
        sync(path)
    sync(folder)


def encode(metadata: dict[str, Any]) -> bytes:
    """Return the content of `metadata.json`."""
    return (json.dumps(metadata, ensure_ascii=False, indent=2) + "\n").encode()


def decode(content: bytes) -> dict[str, Any]:
    """Return the metadata in the content of `metadata.json`. Raises `ValueError`."""
    metadata = json.loads(content)
    if not isinstance(metadata, dict):
        raise ValueError("metadata.json is no object")
    return metadata


def video_of(metadata: dict[str, Any], path: str) -> Video:
    """Return the video that metadata describe. Raises `KeyError`."""
    return Video(path, *(metadata[name] for name in ("duration", "width", "height", "size", "sha256")))


def _check_length(duration: float, record: JobRecord, reported_duration: float | None) -> None:
    """Raise `OutputError` if a length in seconds is far from all expected ones: it must be the wrong video.

    The bounds are wide, because services use the nearest length that they support, and some only approximate it.
    """
    ordered = record.job.duration
    expected = (ordered, *([reported_duration] if reported_duration else []))
    if not any(length * MIN_LENGTH_FACTOR <= duration <= length * MAX_LENGTH_FACTOR + 1.0 for length in expected):
        raise OutputError(f"{record.service} delivered {duration:.1f} s of video instead of the ordered {ordered} s")
