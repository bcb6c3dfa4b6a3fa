"""The types of requests and answers. Their docstrings and descriptions are part of the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tenxsom_flow_engine.api.problems import Problem, WrongValue
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, MAX_DURATION, STYLES, Status

__all__ = ["Problem", "WrongValue"]

MOST_JOBS = 5000
#: Seconds of the longest wait for a job.
MAX_WAIT = 60.0
MAX_PAGE = 200

Style = Literal["documentary", "cinematic", "explainer", "animation", "retro"]
AspectRatio = Literal["9:16", "16:9", "1:1", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9"]
assert (Style.__args__, AspectRatio.__args__) == (STYLES, ASPECT_RATIOS)  # type: ignore[attr-defined]

Instant = Annotated[datetime, Meta(tz=True, description="A time with a zone: 2026-12-24T18:00:00Z.")]
JobId = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,100}$", description="The id of a job.")]
Channel = Annotated[str, Meta(pattern=r"^[\w.:@-]{0,64}$", description="The channel that the video is for.")]
Priority = Annotated[int, Meta(ge=0, le=9, description="Moves due jobs forward among those of their channel.")]
Duration = Annotated[int, Meta(ge=1, le=MAX_DURATION, description="Seconds.")]


class Body(Struct, forbid_unknown_fields=True, kw_only=True):
    """A body of a request: unknown fields are refused."""


class NewJob(Body):
    """A job to add. All fields but `topic` have the defaults of the command line."""

    topic: Annotated[str, Meta(min_length=1, max_length=500, description="The subject of the video, one line.")]
    job_id: JobId | UnsetType = UNSET
    prompt: Annotated[str, Meta(max_length=10_000, description="Default: made from topic and style.")] | UnsetType = (
        UNSET
    )
    script: (
        Annotated[str, Meta(max_length=10_000, description="The words, which drafts show and HeyGen speaks.")]
        | UnsetType
    ) = UNSET
    style: Style | UnsetType = UNSET
    duration: Duration | UnsetType = UNSET
    aspect_ratio: AspectRatio | UnsetType = UNSET
    service: Annotated[str, Meta(pattern="^[a-z0-9_]{1,40}$", description="A service's name, or auto.")] | UnsetType = (
        UNSET
    )
    quality: Annotated[str, Meta(max_length=40, description="A quality of the service: 720p.")] | UnsetType = UNSET
    channel: Channel | UnsetType = UNSET
    options: Annotated[dict[str, dict[str, Any]], Meta(description="Settings of services, by service.")] | UnsetType = (
        UNSET
    )
    priority: Priority | UnsetType = UNSET
    at: Instant | UnsetType = UNSET
    start_by: Instant | UnsetType = UNSET


class PlanReference(Body):
    """A plan to add."""

    plan: Annotated[str, Meta(pattern="^plan_[0-9a-f]{32}$", description="The token of a plan.")]


class Added(Struct, kw_only=True, frozen=True):
    """The result of adding jobs: they are on disk."""

    #: In the order of the request.
    job_ids: tuple[str, ...]
    added: int
    #: The number of jobs that existed already, and were not changed.
    known: int


class PlannedJob(Struct, kw_only=True, frozen=True):
    """A job of a plan."""

    job_id: str
    topic: str
    channel: str | None
    known: Annotated[bool, Meta(description="Whether a job with this id exists, so that nothing is added.")]
    duplicate_of: Annotated[
        int | None, Meta(description="The index of an earlier job of the plan with the same content.")
    ]
    start: Annotated[Instant | None, Meta(description="null means now.")]
    service: str
    duration: Duration
    prompt: str
    usd: Annotated[float | None, Meta(description="The estimated cost; null if it is unknown.")]
    max_usd: Annotated[float | None, Meta(description="The highest cost, if several services can make the job.")]
    adjustments: Annotated[tuple[str, ...], Meta(description="Changes that make the job fit its service.")]


class Price(Struct, kw_only=True, frozen=True):
    """The cost of the new jobs of a plan in USD."""

    usd: float
    highest_usd: float
    unknown: Annotated[int, Meta(description="The number of jobs without a known price.")]


class Overrun(Struct, kw_only=True, frozen=True):
    """Jobs of a plan that do not fit into a budget, so that they would wait."""

    scope: str
    jobs: int
    detail: str


class Plan(Struct, kw_only=True, frozen=True):
    """A plan: what adding its jobs would do and cost. Nothing has been added."""

    plan: Annotated[str, Meta(description='The token that adds exactly this plan: POST /jobs {"plan": …}.')]
    expires_at: Instant
    jobs: tuple[PlannedJob, ...]
    new: int
    known: int
    duplicates: int
    price: Price
    over_budget: tuple[Overrun, ...]


class Video(Struct, kw_only=True, frozen=True):
    """A finished video."""

    duration: float
    width: int
    height: int
    size: int
    sha256: str


class Cost(Struct, kw_only=True, frozen=True):
    """The cost of a job: estimated until something is bought."""

    usd: float | None
    credits: float | None
    estimated: bool


class JobError(Struct, kw_only=True, frozen=True):
    """Why a job stopped or waits."""

    code: str
    detail: str
    next_step: str | None
    actions: tuple[str, ...]


class Job(Struct, kw_only=True, frozen=True):
    """A job."""

    job_id: str
    status: Status
    topic: str
    channel: str | None
    service: str
    style: str
    duration: int
    aspect_ratio: str
    quality: str | None
    queue: str
    progress: float
    attempts: int
    added_at: Instant
    updated_at: Instant
    due: Instant | None
    start_by: Instant | None
    finished_at: Instant | None
    cost: Cost | None
    video: Video | None
    error: JobError | None
    links: Annotated[dict[str, str], Meta(description="The addresses of the job and of its files.")]


class Submission(Struct, kw_only=True, frozen=True):
    """The latest attempt to buy."""

    state: Literal["none", "intent", "accepted", "unknown"]
    reference: str | None
    ticket: str | None


class Purchase(Struct, kw_only=True, frozen=True):
    """A generation that was bought."""

    reference: str
    service: str
    at: Instant
    usd: float | None
    credits: float | None


class Event(Struct, kw_only=True, frozen=True):
    """A line of a job's timeline."""

    at: Instant
    what: str
    detail: str | None
    times: int


