"""A sample day: the records of an installation that makes about a hundred videos a day, in the afternoon.

The records are simulated rather than written directly: jobs are added as the commands add them, and the engine runs
every step with the real services against fake vendors on local sockets, with a manual clock. So pages, screenshots and
measurements show what an operator would see, including the vendors' errors.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any

from tenxsom_flow_engine.composition import make_services, open_engine, open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, VideoJob, slug
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS
from tenxsom_flow_engine.services.base import Progress
from tenxsom_flow_engine.services.heygen import fake as heygen
from tenxsom_flow_engine.services.http.fake_files import Files
from tenxsom_flow_engine.services.http.fake_server import At, Cut, FakeServer, Reply, Request
from tenxsom_flow_engine.services.ltx_studio import fake as ltx
from tenxsom_flow_engine.services.pixverse import fake as useapi
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.values import DispatchLimits, JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.topics import builtin_topics

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
#: The worker that runs the steps.
WORKER = "studio-1-4127-9f2c1e"
#: Hours before the end: PixVerse has no credits from the first to the second, and HeyGen is paused since `PAUSED`.
BROKE = (10.0, 8.5)
PAUSED, WHY_PAUSED = 0.6, "checking the last bill"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: the minutes between two of its videos, and the settings of its jobs in turn."""

    name: str
    every: float
    settings: Sequence[Mapping[str, Any]]


CHANNELS = (
    Channel("curious-minds", 15, [{"duration": 5}, {"duration": 5}, {"duration": 8, "style": "cinematic"}]),
    Channel("deep-sea", 30, [
        {"service": "pixverse", "duration": 8, "quality": "720p"},
        {"service": "ltx_studio", "duration": 6, "aspect_ratio": "16:9"},
    ]),
    Channel("founders-daily", 60, [
        {"service": "heygen", "duration": 4},
        {"service": "heygen", "duration": 5,
         "options": {"heygen": {"script": "Three founders, one garage and no money at all: this is how they began.",
                                "avatar_id": heygen.AVATAR}}},
    ]),
    Channel("trials", 240, [{"service": "draft", "duration": 5}]),
)  # fmt: skip

#: Jobs added by hand, by the hours before the day's end; most of them fail, each in a different way.
BY_HAND: Mapping[float, Mapping[str, Any]] = {
    19.4: {"topic": "Who built the walls of the forbidden city", "service": "ltx_studio", "duration": 6},
    15.2: {"topic": "Meet our new presenter", "service": "heygen", "duration": 5, "channel": "founders-daily",
           "options": {"heygen": {"script": "Good morning, and welcome!", "avatar_id": "look_of_last_year"}}},
    11.3: {"topic": "Ten wars in ten seconds", "service": "pixverse", "channel": "curious-minds"},
    6.7: {"topic": "The longest night of the Baltic fleet, as seen by those who were there and by those who waited",
          "service": "ltx_studio", "duration": 10},
    3.1: {"topic": "Which of our products should we show?", "service": "heygen", "duration": 4,
          "channel": "founders-daily"},
    1.4: {"topic": "How tides turn a turbine", "service": "ltx_studio", "duration": 8, "channel": "deep-sea"},
    0.9: {"topic": "A lighthouse in a storm, seen from the sea", "service": "ltx_studio", "duration": 6},
    0.05: {"topic": "Why the sea is salt", "service": "pixverse", "channel": "deep-sea"},
    0.01: {"topic": "Why rivers bend", "service": "pixverse", "channel": "deep-sea"},
}  # fmt: skip
_MODERATED, _BROKEN, _ASKED = "Ten wars", "The longest night", "Which of our products"


class Films(Files):
    """The files of a fake vendor, with a film for an order's topic, if there is one, instead of a tiny video."""

    def __init__(self, url: Callable[[], str], film_of: Callable[[str], bytes | None]) -> None:
        super().__init__(url)
        self._film_of = film_of

    def put(self, name: str, content: bytes) -> None:
        super().put(name, self._film_of(name) or content)


