"""What a job is and what is known about it: the frozen values that every other module speaks in.

Instants are seconds since 1970-01-01 UTC (see `clock`). How a record changes is in `lifecycle`, how it is written
down in `codec`.
"""

from __future__ import annotations

import math
import re
import secrets
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from tenxsom_flow_engine.errors import Action, FlowError, InvalidInput, LeaseLost

ASPECT_RATIOS = ("9:16", "16:9", "1:1", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9")
#: The looks that a prompt can be made in (see `prompts`); the first is the default.
STYLES = ("documentary", "cinematic", "explainer", "animation", "retro")
MAX_TOPIC = 500
MAX_PROMPT = 10_000
MAX_DURATION = 1800
#: The service name that means: let the engine choose.
AUTO = "auto"
#: The one key of a job's options that is no service's: which place of which list a planned topic came from.
PLAYLIST_POSITION = "schedule"

#: The queue backends that bring jobs to workers by themselves, so they must be told of every new delivery.
PUSHED = frozenset({"cloud_tasks"})

#: Characters that make a terminal or page show text in another order than it has.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_TAG = re.compile(r"[\w.:@-]{0,64}")


class VideoJob(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="v", tag=1
):
    """One video that somebody wants. Valid by construction: a bad field raises `InvalidInput` naming it."""

    job_id: str
    topic: str
    #: What the service is told; empty means that it is built from the topic in the job's style.
    prompt: str = ""
    style: str = STYLES[0]
    #: Seconds.
    duration: int = 5
    aspect_ratio: str = "9:16"
    #: A service's name, or `auto`.
    service: str = AUTO
    #: A service's quality name such as `720p`; empty means the service's default.
    quality: str = ""
    #: A tag to find a channel's jobs by.
    channel: str = ""
    #: Settings that only one service knows, by service name.
    options: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    created_at: float

    def __post_init__(self) -> None:
        # Programs make jobs too, and a field of the wrong type would be found out by whoever reads the job later.
        for name in ("job_id", "topic", "prompt", "style", "aspect_ratio", "service", "quality", "channel"):
            if not isinstance(getattr(self, name), str):
                raise InvalidInput(name, "must be text")
        if type(self.duration) is not int:
            raise InvalidInput("duration", f"must be a whole number of seconds, not {self.duration!r}")
        if type(self.created_at) not in (int, float) or not math.isfinite(self.created_at):
            raise InvalidInput("created_at", "is not a moment")
        if not isinstance(self.options, dict) or not all(isinstance(own, dict) for own in self.options.values()):
            raise InvalidInput("options", "must be a dict of dicts, by service")
        check_job_id(self.job_id)
        _check_text("topic", self.topic, MAX_TOPIC, controls="")
        # Z: spaces, C: what has no picture of its own, such as a zero-width space.
        if all(unicodedata.category(letter)[0] in "CZ" for letter in self.topic):
            raise InvalidInput("topic", "is empty", next_step="say in a few words what the video is about")
        _check_text("prompt", self.prompt, MAX_PROMPT, controls="\n\t")
        if self.style not in STYLES:
            raise InvalidInput("style", f"must be one of {', '.join(STYLES)}, not {self.style!r}")
        if not 1 <= self.duration <= MAX_DURATION:
            raise InvalidInput("duration", f"must be 1 to {MAX_DURATION} seconds, not {self.duration}")
        if self.aspect_ratio not in ASPECT_RATIOS:
            raise InvalidInput("aspect_ratio", f"must be one of {', '.join(ASPECT_RATIOS)}, not {self.aspect_ratio!r}")
        if not _NAME.fullmatch(self.service):
            raise InvalidInput("service", f"{self.service!r} is not a service's name")
        _check_text("quality", self.quality, 40, controls="")
        if not _TAG.fullmatch(self.channel):
            raise InvalidInput("channel", "may hold letters, digits and . : @ _ - only, at most 64 of them")

    @property
    def allowed_services(self) -> frozenset[str]:
        """The services that may make it: the one that it names, or for `auto` those it has options for; none: any."""
        return frozenset(self.options) - {PLAYLIST_POSITION} if self.service == AUTO else frozenset({self.service})


def check_job_id(job_id: str) -> None:
    """Raise `InvalidInput` unless `job_id` is 1 to 100 of `A-Za-z0-9_-` (so that it is a safe file and task name)."""
    if not _JOB_ID.fullmatch(job_id):
        raise InvalidInput("job_id", f"must be 1 to 100 letters, digits, _ or -, not {job_id[:120]!r}")


def _check_text(field: str, text: str, limit: int, *, controls: str) -> None:
    if len(text) > limit:
        raise InvalidInput(field, f"has {len(text)} characters, at most {limit} are allowed")
    if text.isprintable():  # almost every text: then it holds nothing of what is looked for below
        return
    for position, character in enumerate(text, start=1):
        category = unicodedata.category(character)
        if category == "Cc" and character not in controls:
            raise InvalidInput(field, f"has a control character (U+{ord(character):04X}) at position {position}")
        if character in _BIDI_CONTROLS:
            raise InvalidInput(
                field, f"has a hidden change of direction (U+{ord(character):04X}) at position {position}"
            )
        if category == "Cs":  # half of a surrogate pair: what bytes that are not UTF-8 become on a command line
            raise InvalidInput(field, f"is not valid Unicode at position {position}")


class Status(StrEnum):
    """Where a job stands, as a person sees it."""

    SCHEDULED = "scheduled"  # added for a later time that has not come
    QUEUED = "queued"  # due, or waiting for its gate or its next attempt; no ticket yet
    RUNNING = "running"  # a worker has it in hand; no ticket yet
    RENDERING = "rendering"  # it has a ticket: the service works on it, or its result is being fetched
    HELD = "held"  # a paid create whose outcome nobody can find out; a person decides
    SUCCEEDED = "succeeded"  # the video is published
    FAILED = "failed"  # dead letter: it will not be tried again by itself
    CANCELLED = "cancelled"  # a person took it back


#: The statuses that nothing but a person changes. `succeeded` is the only one that nobody changes.
FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})