class JobDetails(Job, kw_only=True, frozen=True):
    """A job with its texts, purchases and timeline."""

    prompt: str | None
    script: str | None
    submission: Submission
    purchases: tuple[Purchase, ...]
    events: tuple[Event, ...]


class Jobs(Struct, kw_only=True, frozen=True):
    """A page of jobs, the newest first."""

    jobs: tuple[Job, ...]
    next: Annotated[str | None, Meta(description="The cursor of the next page; null: this is the last one.")]


class JobsQuery(Body):
    """The parameters of a list of jobs."""

    status: Annotated[tuple[Status, ...], Meta(description="One or several, separated by commas.")] = ()
    channel: Channel = ""
    service: Annotated[str, Meta(max_length=40)] = ""
    text: Annotated[str, Meta(max_length=200, description="Part of the topic or id.")] = ""
    since: Instant | None = None
    until: Instant | None = None
    cursor: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class JobQuery(Body):
    """The parameters of one job."""

    wait: Annotated[
        float, Meta(ge=0, le=MAX_WAIT, description="Seconds to wait until the job is finished or held.")
    ] = 0.0


class NoQuery(Body):
    """No parameters."""


class FileQuery(Body):
    """The parameters of a file."""

    download: Annotated[bool, Meta(description="Let a browser save the file under a readable name.")] = False
    #: The parts of a signed link.
    endpoint: Annotated[str, Meta(max_length=40, description="Of a link from a webhook, which needs no key.")] = ""
    until: Annotated[int, Meta(ge=0, le=10**11, description="Of such a link: when it ends.")] = 0
    signature: Annotated[str, Meta(max_length=100, description="Of such a link.")] = ""


class Changes(Body):
    """New values of fields of a job that has bought nothing. Omitted fields stay as they are."""

    topic: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType = UNSET
    prompt: Annotated[str, Meta(max_length=10_000)] | UnsetType = UNSET
    script: Annotated[str, Meta(max_length=10_000)] | UnsetType = UNSET
    style: Style | UnsetType = UNSET
    duration: Duration | UnsetType = UNSET
    aspect_ratio: AspectRatio | UnsetType = UNSET
    service: Annotated[str, Meta(pattern="^[a-z0-9_]{1,40}$")] | UnsetType = UNSET
    quality: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    options: dict[str, dict[str, Any]] | UnsetType = UNSET