@dataclass
class Vendors:
    """The three fake paid services, and their errors."""

    clock: ManualClock
    #: Returns the film for a topic at an instant, or None for a tiny video.
    film: Callable[[str, float], bytes | None] = lambda topic, at: None
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    #: Minimum number of polls that find a video unfinished.
    slowness: int = 2
    #: The topics of all jobs.
    topics: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.useapi = useapi.FakeUseApi(most=5)
        self.useapi.balance = 6_000.0
        self.ltx = ltx.FakeLtx(self.clock.now)
        # Room for held jobs: the fake counts a generation as unfinished until it is polled.
        self.ltx.most = 4
        self.heygen = heygen.FakeHeyGen(self.clock.now)
        self.all: tuple[FakeServer, ...] = (self.useapi, self.ltx, self.heygen)
        for server in (self.useapi, self.ltx, self.heygen):
            server.files = Films(partial(getattr, server, "url"), partial(self._film_of, server))
        for server in self.all:
            server.on_moment = partial(self._moment, server)

    def settings(self) -> dict[str, str]:
        """Return the environment of an engine that uses these vendors."""
        return {
            "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true",
            "USEAPI_TOKEN": useapi.TOKEN, "USEAPI_BASE_URL": self.useapi.url, "USEAPI_PIXVERSE_SLOTS": "5",
            "LTX_API_KEY": ltx.KEY, "LTX_BASE_URL": self.ltx.url,
            "HEYGEN_API_KEY": heygen.KEY, "HEYGEN_BASE_URL": self.heygen.url,
        }  # fmt: skip

    def _film_of(self, server: useapi.FakeUseApi | ltx.FakeLtx | heygen.FakeHeyGen, name: str) -> bytes | None:
        """Return the film for a file of a vendor, whose name contains the number of the sale."""
        number = re.search(r"\d+", name)
        assert number
        order = str(server.sold[int(number[0]) - 1].order)
        topic = next((topic for topic in self.topics if topic in order), None)
        return self.film(topic, self.clock.now()) if topic else None

    def _moment(self, server: FakeServer, route: str, at: At, request: Request) -> None:
        """Decide the course of a generation before its create is answered."""
        if at is not At.READ or not route.startswith("create"):
            return
        order, polls = str(request.json()), self.slowness + self.draw.randrange(4)
        self.useapi.life = (*["GENERATING"] * polls, "MODERATED" if _MODERATED in order else "COMPLETED")
        self.ltx.life = (*["processing"] * polls, "failed:api_error" if _BROKEN in order else "completed")
        asks = _ASKED in order
        self.heygen.agent_life = ("thinking", "waiting_for_input") if asks else ("thinking", "completed")
        self.heygen.life = (*["processing"] * polls, "completed")


