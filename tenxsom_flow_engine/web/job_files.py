"""The files of jobs, for the dashboard and the API: sent with ranges from a folder, or linked to in a bucket.

Videos count as streams of the process (see `web.file_streaming`); the other files are small. Only files of the output
are served, whatever a record contains.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flask import redirect, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.output.base import LINK_LIFETIME
from tenxsom_flow_engine.web.download_names import attachment
from tenxsom_flow_engine.web.file_streaming import STREAMS, send
from tenxsom_flow_engine.web.report_cache import ReportCache

_log = logging.getLogger(__name__)


def existing(engine: Engine, record: JobRecord) -> Mapping[str, str] | None:
    """Return the files of a job as `Output.files` does; None if its bucket cannot be used now."""
    try:
        return engine.output.files(record.result) if record.result else {}
    except OutputError as error:
        _log.warning("the files of job %s cannot be listed: %s", record.job_id, error)
        return None


@dataclass(frozen=True, slots=True)
class Kind:
    """One of a job's files."""

    #: Its name in the job's folder.
    file: str
    mimetype: str
    #: Seconds that a browser can reuse it without a request.
    max_age: int
    #: Whether a browser can be sent to a bucket for it: not for what programs read and check.
    linked: bool = True


#: By the last part of its address.
KINDS: Mapping[str, Kind] = {
    "video": Kind("video.mp4", "video/mp4", 300),
    "thumbnail": Kind("thumbnail.jpg", "image/jpeg", 3600),
    "captions": Kind("captions.srt", "application/x-subrip", 0),
    "metadata": Kind("metadata.json", "application/json", 0, linked=False),
}


class JobFiles:
    """The files of all jobs, with the video streams of one process."""

    def __init__(self, reports: ReportCache) -> None:
        self._reports = reports
        self._streams = threading.BoundedSemaphore(STREAMS)

    def send(self, record: JobRecord, kind: str, *, download: bool) -> Response:
        """Return the response to a request for a file. Raises `NotFound` with the reason, `OutputError`."""
        own = KINDS[kind]
        output, video = self._reports.engine.output, self._video(record)
        if own.linked and (link := output.link(video, own.file)) is not None:
            answer = redirect(link, 302)
            # A link that is reused can be half as old as its lifetime.
            answer.cache_control.private, answer.cache_control.max_age = True, min(own.max_age, int(LINK_LIFETIME / 4))
            return answer
        path = self._path(record, own.file)
        if path is None:
            return Response(self.read(record, own.file), mimetype=own.mimetype)
        streams = self._streams if kind == "video" else None
        try:
            answer = send(request, path, own.mimetype, max_age=own.max_age, streams=streams)
        except OSError as error:
            raise NotFound(f"{own.file} of job {record.job_id} cannot be read: {error.strerror}") from error
        if download:
            answer.headers["Content-Disposition"] = attachment(record.job.topic, path.suffix, record.job_id)
        return answer

    def read(self, record: JobRecord, name: str) -> bytes:
        """Return the content of a small file of a job. Raises `NotFound` with the reason."""
        try:
            return self._reports.engine.output.read(self._video(record), name)
        except OutputError as error:
            raise NotFound(f"{name} of job {record.job_id} cannot be read: {error}") from error

    def _video(self, record: JobRecord) -> Video:
        if record.result is None:
            now = self._reports.engine.store.now()
            raise NotFound(f"Job {record.job_id} has no video: it is {record.status_at(now)}.")
        return record.result

    def _path(self, record: JobRecord, name: str) -> Path | None:
        """Return the path of a file in a folder; None if it is in a bucket. Raises `NotFound` with the reason."""
        output = self._reports.engine.output
        address = output.files(self._video(record)).get(name)
        if address is None:
            missing = f"{name} of job {record.job_id} no longer exists"
            raise NotFound(f"{missing}: it was moved or deleted, or is outside {output.place}.")
        return Path(address) if output.local else None
