"""The report's values. Durations in seconds; instants since 1970 (UTC); a day or an hour is one of UTC."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tenxsom_flow_engine.errors import Action
from tenxsom_flow_engine.jobs import AUTO, Failure, Status
from tenxsom_flow_engine.store.totals import LastError
from tenxsom_flow_engine.store.values import DispatchLimits, StoreAdvice


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs came to an end in some time."""

    succeeded: int = 0
    failed: int = 0

    @property
    def success_rate(self) -> float | None:
        """The share of them that succeeded, from 0 to 1; None where none ended."""
        both = self.succeeded + self.failed
        return self.succeeded / both if both else None


class PurchaseTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What was bought in some time. `credits` are the services' own, so they add up within one service only."""

    videos: int = 0
    usd: float = 0.0
    credits: float = 0.0
    #: Of the videos, those whose price in USD is not known.
    unpriced: int = 0


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """How long videos took from the create to their publication: of so many, by size (see `histogram`)."""

    videos: int = 0
    seconds: float = 0.0
    #: How many fell into each bucket.
    sizes: Mapping[int, float] = {}
    p50: float | None = None
    p95: float | None = None


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of the last 24."""

    #: When it began.
    at: float
    ended: Ended


class JobFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs of the store."""

    by_status: Mapping[Status, int]
    unfinished: int
    #: How long the job that has been due longest has waited; None where none is due.
    oldest_due: float | None
    #: Since midnight, and in the last 24 hours.
    today: Ended
    day: Ended
    #: Jobs that ended since midnight, are in progress, or are scheduled for before the next midnight.
    planned_today: int
    #: Oldest first; the last is the hour that is running.
    hours: tuple[Bar, ...]
    #: Videos in the last 60 minutes, the hour before the running one counted in proportion.
    throughput: float
    bought_today: PurchaseTotals


class QueueFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The queue backend of new jobs."""

    queue_type: str
    #: `RUNNING`, `PAUSED` or `UNKNOWN`.
    state: str
    #: What is in force, and the names of those that were set at run time; None where the queue backend cannot be asked.
    limits: DispatchLimits | None = None
    set_at_run_time: tuple[str, ...] = ()
    #: The names of those that are the queue backend's own: neither the environment's nor set through us.
    set_at_backend: tuple[str, ...] = ()
    #: Why its state is not known, if it is not.
    unknown: Failure | None = None


class WorkerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The workers of all queues that share the store."""

    alive: int
    #: Steps that they take at once, and have taken, all together.
    concurrency: int
    steps: int
    #: Since when the oldest of them works; None without any.
    uptime: float | None
    #: How long ago any worker gave a sign of life; None: not in a day.
    seen: float | None


class WindowFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of a service, or of all together, and how much of it is used."""

    #: The limit and its span, as `10/m`.
    name: str
    used: int
    limit: int
    #: What is left of the limit at the service's present pace.
    limit_at_pace: int
    frees_in: float


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One video service."""

    name: str
    #: `open`, `full`, `closed` (it asked for silence), `stopped` (key, plan or money), or `paused` (by hand).
    state: str = "open"
    #: In words: the service's own, or those of whoever paused it.
    why: str = ""
    #: None: not before a person acts.
    opens_in: float | None = 0.0
    pace: float = 1.0
    windows: tuple[WindowFigures, ...] = ()
    in_flight: int = 0
    #: How many may be in flight; None where the service is not configured here.
    slots: int | None = None
    #: Jobs that ended, and how long they took, in the last 24 hours.
    day: Ended = Ended()
    making: Making = Making()
    bought_today: PurchaseTotals = PurchaseTotals()
    last_error: LastError | None = None
    #: Ever.
    ended: Mapping[str, int] = {}
    made: Making = Making()
    bought: PurchaseTotals = PurchaseTotals()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a person should know, in words: `docs/operations.md` has a section of the code's name that says what to do.

    `text` holds numbers and states only, so that everybody may read it; `detail` is for those who run the engine.
    `actions` are what they can do with it, to the service named in `subject` if there is one.
    """

    code: str
    #: `ok`, `notice` (goes on by itself) or `problem` (a person must act).
    level: str
    text: str
    detail: str = ""
    actions: tuple[Action, ...] = ()
    subject: str = ""

    @property
    def see(self) -> str:
        """Where it says what to do."""
        return f"docs/operations.md#{self.code}"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment."""

    at: float
    jobs: JobFigures
    queue: QueueFigures
    workers: WorkerFigures
    services: tuple[ServiceFigures, ...]
    #: Jobs that left the choice of the service to us and ended before one was chosen.
    unchosen: ServiceFigures = ServiceFigures(name=AUTO)
    #: The limits over all services together.
    overall: tuple[WindowFigures, ...]
    #: What should be known of how safe the records are; and entries of a plain list that could not be read.
    advice: StoreAdvice | None = None
    rejected_count: int = 0
    verdicts: tuple[Verdict, ...] = ()