@dataclass
class ChannelDay:
    """The simulated day of an engine: the `hours` before the instant `ends`."""

    engine: Engine
    clock: ManualClock
    vendors: Vendors
    ends: float
    hours: float = 24.0

    def live(self) -> None:
        """Simulate the day."""
        began = self.clock.now()
        topics = cycle(builtin_topics())
        self._mishaps = self._planned_mishaps()
        chunk = 6 * HOUR
        while (now := self.clock.now()) < self.ends:
            until = min(now + chunk, self.ends)
            # The last plan covers one chunk after the end as well.
            self._plan(now, now + chunk if until < self.ends else self.ends + chunk, topics)
            self._run_until(until)
        assert self.clock.now() - began <= self.hours * HOUR + 1
        self._finish()

    def _plan(self, start: float, end: float, topics: Iterator[str]) -> None:
        """Add the videos of all channels that are due in a period, as a scheduler does."""
        for channel in CHANNELS:
            step = channel.every * MINUTE
            settings = cycle(channel.settings)
            for number in range(int(-(-start // step)), int(-(-end // step))):
                self._add(number * step, next(topics), channel=channel.name, **next(settings))

    def _add(self, due: float | None, topic: str, **settings: Any) -> str:
        self.vendors.topics.append(topic)
        job_id = f"{slug(topic)}-{self.vendors.draw.randbytes(5).hex()}"
        job = VideoJob(job_id=job_id, topic=topic, created_at=self.clock.now(), **settings)
        self.engine.queue.enqueue([self.engine.prepare(job, due).new])
        return job_id

    def _planned_mishaps(self) -> list[tuple[float, Callable[[], object]]]:
        """Return the unscheduled events with their times, the earliest last."""
        by_hand: list[tuple[float, Callable[[], object]]] = [
            (hours, partial(self._add, None, **settings)) for hours, settings in BY_HAND.items()
        ]
        others: list[tuple[float, Callable[[], object]]] = [
            (21.0, partial(self.vendors.ltx.faults["video"].extend, [Reply(503)] * 3)),
            (BROKE[0], partial(setattr, self.vendors.useapi, "balance", 0.0)),
            (BROKE[1], partial(setattr, self.vendors.useapi, "balance", 9_000.0)),
            (4.5, partial(self.vendors.useapi.faults["create"].append, Reply(429, {"error": "busy"}))),
            (1.41, partial(self.vendors.ltx.faults["create"].append, Cut(At.DONE))),
            (0.91, partial(self.vendors.ltx.faults["create"].append, Cut(At.DONE))),
            (PAUSED, partial(self.engine.limiter.pause, "heygen", WHY_PAUSED)),
            (0.5, partial(self._cancel, Status.SCHEDULED)),
            (0.2, partial(setattr, self.vendors, "slowness", 60)),
        ]
        happens = [(self.ends - hours * HOUR, act) for hours, act in (*by_hand, *others) if hours <= self.hours]
        return sorted(happens, key=lambda pair: -pair[0])

    def _cancel(self, status: Status) -> None:
        for record in self.engine.store.page(JobFilter(statuses=[status]), limit=2).records:
            self.engine.cancel(record.job_id)

    def _run_until(self, until: float) -> None:
        """Run all steps and events up to an instant; the clock jumps from one to the next."""
        queue = self.engine.queue
        assert isinstance(queue, PullsJobs)
        while True:
            while self._mishaps and self._mishaps[-1][0] <= self.clock.now():
                self._mishaps.pop()[1]()
            claim = queue.claim(WORKER, 8, self.engine.slots, auto_services=self.engine.auto_services,
                                closed=self.engine.gate.closed())  # fmt: skip
            for record in claim.records:
                self.engine.step(record)
            if claim.records:
                continue
            following = [at for at in (claim.again_at, self._mishaps[-1][0] if self._mishaps else None) if at]
            at = min(following, default=until)
            if at >= until:
                self.clock.set(until)
                return
            self.clock.set(max(self.clock.now() + 0.001, at))

    def _finish(self) -> None:
        """Leave one job leased, and mark all waiting jobs as dispatched to the queue backend."""
        leased = self._add(None, "How a compass finds north", service="pixverse", channel="curious-minds")
        queue = self.engine.queue
        assert isinstance(queue, PullsJobs)
        queue.claim(WORKER, 1, self.engine.slots, only=leased)
        waiting = [record for record in self.records() if record.undispatched]
        self.engine.store.mark_dispatched({record.job_id: record.seq for record in waiting})

    def records(self) -> Iterator[JobRecord]:
        """Give all records, newest first."""
        cursor = None
        while True:
            page = self.engine.store.page(JobFilter(), limit=500, cursor=cursor)
            yield from page.records
            if (cursor := page.cursor) is None:
                return


@contextmanager
def channel_day(
    environment: Mapping[str, str],
    ends: float,
    *,
    hours: float = 24.0,
    queue: str = CLOUD_TASKS,
    film: Callable[[str, float], bytes | None] = lambda topic, at: None,
) -> Iterator[tuple[ChannelDay, dict[str, str]]]:
    """Simulate a day that ends at an instant; the vendors run until the context ends.

    `environment` names the home and the store (`REDIS_URL`: on that server). `film` can return the video for a topic at
    an instant; by default it is a video of some kilobytes. Gives the day, with its engine closed, and the environment
    for opening the same installation.
    """
    clock = ManualClock(ends - hours * HOUR)
    with ExitStack() as parts:
        vendors = Vendors(clock, film)
        for server in vendors.all:
            parts.enter_context(server)
        settings = {**environment, **vendors.settings(), "TENXSOM_QUEUE_TYPE": queue}
        engine = _engine(load({**settings, "CLOUD_TASKS_MAX_DISPATCHES": "500", "TENXSOM_LEASE_SECONDS": "3600"}),
                         clock, queue)  # fmt: skip
        with engine:
            day = ChannelDay(engine, clock, vendors, ends, hours)
            day.live()
        yield day, settings


def _engine(settings: Settings, clock: ManualClock, queue: str) -> Engine:
    """Open an engine on the store of the settings, with a pull queue in place of the queue backend named `queue`."""
    limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
    kind = "redis" if settings.redis.named else "local"
    store: JobStore
    if settings.redis.named:
        store = RedisStore(settings.redis.address, settings.redis.key, clock)
    else:
        store = open_store(settings, kind, clock)
    services = {**make_services(settings, clock, Timings()), "draft": _draft(clock)}
    pulled = PullQueue(queue, store, limits, settings.lease)
    return open_engine(settings, kind, clock=clock, services=services, store=store, queue=pulled)


def _draft(clock: ManualClock) -> ScriptedService:
    """Return a replacement for the built-in renderer, which would take real seconds."""
    service = ScriptedService(clock, name="draft", max_in_flight=2, auto_selectable=False, price=Cost(usd=0.0))
    service.video = tiny_video("9:16", 5)

    def called(call: str) -> None:
        if call == "created":
            service.checks.extend([Progress(0.4, 2.0), Progress(0.9, 1.5)])

    service.on_call = called
    return service