class Retry(Changes):
    """A retry, at the present prices if the job is bought again. Fields can be changed only then."""


class Edit(Changes):
    """A change of a job that has bought nothing: its fields, its start, its latest start."""

    at: Instant | UnsetType = UNSET
    start_by: Instant | UnsetType = UNSET


class Resolve(Body):
    """The decision about a held job: exactly one of the four."""

    resubmit: Annotated[bool, Meta(description="Nothing was bought: submit it again.")] = False
    ticket: (
        Annotated[str, Meta(min_length=1, max_length=500, description="It was bought, and this is its ticket.")]
        | UnsetType
    ) = UNSET
    give_up: Annotated[bool, Meta(description="Fail the job; whether it was paid stays unknown.")] = False
    withdraw: Annotated[bool, Meta(description="The ticket that failed before a retry was wrong.")] = False
    account: Annotated[str, Meta(max_length=200, description="The account of the ticket.")] = ""
    service: Annotated[str, Meta(max_length=40, description="The service of the ticket.")] = ""
    force: Annotated[bool, Meta(description="Continue even if the service does not know the ticket.")] = False


class Nothing(Body):
    """An empty object."""


class BudgetState(Struct, kw_only=True, frozen=True):
    """A limit of a budget and its use in the present period."""

    scope: str
    limit: str
    limit_usd: float
    timezone: str
    period: str
    begins_at: Instant
    resets_at: Instant
    spent_usd: float
    reserved_usd: float
    left_usd: float
    used_share: float
    set_at_run_time: bool


class Budgets(Struct, kw_only=True, frozen=True):
    """All budgets."""

    budgets: tuple[BudgetState, ...]


class SetBudget(Body):
    """A budget."""

    limits: Annotated[
        str, Meta(min_length=1, max_length=200, description="US dollars in a day, week or month: 10/d 200/mo.")
    ]


class SetLimits(Body):
    """The limits of a service."""

    limits: Annotated[
        str, Meta(min_length=1, max_length=200, description="Creates in any second, minute, hour or day: 2/s 20/m.")
    ]


class ChannelSettings(Body):
    """The settings of a channel. A field that is omitted gets its default."""

    weight: Annotated[float, Meta(ge=0.01, le=1000, description="Its share, relative to the others that wait.")] = 1.0
    limits: Annotated[str, Meta(max_length=200, description="Its own limits of creates: 4/h 20/d; empty: none.")] = ""
    slots: (
        Annotated[int, Meta(ge=1, le=10_000, description="Most generations in flight; null: no own limit.")] | None
    ) = None
    defaults: Annotated[
        dict[str, str | int],
        Meta(description="Values for service, style, duration, aspect_ratio and quality of its jobs."),
    ] = {}


class ChannelState(Struct, kw_only=True, frozen=True):
    """A channel: its settings and its jobs."""

    channel: str
    weight: float
    limits: str | None
    slots: int | None
    defaults: dict[str, str | int]
    paused: bool
    why: str | None
    waiting: Annotated[int, Meta(description="Jobs that have bought nothing yet.")]
    in_flight: int
    jobs: Annotated[dict[str, int], Meta(description="Jobs by status.")]


class Channels(Struct, kw_only=True, frozen=True):
    """The channels that have settings or unfinished jobs."""

    channels: tuple[ChannelState, ...]


class ListedTopic(Body):
    """A topic of a list, with fields of its job that differ from those of the schedule."""

    topic: Annotated[str, Meta(min_length=1, max_length=500)]
    prompt: Annotated[str, Meta(max_length=10_000)] | UnsetType = UNSET
    script: Annotated[str, Meta(max_length=10_000)] | UnsetType = UNSET
    style: Style | UnsetType = UNSET
    duration: Duration | UnsetType = UNSET


