"""`/jobs/JOB/video`, `/thumbnail`, `/captions`, `/metadata`: a job's files, to look at and to take away.

Videos count among the process's streams (see `web.outgoing`), the other files are small. None is served that does not
lie in the folder of videos, whatever a record says.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.output.metadata import title
from tenxsom_flow_engine.web.file_streaming import STREAMS, send
from tenxsom_flow_engine.web.report_cache import ReportCache


@dataclass(frozen=True, slots=True)
class Kind:
    """One of a job's files."""

    #: Its name in the job's folder.
    file: str
    mimetype: str
    #: Seconds for which a browser may show it again without asking.
    max_age: int


#: By the last part of its address.
KINDS: Mapping[str, Kind] = {
    "video": Kind("video.mp4", "video/mp4", 300),
    "thumbnail": Kind("thumbnail.jpg", "image/jpeg", 3600),
    "captions": Kind("captions.srt", "application/x-subrip", 0),
    "metadata": Kind("metadata.json", "application/json", 0),
}
#: What some file system or shell takes for something else than a letter of a name.
_UNFIT = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')
_SRT_TIME = re.compile(r"(\d\d:\d\d:\d\d),(\d\d\d)")


def add_media(blueprint: Blueprint, reports: ReportCache) -> None:
    """Add the routes, each under the name of its kind."""
    streams = threading.BoundedSemaphore(STREAMS)

    def file(kind: str, job_id: str) -> AnyResponse:
        record, told = reports.engine.store.require(job_id), KINDS[kind]
        path = _find(reports, record, told.file)
        try:
            answer = send(request, path, told.mimetype, max_age=told.max_age,
                          streams=streams if kind == "video" else None)  # fmt: skip
        except OSError as error:
            raise _unreadable(record, told.file, error) from error
        if request.args.get("download"):
            name = " ".join(_UNFIT.sub(" ", title(record.job.topic)).split()).strip(".") or job_id
            answer.headers.set("Content-Disposition", "attachment", filename=name + path.suffix)
        return answer

    for kind in KINDS:
        blueprint.add_url_rule(f"/jobs/<job_id>/{kind}", kind, partial(file, kind))

    @blueprint.get("/jobs/<job_id>/captions.vtt")
    def track(job_id: str) -> Response:
        """Give the captions in the one form that browsers know, WebVTT: it differs in its head and its commas."""
        record, name = reports.engine.store.require(job_id), KINDS["captions"].file
        path = _find(reports, record, name)
        try:
            srt = path.read_text("utf-8", "replace")
        except OSError as error:
            raise _unreadable(record, name, error) from error
        return Response("WEBVTT\n\n" + _SRT_TIME.sub(r"\1.\2", srt), content_type="text/vtt; charset=utf-8")


def _unreadable(record: JobRecord, name: str, error: OSError) -> NotFound:
    return NotFound(f"{name} of job {record.job_id} cannot be read: {error.strerror}")


def _find(reports: ReportCache, record: JobRecord, name: str) -> Path:
    """Return where a file of a job is. Raises `NotFound` saying why it is nowhere."""
    if record.result is None:
        raise NotFound(f"Job {record.job_id} has no video: it is {record.status_at(reports.engine.store.now())}.")
    path = reports.engine.output.files(record.result).get(name)
    if path is None:
        where = f"{name} of job {record.job_id} is not there any more"
        raise NotFound(f"{where}: it was moved or deleted, or lies outside of {reports.engine.output.root}.")
    return path
