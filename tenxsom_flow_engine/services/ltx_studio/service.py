"""LTX of Lightricks (v2): a vendor's own interface without idempotency keys and lists.

A create that was sent and not answered can neither be repeated nor found, so its job is held for a person.

Sources: docs.ltx.io (API changelog, migration to v2, prices of 2026-08-24) and the OpenAPI description of 2026-08-13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from tenxsom_flow_engine.errors import Busy, InvalidInput, Misconfigured, OutOfCredit, Rejected, Transient, Uncertain
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import Credits, Failed, Fit, HasCredits, Progress, Ready
from tenxsom_flow_engine.services.fitting import (
    fitted,
    nearest_duration,
    nearest_quality,
    nearest_ratio,
    read_options,
)
from tenxsom_flow_engine.services.http.client import ORDERING, Post, Timeouts, post
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.responses import ErrorRow, error_code, error_words, path_id
from tenxsom_flow_engine.services.http.service import HttpService
from tenxsom_flow_engine.services.setups import LtxSetup

NAME = "ltx_studio"
VIDEOS = "/v2/text-to-video"
#: Seconds between two polls, as the documents advise.
POLL_PACE = 5.0

#: Pixels of a wide picture by quality; the first is the default.
RESOLUTIONS: Mapping[str, tuple[int, int]] = {
    "720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440), "4k": (3840, 2160),
}  # fmt: skip
RATIOS = ("9:16", "16:9")
#: Frames in a second; the first is the default.
RATES = (24, 25, 48, 50)
#: Seconds; the long ones up to 1080p at up to 25 frames in a second.
LONG, SHORT = range(6, 21, 2), (6, 8, 10)


@dataclass(frozen=True, slots=True)
class Model:
    """What a model allows, and its USD for a second by quality."""

    #: Whether it makes the long durations too.
    long: bool
    usd: Mapping[str, float] = field(default_factory=dict)

    def durations(self, quality: str, rate: int) -> Sequence[int]:
        """Return the seconds that it makes at a quality and a frame rate."""
        return LONG if self.long and quality in ("720p", "1080p") and rate <= 25 else SHORT


def _prices(*usd: float) -> Mapping[str, float]:
    return dict(zip(RESOLUTIONS, usd, strict=True))


MODELS: Mapping[str, Model] = {
    "ltx-2-5-fast": Model(long=True, usd=_prices(0.09, 0.13, 0.19, 0.30)),
    "ltx-2-5-pro": Model(long=False, usd=_prices(0.12, 0.17, 0.25, 0.39)),
    "ltx-2-3-fast": Model(long=True, usd=_prices(0.03, 0.06, 0.12, 0.24)),
    "ltx-2-3-pro": Model(long=False, usd=_prices(0.04, 0.08, 0.16, 0.32)),
}
#: A model that is younger than this table counts as one that makes the long durations, at a price nobody knows.
UNKNOWN = Model(long=True)

_TOP_UP = "buy credits at console.ltx.io"
#: What each documented type of error means, with the status of its HTTP answer.
ROWS = (
    ErrorRow(400, Rejected, "LTX does not take these values", "change the job's values", "invalid_request_error"),
    ErrorRow(401, Misconfigured, "LTX refuses the key", "set LTX_API_KEY to one from console.ltx.io",
             "authentication_error"),
    ErrorRow(402, OutOfCredit, "the LTX account has no money left", _TOP_UP, "insufficient_funds_error"),
    ErrorRow(404, Misconfigured, "LTX knows no such address", "see LTX_BASE_URL", "not_found_error"),
    ErrorRow(413, Rejected, "the order is too large for LTX", "shorten the prompt", "request_too_large"),
    ErrorRow(422, Rejected, "LTX does not allow the prompt", "change the prompt", "content_filtered_error"),
    ErrorRow(429, Busy, "LTX takes no more requests for now", code="rate_limit_error"),
    ErrorRow(429, Busy, "LTX renders as many videos of the account as it may", code="concurrency_limit_error"),
    ErrorRow(500, Transient, "LTX is broken", code="api_error"),
    ErrorRow(503, Transient, "LTX is down", code="service_unavailable"),
    ErrorRow(504, Transient, "LTX gave up waiting for itself"),
    ErrorRow(529, Busy, "LTX is overloaded", code="overloaded_error"),
)  # fmt: skip
#: The type decides among refusals, whatever their status; an answer without a known one is judged by its status.
ERRORS = (
    *(replace(row, status=0) for row in ROWS if row.code and not issubclass(row.error, Transient)),
    *(replace(row, code="") for row in ROWS),
)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job may set under `options["ltx_studio"]`, by LTX's own names."""

    model: str = ""
    fps: int = RATES[0]
    generate_audio: bool | None = None
    camera_motion: (
        Literal["dolly_in", "dolly_out", "dolly_left", "dolly_right", "jib_up", "jib_down", "static", "focus_shift"]
        | None
    ) = None