class NewSchedule(Body):
    """A schedule to keep."""

    channel: Annotated[str, Meta(pattern=r"^[\w.:@-]{1,64}$", description="The channel that the videos are for.")]
    daily_count: Annotated[int, Meta(ge=1, le=100_000, description="Number of videos a day.")] = 96
    videos_per_hour: Annotated[str, Meta(max_length=20, description="0.5 is one every two hours.")] = "4"
    days: Annotated[str, Meta(max_length=40, description="Days of the week: mon-fri, or sat,sun.")] = "mon-sun"
    timezone: Annotated[str, Meta(max_length=64, description="A zone such as Europe/Berlin.")] = "UTC"
    start: Annotated[str, Meta(max_length=8, description="Time of the first slot: 18:00; empty: midnight.")] = ""
    start_by: (
        Annotated[
            float, Meta(ge=0, le=31_536_000, description="Seconds after its slot at which an unbought job expires.")
        ]
        | Literal["next slot", "never"]
        | None
    ) = None
    catch_up: Literal["none", "latest", "all"] = "none"
    repeat: bool = False
    topics: (
        Annotated[
            list[str | ListedTopic], Meta(min_length=1, max_length=MOST_JOBS, description="Default: built-in ones.")
        ]
        | UnsetType
    ) = UNSET
    prompt: Annotated[str, Meta(max_length=10_000)] | UnsetType = UNSET
    style: Style | UnsetType = UNSET
    duration: Duration | UnsetType = UNSET
    aspect_ratio: AspectRatio | UnsetType = UNSET
    service: Annotated[str, Meta(pattern="^[a-z0-9_]{1,40}$")] | UnsetType = UNSET
    quality: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET


class Topics(Body):
    """Topics to append."""

    topics: Annotated[list[str | ListedTopic], Meta(min_length=1, max_length=MOST_JOBS)]


class RemoveSchedule(Body):
    """The parameters of a removal."""

    cancel_planned: Annotated[bool, Meta(description="Cancel its jobs that have not started.")] = False


class Pause(Body):
    """A pause."""

    why: Annotated[str, Meta(max_length=200, description="The reason, for lists and the dashboard.")] = "paused"


class NewWebhook(Body):
    """A webhook to add."""

    url: Annotated[str, Meta(max_length=2000, description="An address that begins with https:// and is public.")]
    events: Annotated[
        tuple[str, ...],
        Meta(max_length=50, description="Types of events: job.succeeded, job.*, or *, which means all."),
    ] = ()
    channel: Annotated[Channel, Meta(description="Send only the events of this channel.")] = ""


class NewSecret(Struct, kw_only=True, frozen=True):
    """The secret of a webhook. It is shown only now."""

    id: str
    secret: Annotated[str, Meta(description="Verifies the messages, as in Standard Webhooks: whsec_…")]


class WebhookAnswer(Struct, kw_only=True, frozen=True):
    """An attempt to deliver a message."""

    at: Instant
    type: str
    id: Annotated[str, Meta(description="The id of the event: the header webhook-id.")]
    ok: bool
    answer: Annotated[str, Meta(description="HTTP 204, or why there was no answer.")]


class Webhook(Struct, kw_only=True, frozen=True):
    """A webhook, without its secrets."""

    id: str
    url: Annotated[str, Meta(description="Scheme and host of its address.")]
    state: Annotated[str, Meta(description="ok, new (nothing was sent yet), failing or disabled.")]
    events: tuple[str, ...]
    channel: str | None
    disabled: Annotated[str | None, Meta(description="Why it gets no messages any more.")]
    created_at: Instant
    last_success_at: Instant | None
    failing_since: Instant | None
    messages: Annotated[dict[str, int], Meta(description="Messages of the last seven days by state.")]
    answers: Annotated[tuple[WebhookAnswer, ...], Meta(description="The latest attempts, newest first.")]


class Webhooks(Struct, kw_only=True, frozen=True):
    """The webhooks."""

    webhooks: tuple[Webhook, ...]


class Replay(Body):
    """Which messages to send again."""

    since: Instant


class Replayed(Struct, kw_only=True, frozen=True):
    """The number of messages that are sent again."""

    messages: int


class TestAnswer(Struct, kw_only=True, frozen=True):
    """The answer of a receiver to a test message."""

    delivered: bool
    answer: str


class Service(Struct, kw_only=True, frozen=True):
    """A video service."""

    name: str
    configured: bool
    chosen_by_auto: bool
    state: Annotated[str | None, Meta(description="open, full, closed, stopped or paused; null if not configured.")]
    opens_in: Annotated[float | None, Meta(description="Seconds.")]
    in_flight: int
    max_in_flight: int | None
    last_error: str | None


class Services(Struct, kw_only=True, frozen=True):
    """All services."""

    services: tuple[Service, ...]


#: Any JSON object; its content is documented where it comes from.
AnyObject = dict[str, Any]
#: The bodies of `POST /jobs`.
AddBody = msgspec.Raw
