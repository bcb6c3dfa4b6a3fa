"""The report's values. Durations are in seconds, instants in seconds since 1970; days and hours are in UTC."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tenxsom_flow_engine.budgets.forecast import BudgetUse
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.errors import Action
from tenxsom_flow_engine.events import EndpointKind
from tenxsom_flow_engine.jobs import AUTO, Failure, Status
from tenxsom_flow_engine.queues.selection import OtherStore
from tenxsom_flow_engine.store.totals import LastError
from tenxsom_flow_engine.store.values import DispatchLimits, StoreAdvice


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Number of jobs that ended in a period and were not retried since."""

    succeeded: int = 0
    failed: int = 0

    @property
    def success_rate(self) -> float | None:
        """The share of ended jobs that succeeded, from 0 to 1; None if none ended."""
        both = self.succeeded + self.failed
        return self.succeeded / both if both else None


class PurchaseTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Purchases in a period. Each service has its own unit of `credits`, so add them up only within one service."""

    videos: int = 0
    usd: float = 0.0
    credits: float = 0.0
    #: Number of these videos whose price in USD is unknown.
    unpriced: int = 0


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """Durations from create to publication, as a histogram (see `store.histogram`) of `videos` videos."""

    videos: int = 0
    #: Sum of the durations.
    seconds: float = 0.0
    #: Number of videos in each bucket.
    sizes: Mapping[int, float] = {}
    p50: float | None = None
    p95: float | None = None


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of the last 24."""

    #: Start of the hour.
    at: float
    ended: Ended


class JobFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs of the store."""

    by_status: Mapping[Status, int]
    unfinished: int
    #: Waiting time of the job that has been due longest; None if no job is due.
    oldest_due: float | None
    #: Since midnight, and in the last 24 hours.
    today: Ended
    day: Ended
    #: Number of jobs that could not start in time in the last 24 hours, and were not retried since.
    expired: int = 0
    #: Jobs that ended since midnight, are in progress, or are scheduled before the next midnight.
    planned_today: int
    #: Oldest first; the last is the current hour.
    hours: tuple[Bar, ...]
    #: Estimated number of videos in the last 60 minutes: those of the current hour, and a share of the previous hour.
    throughput: float
    bought_today: PurchaseTotals


class QueueFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The queue backend of new jobs."""

    queue_type: str
    #: `RUNNING`, `PAUSED` or `UNKNOWN`.
    state: str
    #: Limits in force, and the names of those that were set at run time; None if the queue backend cannot be reached.
    limits: DispatchLimits | None = None
    set_at_run_time: tuple[str, ...] = ()
    #: Names of the limits that were changed at the queue backend, outside the environment and this engine's commands.
    set_at_backend: tuple[str, ...] = ()
    #: Why the state is unknown; None if it is known.
    unknown: Failure | None = None


class FallbackFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The pull queue that takes jobs while Cloud Tasks cannot be reached."""

    queue_type: str
    unfinished: int
    #: Workers that claim from it now.
    alive: int


class WorkerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The workers of all queues that share the store."""

    alive: int
    #: Steps that all workers together can run concurrently, and the number of steps that they have run.
    concurrency: int
    steps: int
    #: Time since the oldest of the live workers started; None if none is alive.
    uptime: float | None
    #: Time since the last heartbeat of any worker; None if there was none in the last 24 hours.
    seen: float | None
    #: Whether that worker has ended since, as intended.
    ended: bool = False


class WindowFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Use of one window of a service, or of all services together."""

    #: The limit and its span, for example `10/m`.
    name: str
    used: int
    limit: int
    #: The limit at the service's present pace.
    limit_at_pace: int
    frees_in: float


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One video service."""

    name: str
    #: `open`, `full`, `closed` (the service is rate-limiting us), `stopped` (key, plan or credit), or `paused` (by an
    #: operator).
    state: str = "open"
    #: Reason for the state: the service's message, or the text that the operator gave when pausing it.
    why: str = ""
    #: Time until the gate opens; None if it stays shut until an operator acts.
    opens_in: float | None = 0.0
    pace: float = 1.0
    windows: tuple[WindowFigures, ...] = ()
    in_flight: int = 0
    #: Slots that no worker frees: the number of cancelled and failed jobs, and the ids of jobs in doubt, that hold one;
    #: and when the last of them is free at the latest, whatever the service says.
    ended_in_flight: int = 0
    in_doubt: tuple[str, ...] = ()
    unattended_for: float = 0.0
    #: Limit of generations in flight; None if the service is not configured in this process.
    slots: int | None = None
    #: Jobs that ended, and how long they took, in the last 24 hours.
    day: Ended = Ended()
    making: Making = Making()
    bought_today: PurchaseTotals = PurchaseTotals()
    last_error: LastError | None = None
    #: The same if it ended its job, so that it is the latest failure.
    last_failure: LastError | None = None
    #: Since the store was created.
    ended: Mapping[str, int] = {}
    made: Making = Making()
    bought: PurchaseTotals = PurchaseTotals()


class ScheduleFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that is not paused."""

    name: str
    #: Topics that no slot has; None if there is always one.
    topics_left: int | None = None
    #: The number of slots of the next 24 hours that need one of them.
    slots: int = 0
    #: The first slot without a topic, if it is one of these.
    runs_out_at: float | None = None
    #: Why its next slots cannot be planned; empty: they can.
    problem: str = ""


class EndpointFigures(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that gets no messages about events any more."""

    id: str
    kind: EndpointKind
    #: Its address, without secrets.
    url: str
    why: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of the report. The section of `docs/operations.md` named after `code` says what to do about it.

    `text` holds only numbers and states, so it can be public; `detail` is for operators. `actions` are possible
    responses, applied to the service or schedule named in `subject` if there is one.
    """

    code: str
    #: `ok`, `notice` (resolves without help) or `problem` (an operator must act).
    level: str
    text: str
    detail: str = ""
    actions: tuple[Action, ...] = ()
    subject: str = ""

    @property
    def see(self) -> str:
        """The section of the documentation that says what to do."""
        return f"docs/operations.md#{self.code}"


class DiskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A file system of the machine that shows the report."""

    #: Its contents: `videos` or `records`.
    place: str
    #: Free bytes.
    free: int
    #: Days until it is full at the pace of the last 24 hours; None if no videos are added, or old ones are removed.
    days_left: float | None = None


class ChannelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One channel in the present month."""

    name: str
    settings: Channel
    videos: int
    usd: float
    #: Number of these videos whose price in USD is unknown.
    unpriced: int
    #: The expected cost of the whole month at the pace so far; None on its first day.
    forecast_usd: float | None
    ended: Ended
    #: Of the jobs with a latest start, those that bought in time, and those that could not start in time.
    on_time: int
    expired: int
    #: When its next scheduled job is due; None if none is among the next ones of all channels.
    next_due: float | None

    @property
    def on_time_rate(self) -> float | None:
        """The share of jobs with a latest start that bought in time; None if none ended."""
        both = self.on_time + self.expired
        return self.on_time / both if both else None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All figures at one moment."""

    at: float
    jobs: JobFigures
    queue: QueueFigures
    workers: WorkerFigures
    services: tuple[ServiceFigures, ...]
    #: Jobs with the service `auto` that ended before a service was chosen.
    unchosen: ServiceFigures = ServiceFigures(name=AUTO)
    #: The limits over all services together.
    overall: tuple[WindowFigures, ...]
    #: Warning about the durability of the records; and the number of rejected entries of the legacy list.
    advice: StoreAdvice | None = None
    rejected_count: int = 0
    #: The present use of each limit of the budgets.
    budgets: tuple[BudgetUse, ...] = ()
    schedules: tuple[ScheduleFigures, ...] = ()
    disabled_endpoints: tuple[EndpointFigures, ...] = ()
    #: None if none is set.
    fallback: FallbackFigures | None = None
    #: Stores of this home that are not used, and have unfinished jobs.
    other_stores: tuple[OtherStore, ...] = ()
    #: Seconds by which the store's time is ahead of this machine's clock.
    clock_lead: float = 0.0
    #: Without `records` if they are on a server.
    disks: tuple[DiskFigures, ...] = ()
    #: Videos that have waited on this machine for some minutes, because their bucket cannot be used.
    spooled: int = 0
    verdicts: tuple[Verdict, ...] = ()
