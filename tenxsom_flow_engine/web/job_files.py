"""The files of jobs, for the dashboard and the API: found in the output folder and sent with ranges.

Videos count as streams of the process (see `web.file_streaming`); the other files are small. Only files inside the
output folder are served, whatever a record contains.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flask import request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.web.download_names import attachment
from tenxsom_flow_engine.web.file_streaming import STREAMS, send
from tenxsom_flow_engine.web.report_cache import ReportCache


@dataclass(frozen=True, slots=True)
class Kind:
    """One of a job's files."""

    #: Its name in the job's folder.
    file: str
    mimetype: str
    #: Seconds that a browser can reuse it without a request.
    max_age: int


#: By the last part of its address.
KINDS: Mapping[str, Kind] = {
    "video": Kind("video.mp4", "video/mp4", 300),
    "thumbnail": Kind("thumbnail.jpg", "image/jpeg", 3600),
    "captions": Kind("captions.srt", "application/x-subrip", 0),
    "metadata": Kind("metadata.json", "application/json", 0),
}


class JobFiles:
    """The files of all jobs, with the video streams of one process."""

    def __init__(self, reports: ReportCache) -> None:
        self._reports = reports
        self._streams = threading.BoundedSemaphore(STREAMS)

    def send(self, record: JobRecord, kind: str, *, download: bool) -> Response:
        """Return the response to a request for a file. Raises `NotFound` with the reason."""
        own = KINDS[kind]
        path = self.find(record, own.file)
        streams = self._streams if kind == "video" else None
        try:
            answer = send(request, path, own.mimetype, max_age=own.max_age, streams=streams)
        except OSError as error:
            raise unreadable(record, own.file, error) from error
        if download:
            answer.headers["Content-Disposition"] = attachment(record.job.topic, path.suffix, record.job_id)
        return answer

    def find(self, record: JobRecord, name: str) -> Path:
        """Return the path of a job's file. Raises `NotFound` with the reason."""
        engine = self._reports.engine
        if record.result is None:
            raise NotFound(f"Job {record.job_id} has no video: it is {record.status_at(engine.store.now())}.")
        path = engine.output.files(record.result).get(name)
        if path is None:
            missing = f"{name} of job {record.job_id} no longer exists"
            raise NotFound(f"{missing}: it was moved or deleted, or is outside {engine.output.root}.")
        return path


def unreadable(record: JobRecord, name: str, error: OSError) -> NotFound:
    """Return the error for a file that cannot be read."""
    return NotFound(f"{name} of job {record.job_id} cannot be read: {error.strerror}")