#: Every change of status that is allowed; anything else is a bug and raises.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.RUNNING, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.RENDERING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.RENDERING, Status.HELD, Status.FAILED, Status.CANCELLED}),
    Status.RENDERING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
    Status.HELD: frozenset({Status.QUEUED, Status.RENDERING, Status.FAILED, Status.CANCELLED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.RENDERING}),
    Status.CANCELLED: frozenset({Status.QUEUED, Status.RENDERING}),
    Status.SUCCEEDED: frozenset(),
}


class SubmissionState(StrEnum):
    """How far the paid create of a job is known to have come."""

    NONE = "none"  # nothing was bought
    INTENT = "intent"  # a create is about to be sent, or was cut off
    ACCEPTED = "accepted"  # the service gave a ticket; only reads follow
    UNKNOWN = "unknown"  # a create was sent and its outcome is not known


class Step(StrEnum):
    """What the next delivery of a job does; it follows from the record, so only leases store it."""

    SUBMIT = "submit"
    LOOKUP = "lookup"
    POLL = "poll"
    FETCH = "fetch"


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a service gave for an accepted create: enough to ask for the result from any machine."""

    id: str
    #: The account that holds the generation, where a service has several.
    account: str = ""
    #: What the service said that it cost, in credits of its own.
    credits: float | None = None


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """The journal of one attempt to buy. `id` goes to the service as reference or idempotency key."""

    state: SubmissionState = SubmissionState.NONE
    id: str = ""
    #: The lease under which the create was journaled last: whose worker alone knows whether it went out.
    token: str = ""
    #: When the create was journaled last, and when first: a repeat is the same submission.
    intended_at: float = 0.0
    first_intended_at: float = 0.0
    #: What the service was told.
    prompt: str = ""
    ticket: Ticket | None = None
    #: After this instant the generation is given up, and its in-flight slot is free.
    deadline: float = 0.0
    #: The service said that the generation is over, for good or ill: it holds no in-flight slot any more.
    over: bool = False
    #: The service said that it failed, so that buying anew is right.
    failed: bool = False


class Lease(msgspec.Struct, frozen=True):
    """The right of one worker to work on a job. `token` is the fence: it differs for each delivery."""

    token: str
    worker: str
    until: float
    #: When the delivery in hand was due: the job's place in the line that it was taken from.
    due: float = 0.0
    #: The step that the worker took the job for. None: leased by a release that did not note it.
    step: Step | None = None


class Cost(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job cost or will cost, as far as it is known."""

    usd: float | None = None
    credits: float | None = None
    estimated: bool = True


class Purchase(msgspec.Struct, frozen=True, omit_defaults=True):
    """One generation that a service sold: a line of its bill."""

    #: The id of the submission that bought it.
    submission: str
    service: str
    at: float
    #: None where nothing is known of its price.
    cost: Cost | None = None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a job does not go on: a code for programs, a sentence for people, and what to do.

    `actions` are what a person can do about it with this engine, `next_step` is what else helps.
    """

    code: str
    message: str
    next_step: str = ""
    actions: tuple[Action, ...] = ()

    @classmethod
    def of(cls, error: FlowError) -> Failure:
        """Describe an error of the tree."""
        return cls(code=error.code, message=error.message, next_step=error.next_step, actions=error.actions)

    def __str__(self) -> str:
        return f"{self.message} ({self.next_step})" if self.next_step else self.message


class Video(msgspec.Struct, frozen=True, omit_defaults=True):
    """A published video: a whole, checked file in the job's folder."""

    path: str
    #: Seconds, as measured in the file.
    duration: float
    width: int
    height: int
    #: Bytes.
    size: int
    sha256: str


