"""`/jobs/JOB/video`, `/thumbnail`, `/captions`, `/metadata`: a job's files, to view or download."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, request
from werkzeug.wrappers import Response as AnyResponse

from tenxsom_flow_engine.output.captions import webvtt
from tenxsom_flow_engine.web.job_files import KINDS, JobFiles
from tenxsom_flow_engine.web.report_cache import ReportCache


def add_media(blueprint: Blueprint, reports: ReportCache, files: JobFiles) -> None:
    """Add the routes, each under the name of its kind."""

    def file(name: str, job_id: str) -> AnyResponse:
        return files.send(reports.engine.store.require(job_id), name, download=bool(request.args.get("download")))

    for kind in KINDS:
        blueprint.add_url_rule(f"/jobs/<job_id>/{kind}", kind, partial(file, kind))

    @blueprint.get("/jobs/<job_id>/captions.vtt")
    def track(job_id: str) -> Response:
        """Return the captions as WebVTT, the only format that browsers support."""
        srt = files.read(reports.engine.store.require(job_id), KINDS["captions"].file)
        return Response(webvtt(srt.decode("utf-8", "replace")), content_type="text/vtt; charset=utf-8")
