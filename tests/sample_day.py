"""A channel's day: what an installation that makes some hundred videos a day holds in the afternoon.

It is lived through rather than written down: jobs are added as the commands add them, and every step is taken by the
engine, with the real services, against vendors on sockets of this machine, in time that is moved by hand. So whoever
looks at its records (pages, pictures, measurements) sees what an operator would see, the vendors' refusals with it.
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

from tenxsom_flow_engine.composition import CLOUD_TASKS, make_services, open_engine, open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, VideoJob, slug
from tenxsom_flow_engine.planning.rotation import builtin_topics
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.queues.pull import PullQueue
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

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
#: Who takes the steps.
WORKER = "studio-1-4127-9f2c1e"
#: The hours before its end in which PixVerse has no credits, and since when HeyGen is paused by hand.
BROKE = (10.0, 8.5)
PAUSED, WHY_PAUSED = 0.6, "the bill is being looked at"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: how many minutes lie between two of its videos, and what its jobs wish."""

    name: str
    every: float
    wishes: Sequence[Mapping[str, Any]]


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

#: Jobs that somebody adds by hand, by the hours before the day's end; each of them goes wrong in a way of its own.
BY_HAND: Mapping[float, Mapping[str, Any]] = {
    19.4: {"topic": "What the forbidden city's walls were built for", "service": "ltx_studio", "duration": 6},
    15.2: {"topic": "Meet our new presenter", "service": "heygen", "duration": 5, "channel": "founders-daily",
           "options": {"heygen": {"script": "Good morning, and welcome!", "avatar_id": "look_of_last_year"}}},
    11.3: {"topic": "Ten wars in ten seconds", "service": "pixverse", "channel": "curious-minds"},
    6.7: {"topic": "The longest night of the Baltic fleet, as told by those who were there and by those who waited",
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
    """What a vendor hands out where there is a film for an order's topic, instead of the tiny video of its fake."""

    def __init__(self, url: Callable[[], str], film_of: Callable[[str], bytes | None]) -> None:
        super().__init__(url)
        self._film_of = film_of

    def put(self, name: str, content: bytes) -> None:
        super().put(name, self._film_of(name) or content)


@dataclass
class Vendors:
    """The three paid services, and what goes wrong with them."""

    clock: ManualClock
    #: What is delivered for a topic at an instant instead of a tiny video, if anything.
    film: Callable[[str, float], bytes | None] = lambda topic, at: None
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    #: How many looks at a video find it unfinished, at least.
    slowness: int = 2
    #: The topics that were ordered.
    topics: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.useapi = useapi.FakeUseApi(most=5)
        self.useapi.balance = 6_000.0
        self.ltx = ltx.FakeLtx(self.clock.now)
        # Room for those that are held here: the fake takes them for unfinished until somebody looks at them.
        self.ltx.most = 4
        self.heygen = heygen.FakeHeyGen(self.clock.now)
        self.all: tuple[FakeServer, ...] = (self.useapi, self.ltx, self.heygen)
        for server in (self.useapi, self.ltx, self.heygen):
            server.files = Films(partial(getattr, server, "url"), partial(self._film_of, server))
        for server in self.all:
            server.on_moment = partial(self._moment, server)

    def settings(self) -> dict[str, str]:
        """Return the environment of an engine that buys here."""
        return {
            "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true",
            "USEAPI_TOKEN": useapi.TOKEN, "USEAPI_BASE_URL": self.useapi.url, "USEAPI_PIXVERSE_SLOTS": "5",
            "LTX_API_KEY": ltx.KEY, "LTX_BASE_URL": self.ltx.url,
            "HEYGEN_API_KEY": heygen.KEY, "HEYGEN_BASE_URL": self.heygen.url,
        }  # fmt: skip

    def _film_of(self, server: useapi.FakeUseApi | ltx.FakeLtx | heygen.FakeHeyGen, name: str) -> bytes | None:
        """Return the film of what a vendor sold under a name that holds the number of the sale."""
        number = re.search(r"\d+", name)
        assert number
        order = str(server.sold[int(number[0]) - 1].order)
        topic = next((topic for topic in self.topics if topic in order), None)
        return self.film(topic, self.clock.now()) if topic else None

    def _moment(self, server: FakeServer, route: str, at: At, request: Request) -> None:
        """Decide, before a create is answered, how what it orders will go."""
        if at is not At.READ or not route.startswith("create"):
            return
        order, looks = str(request.json()), self.slowness + self.draw.randrange(4)
        self.useapi.life = (*["GENERATING"] * looks, "MODERATED" if _MODERATED in order else "COMPLETED")
        self.ltx.life = (*["processing"] * looks, "failed:api_error" if _BROKEN in order else "completed")
        asks = _ASKED in order
        self.heygen.agent_life = ("thinking", "waiting_for_input") if asks else ("thinking", "completed")
        self.heygen.life = (*["processing"] * looks, "completed")


@dataclass
class ChannelDay:
    """The day of an engine, from `hours` before the instant `ends` to it."""

    engine: Engine
    clock: ManualClock
    vendors: Vendors
    ends: float
    hours: float = 24.0

    def live(self) -> None:
        """Let it all happen."""
        began = self.clock.now()
        topics = cycle(builtin_topics())
        self._mishaps = self._planned_mishaps()
        chunk = 6 * HOUR
        while (now := self.clock.now()) < self.ends:
            until = min(now + chunk, self.ends)
            # The last plan reaches to where the next one would begin.
            self._plan(now, now + chunk if until < self.ends else self.ends + chunk, topics)
            self._go_on(until)
        assert self.clock.now() - began <= self.hours * HOUR + 1
        self._finish()

    def _plan(self, start: float, end: float, topics: Iterator[str]) -> None:
        """Add the videos of all channels that are due within some time, as a scheduler does."""
        for channel in CHANNELS:
            step = channel.every * MINUTE
            wishes = cycle(channel.wishes)
            for number in range(int(-(-start // step)), int(-(-end // step))):
                wish = dict(next(wishes))
                self._add(number * step, next(topics), channel=channel.name, **wish)

    def _add(self, due: float | None, topic: str, **wish: Any) -> str:
        self.vendors.topics.append(topic)
        job_id = f"{slug(topic)}-{self.vendors.draw.randbytes(5).hex()}"
        job = VideoJob(job_id=job_id, topic=topic, created_at=self.clock.now(), **wish)
        self.engine.queue.enqueue([self.engine.prepare(job, due).new])
        return job_id

    def _planned_mishaps(self) -> list[tuple[float, Callable[[], object]]]:
        """Return what happens beside the plan, and when, the earliest last."""
        by_hand: list[tuple[float, Callable[[], object]]] = [
            (hours, partial(self._add, None, **wish)) for hours, wish in BY_HAND.items()
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

    def _go_on(self, until: float) -> None:
        """Let time jump from one thing to do to the next."""
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
        """Leave a step in hand, and tell the store that the queue backend knows of what waits, as it would by now."""
        in_hand = self._add(None, "How a compass finds north", service="pixverse", channel="curious-minds")
        queue = self.engine.queue
        assert isinstance(queue, PullsJobs)
        queue.claim(WORKER, 1, self.engine.slots, only=in_hand)
        waiting = [record for record in self.records() if record.undispatched]
        self.engine.store.mark_dispatched({record.job_id: record.seq for record in waiting})

    def records(self) -> Iterator[JobRecord]:
        """Return all records, the newest first."""
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
    """Live through a day that ends at an instant; the vendors stay open for as long as the context does.

    `environment` names the home and the store (`REDIS_URL`: on that server). `film` may return what the vendors deliver
    for a topic at an instant; otherwise it is a video of some kilobytes. Returns the day with its closed engine, and
    the environment that goes on with it.
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
    """Open an engine on the store of the settings whose steps are claimed here, whatever queue backend brings them later."""
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
    """Return what stands for the built-in renderer, which would take real seconds."""
    service = ScriptedService(clock, name="draft", max_in_flight=2, auto_selectable=False, price=Cost(usd=0.0))
    service.video = tiny_video("9:16", 5)

    def called(call: str) -> None:
        if call == "created":
            service.checks.extend([Progress(0.4, 2.0), Progress(0.9, 1.5)])

    service.on_call = called
    return service
