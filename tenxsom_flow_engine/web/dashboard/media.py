"""`/jobs/JOB/video`, `/thumbnail`, `/captions`, `/metadata`: a job's files, to view or download.

Videos count as streams of the process (see `web.file_streaming`); the other files are small. Only files inside the
output folder are served, whatever a record contains.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.output.captions import webvtt
from tenxsom_flow_engine.web.dashboard.download_names import attachment
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


def add_media(blueprint: Blueprint, reports: ReportCache) -> None:
    """Add the routes, each under the name of its kind."""
    streams = threading.BoundedSemaphore(STREAMS)

    def file(name: str, job_id: str) -> AnyResponse:
        record, kind = reports.engine.store.require(job_id), KINDS[name]
        path = _find(reports, record, kind.file)
        try:
            answer = send(request, path, kind.mimetype, max_age=kind.max_age,
                          streams=streams if name == "video" else None)  # fmt: skip
        except OSError as error:
            raise _unreadable(record, kind.file, error) from error
        if request.args.get("download"):
            answer.headers["Content-Disposition"] = attachment(record.job.topic, path.suffix, job_id)
        return answer

    for kind in KINDS:
        blueprint.add_url_rule(f"/jobs/<job_id>/{kind}", kind, partial(file, kind))

    @blueprint.get("/jobs/<job_id>/captions.vtt")
    def track(job_id: str) -> Response:
        """Return the captions as WebVTT, the only format that browsers support."""
        record, name = reports.engine.store.require(job_id), KINDS["captions"].file
        path = _find(reports, record, name)
        try:
            srt = path.read_text("utf-8", "replace")
        except OSError as error:
            raise _unreadable(record, name, error) from error
        return Response(webvtt(srt), content_type="text/vtt; charset=utf-8")


def _unreadable(record: JobRecord, name: str, error: OSError) -> NotFound:
    return NotFound(f"{name} of job {record.job_id} cannot be read: {error.strerror}")


def _find(reports: ReportCache, record: JobRecord, name: str) -> Path:
    """Return the path of a job's file. Raises `NotFound` with the reason."""
    if record.result is None:
        raise NotFound(f"Job {record.job_id} has no video: it is {record.status_at(reports.engine.store.now())}.")
    path = reports.engine.output.files(record.result).get(name)
    if path is None:
        missing = f"{name} of job {record.job_id} no longer exists"
        raise NotFound(f"{missing}: it was moved or deleted, or is outside {reports.engine.output.root}.")
    return path