class LtxStudioService(HttpService, HasCredits):
    """See the module."""

    name = NAME
    errors = ERRORS
    #: A render takes some minutes; LTX shows it for a day after its end, but nobody waits so long for one.
    lifetime = 3600.0
    lookup_hint = "at console.ltx.io, by its prompt and the time of the order: LTX is not told the reference"

    def __init__(self, setup: LtxSetup, downloader: Downloader, *, ordering: Timeouts = ORDERING) -> None:
        super().__init__(setup, downloader, key=setup.key, ordering=ordering)
        self._setup = setup

    def fit(self, job: VideoJob) -> Fit:
        options, _, model = self._wishes(job)
        quality = nearest_quality(NAME, job.quality or next(iter(RESOLUTIONS)), tuple(RESOLUTIONS))
        rate = _nearest_rate(options.fps)
        duration = nearest_duration(NAME, job.duration, model.durations(quality, rate))
        ratio = nearest_ratio(NAME, job.aspect_ratio, RATIOS)
        fit = fitted(NAME, job, duration=duration, aspect_ratio=ratio, quality=quality)
        if rate == options.fps:
            return fit
        note = f"fps {rate} instead of {options.fps}, which {NAME} does not make"
        changed = job.options | {NAME: job.options[NAME] | {"fps": rate}}
        return Fit(msgspec.structs.replace(fit.job, options=changed), (*fit.notes, note))

    def estimate(self, job: VideoJob) -> Cost | None:
        _, name, model = self._wishes(job)
        usd = (self._setup.prices if name == self._setup.model else {}) or model.usd
        price = usd.get(job.quality)
        return Cost(usd=round(price * job.duration, 4)) if price is not None else None

    def order(self, job: VideoJob, reference: str) -> Post:
        return post(VIDEOS, self._body(job))

    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        answer = self._api.post_paid(order)
        video_id = path_id(self._api.result(answer, paid=True).get("id"))
        if video_id is None:
            raise Uncertain(NAME, "the create was accepted, but its answer names no video")
        return Ticket(video_id)

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        answer = self._api.get(f"{VIDEOS}/{ticket.id}")
        if answer.status == 404:
            return Failed(
                "LTX does not know the video, or not any more: it shows one for 24 hours after its end",
                next_step="see that LTX_API_KEY is of the account that ordered it",
            )
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

    def credits(self) -> Credits:
        """Say where it can be seen: LTX tells it to people only."""
        return Credits(None, "USD", "see console.ltx.io")

    def _body(self, job: VideoJob) -> dict[str, Any]:
        options, name, _ = self._wishes(job)
        across, down = map(int, job.aspect_ratio.split(":"))
        width, height = RESOLUTIONS[job.quality]
        body: dict[str, Any] = {
            "prompt": self.prompt(job),
            "model": name,
            "duration": job.duration,
            "resolution": f"{width}x{height}" if across > down else f"{height}x{width}",
            "fps": options.fps,
        }
        wishes = {"generate_audio": options.generate_audio, "camera_motion": options.camera_motion}
        return body | {name: wish for name, wish in wishes.items() if wish is not None}

    def _failed(self, video: Mapping[str, Any]) -> Failed:
        """Say why a generation failed: by the same types of error as an HTTP answer."""
        kind, words = error_code(video), self._api.redact(error_words(video))
        row = next((row for row in ROWS if kind and row.code == kind), None)
        said = f": {words}" if words else ""
        return Failed(f"{row.meaning}{said}", next_step=row.next_step) if row else Failed(f"it failed{said}")

    def _wishes(self, job: VideoJob) -> tuple[Options, str, Model]:
        """Return a job's options and its model, by name. The default model may be younger than our table."""
        options = read_options(NAME, job, Options)
        name = options.model or self._setup.model
        model = MODELS.get(name)
        if model is None and name != self._setup.model:
            raise InvalidInput(
                f"options.{NAME}.model", f"there is no model {name!r}", next_step=f"use one of: {', '.join(MODELS)}"
            )
        return options, name, model or UNKNOWN


def _nearest_rate(asked: int) -> int:
    """Return the frame rate that is nearest to the asked one, of two the higher, if it is near."""
    best = min(RATES, key=lambda rate: (abs(rate - asked), -rate))
    if abs(best - asked) > best / 4:
        raise InvalidInput(f"options.{NAME}.fps", f"{NAME} makes {', '.join(map(str, RATES))}, not {asked}")
    return best
