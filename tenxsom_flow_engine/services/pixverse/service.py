"""The PixVerse service: order, poll, look up and fetch videos through UseAPI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from tenxsom_flow_engine.errors import Busy, Uncertain
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import (
    CountsRunning,
    Credits,
    Failed,
    FindsByReference,
    Fit,
    HasCredits,
    Progress,
    Ready,
)
from tenxsom_flow_engine.services.http.client import Post, post
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.service import HttpService
from tenxsom_flow_engine.services.pixverse.config import PixVerseConfig
from tenxsom_flow_engine.services.pixverse.errors import ERRORS
from tenxsom_flow_engine.services.pixverse.models import NAME, cost_of, fit_to
from tenxsom_flow_engine.services.pixverse.order import model_of, options_of, order_of
from tenxsom_flow_engine.services.pixverse.videos import (
    POLL_PACE,
    Account,
    accounts_of,
    carries,
    credits_of,
    objects,
    state_of,
    ticket_of,
)
from tenxsom_flow_engine.timings import Timings

VIDEOS, SCHEDULER, FEATURES = "/pixverse/videos/", "/pixverse/scheduler/available", "/pixverse/features/"
#: Videos in a page of the list, and pages that a lookup reads: the order it looks for is a few minutes old.
PAGE, PAGES = 40, 3


class PixVerseService(HttpService, FindsByReference, HasCredits, CountsRunning):
    """A ticket's account is the email of the linked PixVerse account."""

    name = NAME
    errors = ERRORS
    #: A render takes a few minutes, and about ten in busy hours.
    lifetime = 3600.0
    first_check = POLL_PACE
    lookup_hint = "among the videos of the linked account at app.pixverse.ai, by its prompt and the time of the order"
    #: The scheduler lists running generations only, and it is not documented that finished ones keep their reference.
    find_is_complete = False

    def __init__(self, config: PixVerseConfig, downloader: Downloader, timings: Timings = Timings()) -> None:
        super().__init__(config, downloader, timings, key=config.token)
        self._config = config
        self._busy_floor = timings.busy_floor
        # A call to the scheduler, then the create.
        self.create_timeout = timings.read_call.total + timings.paid_call.total

    def fit(self, job: VideoJob) -> Fit:
        _, model = model_of(options_of(job), self._config.model)
        return fit_to(model, job, self.prompt(job))

    def estimate(self, job: VideoJob) -> Cost | None:
        name, model = model_of(options_of(job), self._config.model)
        prices = self._config.prices if name == self._config.model else {}
        return cost_of(model, job, prices, self._config.usd_per_credit)

    def order(self, job: VideoJob, reference: str) -> Post:
        config = self._config
        body = order_of(job, self.prompt(job), reference, default_model=config.model, email=config.email)
        return post(config.create_path, body)

    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        self._require_free_slot(order["body"].get("email"))
        answer = self._api.post_paid(order)
        ticket = ticket_of(self._api.result(answer, paid=True))
        if ticket is None:
            raise Uncertain(NAME, "the create was accepted, but its answer contains no id")
        return ticket

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        # A new video can be missing everywhere for a moment.
        return self._state(ticket) or Progress(None, POLL_PACE)

    def knows(self, ticket: Ticket) -> bool:
        return self._state(ticket) is not None

    def find(self, reference: str) -> Ticket | None:
        scheduler = self._api.result(self._api.get(SCHEDULER))
        accounts = accounts_of(scheduler)
        # The configured account is read in any case, because it might have been removed from the scheduler since.
        emails = dict.fromkeys([*filter(None, [self._config.email]), *(account.email for account in accounts)])
        candidates = chain(objects(scheduler, "executing"), *(self._list(email) for email in emails or [""]))
        tickets = (ticket_of(item) for item in candidates if carries(item, reference))
        return next((ticket for ticket in tickets if ticket is not None), None)

    def running(self) -> int | None:
        email = self._config.email or None
        counts = [account.running for account in self._accounts() if email in (None, account.email)]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None

    def credits(self) -> Credits:
        emails = [self._config.email] if self._config.email else [account.email for account in self._accounts()]
        balances = [credits_of(self._api.result(self._api.get(FEATURES, {"email": email}))) for email in emails]
        known = [balance for balance in balances if balance is not None]
        return Credits(sum(known) if known else None, note=", ".join(emails))

    def _state(self, ticket: Ticket) -> Progress | Ready | Failed | None:
        """Return the state of a video, or None if UseAPI has no such video."""
        # The id is not percent-encoded: UseAPI refuses an encoded one.
        answer = self._api.get(VIDEOS + ticket.id)
        if answer.status == 404:
            # A rendering video cannot always be read by its id, but the list contains it.
            listed = (video for video in self._page(ticket.account, 0) if _same(video, ticket))
            return next((state_of(video) for video in listed), None)
        if answer.status == 410:
            return Failed("UseAPI has deleted the video; it keeps videos for 7 days")
        return state_of(self._api.result(answer))

    def _require_free_slot(self, email: object) -> None:
        """Raise `Busy` if UseAPI has no free slot. Other errors of the query also prevent the create."""
        accounts = [account for account in self._accounts() if email in (None, account.email)]
        if accounts and not any(account.free for account in accounts):
            raise Busy(NAME, "all slots of the PixVerse account are taken", retry_after=self._busy_floor)

    def _accounts(self) -> list[Account]:
        return accounts_of(self._api.result(self._api.get(SCHEDULER)))

    def _list(self, email: str) -> Iterator[Mapping[str, Any]]:
        """Yield an account's latest videos, newest first. Pages are requested lazily."""
        for page in range(PAGES):
            videos = self._page(email, page)
            yield from videos
            if len(videos) < PAGE:
                return

    def _page(self, email: str, page: int) -> list[Mapping[str, Any]]:
        where = {"email": email} if email else {}
        answer = self._api.get(VIDEOS, {**where, "limit": PAGE, "offset": page * PAGE})
        if answer.status == 404:
            return []  # the account is no longer linked
        body = answer.body if answer.good and isinstance(answer.body, list) else self._api.result(answer)
        return list(objects(body, "videos", "data", "result"))


def _same(video: Mapping[str, Any], ticket: Ticket) -> bool:
    return ticket.id in (video.get("video_id"), video.get("id"))
