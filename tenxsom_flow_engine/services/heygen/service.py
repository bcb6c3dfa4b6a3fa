"""The HeyGen service: order a video of a script or a topic, poll it, and fetch it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import Rejected, Uncertain
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import URL_SAFE_ID, Credits, Failed, Fit, HasCredits, Progress, Ready
from tenxsom_flow_engine.services.heygen.config import HeyGenConfig
from tenxsom_flow_engine.services.heygen.errors import ERRORS
from tenxsom_flow_engine.services.heygen.order import (
    AGENT,
    NAME,
    SCRIPT,
    cost_of,
    endpoint_of,
    fit_to,
    order_of,
    prompt_of,
)
from tenxsom_flow_engine.services.heygen.parsing import (
    PACE,
    agent_state,
    credits_of,
    data_of,
    video_of,
    video_state,
    waits_for_input,
)
from tenxsom_flow_engine.services.http.client import Post, post
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.responses import path_id
from tenxsom_flow_engine.services.http.service import HttpService
from tenxsom_flow_engine.timings import CallTimeouts, Timings

#: Seconds to wait for a create, as HeyGen recommends: a successful one can take half a minute.
CREATE_SECONDS = 120.0
#: Seconds for which a create with the same idempotency key gets the first answer again.
KEY_LASTS = 86400.0
_GONE = Failed("HeyGen has no such video", next_step="check that HEYGEN_API_KEY belongs to the account that ordered it")


def create_timings(timings: Timings) -> Timings:
    """Return timings whose `paid_call` allows `CREATE_SECONDS`, but at most twice the given limits.

    The second limit keeps the short timings of a rehearsal short.
    """
    usual = timings.paid_call
    read, total = min(CREATE_SECONDS, 2 * usual.read), min(CREATE_SECONDS, 2 * usual.total)
    return replace(timings, paid_call=CallTimeouts(usual.connect, read, total))


class HeyGenService(HttpService, HasCredits):
    """A ticket's id is an endpoint and an id: `video-agents/…` or `videos/…`. HeyGen cannot cancel a render."""

    name = NAME
    # A bare id is one that an operator copied from HeyGen's website: of a video or of an agent.
    ticket_form = re.compile(rf"(?:(?:{AGENT}|{SCRIPT})/)?{URL_SAFE_ID.pattern}")
    errors = ERRORS
    uses_scripts = True
    #: An agent takes 20 to 45 minutes.
    lifetime = 7200.0
    first_check = PACE[0][1]
    lookup_hint = (
        "at app.heygen.com, by its title or prompt and the time of the order; the ticket is videos/ID for a script, "
        "video-agents/ID for a topic"
    )

    def __init__(
        self, config: HeyGenConfig, downloader: Downloader, clock: Clock, timings: Timings = Timings()
    ) -> None:
        timings = create_timings(timings)
        super().__init__(config, downloader, timings, key=config.key, headers={"X-Api-Key": config.key})
        self._config = config
        self._clock = clock

    def fit(self, job: VideoJob) -> Fit:
        return fit_to(job, self._config)

    def default_duration(self, job: VideoJob) -> int:
        return self.fit(job).job.duration

    def estimate(self, job: VideoJob) -> Cost | None:
        return cost_of(job, self._config)

    def prompt(self, job: VideoJob) -> str:
        return prompt_of(job, self._config)

    def idempotency_window(self, job: VideoJob) -> float:
        # HeyGen documents idempotency keys for scripts only. The default avatar does not count: it might have been set
        # after a create for the agent was sent, which a create for a presenter would not repeat.
        return KEY_LASTS if endpoint_of(job, replace(self._config, avatar_id="")) == SCRIPT else 0.0

    def order(self, job: VideoJob, reference: str) -> Post:
        return post(f"/v3/{endpoint_of(job, self._config)}", order_of(job, self._config))

    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        endpoint = order["path"].rpartition("/")[2]
        headers = {"Idempotency-Key": reference} if endpoint == SCRIPT else {}
        answer = self._api.post_paid(order, headers)
        data = data_of(self._api.result(answer, paid=True))
        order_id = path_id(data.get("session_id" if endpoint == AGENT else "video_id"))
        if order_id is None:
            raise Uncertain(NAME, "the create was accepted, but its answer contains no id")
        return Ticket(f"{endpoint}/{order_id}")

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        endpoint, separator, order_id = ticket.id.partition("/")
        if endpoint == AGENT:
            return self._check_agent(order_id)
        if separator:
            return self._check_video(order_id) or _GONE
        return self._check_video(ticket.id) or self._check_agent(ticket.id)

    def knows(self, ticket: Ticket) -> bool:
        return self.check(ticket) != _GONE

    def credits(self) -> Credits:
        return credits_of(data_of(self._api.result(self._api.get("/v3/users/me"))))

    def _check_agent(self, session_id: str) -> Progress | Ready | Failed:
        path = f"/v3/{AGENT}/{session_id}"
        session = self._read(path)
        if session is None:
            return _GONE
        if waits_for_input(session):
            self._stop(path)
            return Failed(
                "its video agent stopped with a question",
                next_step="add a new job with a more detailed prompt, or set HEYGEN_AVATAR_ID",
            )
        state = agent_state(session, self._clock.now())
        video_id = video_of(session)
        video = self._check_video(video_id) if video_id and isinstance(state, Progress) else None
        # A new video id can be unknown to the videos endpoint for a while.
        return self._redacted(state) if video is None else video

    def _check_video(self, video_id: str) -> Progress | Ready | Failed | None:
        """Return the state of a video, or None if HeyGen has no such video."""
        video = self._read(f"/v3/{SCRIPT}/{video_id}")
        return None if video is None else self._redacted(video_state(video, self._clock.now()))

    def _read(self, path: str) -> Mapping[str, Any] | None:
        answer = self._api.get(path)
        return None if answer.status == 404 else data_of(self._api.result(answer))

    def _stop(self, path: str) -> None:
        """Stop an agent, so that it frees its slot. Raises `ServiceError`, except `Rejected`."""
        answer = self._api.tell(f"{path}/stop")
        if not answer.good:
            error = self._api.error(answer)
            if not isinstance(error, Rejected):  # a rejection means that it has ended
                raise error

    def _redacted(self, state: Progress | Ready | Failed) -> Progress | Ready | Failed:
        """Return a state without secrets in its message."""
        if isinstance(state, Failed):
            return Failed(self._api.redact(state.message), state.next_step)
        return state
