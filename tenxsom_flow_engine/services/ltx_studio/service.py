"""The LTX service: order, poll and fetch a video.

Its API has neither idempotency keys nor lists. An unanswered create can be neither repeated nor looked up, so its job
is held for an operator.

Sources: docs.ltx.io (API changelog, migration to v2) and the OpenAPI description of 2026-08-13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenxsom_flow_engine.errors import Uncertain
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import Credits, Failed, Fit, HasCredits, Progress, Ready
from tenxsom_flow_engine.services.http.client import Post, post
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.responses import error_code, error_words, path_id
from tenxsom_flow_engine.services.http.service import HttpService
from tenxsom_flow_engine.services.ltx_studio.config import LtxConfig
from tenxsom_flow_engine.services.ltx_studio.errors import ERRORS, ROWS
from tenxsom_flow_engine.services.ltx_studio.models import NAME
from tenxsom_flow_engine.services.ltx_studio.order import cost_of, fit_to, order_of
from tenxsom_flow_engine.timings import Timings

VIDEOS = "/v2/text-to-video"
#: Seconds between two polls, as the documentation recommends.
POLL_PACE = 5.0
_GONE = Failed(
    "LTX has no such video; it deletes videos 24 hours after their end",
    next_step="check that LTX_API_KEY belongs to the account that ordered it",
)


class LtxStudioService(HttpService, HasCredits):
    """A ticket's id is LTX's id of the video."""

    name = NAME
    errors = ERRORS
    #: A render takes a few minutes.
    lifetime = 3600.0
    first_check = POLL_PACE
    lookup_hint = "at console.ltx.io, by its prompt and the time of the order; LTX does not receive the reference"

    def __init__(self, config: LtxConfig, downloader: Downloader, timings: Timings = Timings()) -> None:
        super().__init__(config, downloader, timings, key=config.key)
        self._config = config

    def fit(self, job: VideoJob) -> Fit:
        return fit_to(job, self._config)

    def estimate(self, job: VideoJob) -> Cost | None:
        return cost_of(job, self._config)

    def order(self, job: VideoJob, reference: str) -> Post:
        return post(VIDEOS, order_of(job, self.prompt(job), self._config))

    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        answer = self._api.post_paid(order)
        video_id = path_id(self._api.result(answer, paid=True).get("id"))
        if video_id is None:
            raise Uncertain(NAME, "the create was accepted, but its answer contains no id")
        return Ticket(video_id)

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        answer = self._api.get(f"{VIDEOS}/{ticket.id}")
        if answer.status == 404:
            return _GONE
        video = self._api.result(answer)
        match video.get("status"):
            case "completed":
                result = video.get("result")
                url = result.get("video_url") if isinstance(result, Mapping) else None
                if isinstance(url, str) and url:
                    return Ready(url)
            case "failed":
                return self._failed(video)
        return Progress(None, POLL_PACE)

    def knows(self, ticket: Ticket) -> bool:
        return self.check(ticket) is not _GONE

    def credits(self) -> Credits:
        """Return no amount, only the place where LTX shows it: the API does not report the balance."""
        return Credits(None, "USD", "see console.ltx.io")

    def _failed(self, video: Mapping[str, Any]) -> Failed:
        """Return the reason of a failed generation, which has the same error types as an HTTP answer."""
        kind, words = error_code(video), self._api.redact(error_words(video))
        row = next((row for row in ROWS if kind and row.code == kind), None)
        detail = f": {words}" if words else ""
        return Failed(f"{row.meaning}{detail}", next_step=row.next_step) if row else Failed(f"it failed{detail}")