class EventKind(StrEnum):
    """What can happen to a job: the values of `Event.what`."""

    ADDED = "added"
    ADOPTED = "adopted"  # known from its delivery alone: its record was lost
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    OUTCOME_UNKNOWN = "outcome unknown"
    NOTHING_BOUGHT = "nothing bought"
    LATE_TICKET = "late ticket"
    WAITING = "waiting"
    RENDERING = "rendering"
    RENDERED = "rendered"
    FAULT = "fault"
    LEASE_RAN_OUT = "lease ran out"
    HANDED_BACK = "handed back"
    DELIVERED_AGAIN = "delivered anew"
    MOVED = "moved"
    HELD = "held"
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"  # the service stopped the generation of a cancelled job
    RETRIED = "retried by hand"
    RESUBMITTED = "ordered anew"
    GIVEN_UP = "given up"


#: How release 0.1 wrote these kinds: as the details of a wait.
_KINDS_OF_WAITS = {"rendering": EventKind.RENDERING, "rendered": EventKind.RENDERED}


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a job's timeline. The same thing happening again counts up instead of adding a line."""

    at: float
    #: An `EventKind`; any text is read, so that records of other releases can be shown.
    what: str
    detail: str = ""
    times: int = 1
    #: When it happened last, if more than once.
    last_at: float = 0.0
    #: The worker that did it, where that matters.
    worker: str = ""

    @property
    def kind(self) -> str:
        """What happened, also in a record of release 0.1."""
        return _KINDS_OF_WAITS.get(self.detail, self.what) if self.what == EventKind.WAITING else self.what


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="v", tag=1):
    """The job and all that happened to it."""

    job: VideoJob
    #: The queue backend that owns the job; workers of other queue backends leave it alone.
    queue: str
    #: Drawn when the job was added: tells this chain of deliveries from an earlier one of the same id.
    nonce: str
    #: The number of the delivery that the job waits for.
    seq: int = 0
    #: Whether the queue backend has been told of that delivery; only those that push need telling (`PUSHED`).
    dispatched: bool = True
    status: Status = Status.QUEUED
    #: Faults in a row within the present step.
    attempts: int = 0
    #: Leases that ran out in a row within the present step: the sign of a job that kills its worker.
    expiries: int = 0
    #: The service that was chosen; empty until then.
    service: str = ""
    submission: Submission = Submission()
    #: What was ordered of a service last, as JSON (see `truncate_json`): also of one that refused it.
    order: str = ""
    #: When the next delivery is due; None while leased, held or final.
    due: float | None = None
    lease: Lease | None = None
    #: 0 to 1, as the service reports it.
    progress: float = 0.0
    result: Video | None = None
    #: What is expected before anything is bought, then what all purchases cost together.
    cost: Cost | None = None
    purchases: tuple[Purchase, ...] = ()
    error: Failure | None = None
    events: tuple[Event, ...] = ()
    added_at: float
    updated_at: float
    finished_at: float | None = None

    @property
    def job_id(self) -> str:
        """The job's id, which is the record's too."""
        return self.job.job_id

    @property
    def step(self) -> Step:
        """What the next delivery does."""
        match self.submission.state:
            case SubmissionState.NONE:
                return Step.SUBMIT
            case SubmissionState.INTENT | SubmissionState.UNKNOWN:
                return Step.LOOKUP
            case SubmissionState.ACCEPTED:
                return Step.FETCH if self.submission.over else Step.POLL

    @property
    def lease_token(self) -> str:
        """The fence of whoever works on the job. Raises `LeaseLost` where nobody does."""
        if self.lease is None:
            raise LeaseLost(self.job_id)
        return self.lease.token

    @property
    def lane(self) -> str:
        """The line of the queue that the job stands in: its service's, or that service's line of tickets.

        A lane whose service has no free slot is not served at all, so waiting there costs nothing.
        """
        if self.submission.state is SubmissionState.NONE:
            return self.effective_service
        return TICKET_MARK + self.service

    @property
    def effective_service(self) -> str:
        """The service that the job counts for: the chosen one, else what it asks for, which may be `auto`."""
        return self.service or self.job.service

    @property
    def undispatched(self) -> bool:
        """Whether the job waits for a delivery of which its queue backend has yet to be told."""
        return self.due is not None and not self.dispatched

    @property
    def holds_slot(self) -> bool:
        """Whether the job counts as in flight at its service (until its submission's deadline)."""
        return self.submission.state is not SubmissionState.NONE and not self.submission.over

    def status_at(self, now: float) -> Status:
        """Return the status as a person sees it at `now`: time makes a scheduled job a queued one, unwritten."""
        if self.status is Status.SCHEDULED and self.due is not None and self.due <= now:
            return Status.QUEUED
        return self.status


#: Before a service's name: the lane of jobs that hold a ticket there, or may. They go first.
TICKET_MARK = "#"


def new_job_id(topic: str) -> str:
    """Make an id that a person recognises: words of the topic and a random tail."""
    return f"{slug(topic)}-{secrets.token_hex(5)}"


def slug(topic: str) -> str:
    """Return words of a topic as part of an id: at most 48 of `a-z0-9-`, and never empty."""
    plain = unicodedata.normalize("NFKD", topic).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))[:48].strip("-") or "video"
