"""`/videos/JOB`: a video for who has a signed link to it, as messages about events contain."""

from __future__ import annotations

from flask import Blueprint, request
from werkzeug.exceptions import Forbidden, NotFound
from werkzeug.wrappers import Response

from tenxsom_flow_engine.events.links import is_signed
from tenxsom_flow_engine.web.job_files import JobFiles
from tenxsom_flow_engine.web.report_cache import ReportCache


def video_links(reports: ReportCache, files: JobFiles, secret: str) -> Blueprint:
    """Return the route. `secret` signs the links."""
    blueprint = Blueprint("video_links", __name__)

    @blueprint.get("/videos/<job_id>")
    def video(job_id: str) -> Response:
        store = reports.engine.store
        until, signature = request.args.get("until", ""), request.args.get("signature", "")
        if not is_signed(secret, job_id, until, signature, store.now()):
            raise Forbidden("This link is not valid, or not any more.")
        record = store.get(job_id)
        if record is None:
            raise NotFound("The job of this video was removed.")
        return files.send(record, "video", download=False)

    return blueprint
