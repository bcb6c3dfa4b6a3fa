"""The job model: frozen values for a job, its record and their parts, used by every other module.

Instants are seconds since 1970-01-01 UTC (see `clock`). `lifecycle` changes records; `codec` serializes them.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from tenxsom_flow_engine.clock import MAX_INSTANT
from tenxsom_flow_engine.errors import Action, FlowError, InvalidInput, LeaseLost, StartMissed

ASPECT_RATIOS = ("9:16", "16:9", "1:1", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9")
#: Visual styles of a prompt (see `prompts`); the first is the default.
STYLES = ("documentary", "cinematic", "explainer", "animation", "retro")
MAX_TOPIC = 500
MAX_PROMPT = 10_000
MAX_SCRIPT = 10_000
MAX_DURATION = 1800
MAX_PRIORITY = 9
#: The service name that lets the engine choose a service.
AUTO = "auto"
#: The only key of a job's options that is not a service name: the playlist and position that a planned topic came from.
PLAYLIST_POSITION = "schedule"

#: The queue backends that push jobs to workers, so every new delivery must be dispatched to them.
PUSHED = frozenset({"cloud_tasks"})

#: Characters that make a terminal or a page display text in a different order from the stored one.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_TAG = re.compile(r"[\w.:@-]{0,64}")
_TEXTS = ("job_id", "topic", "prompt", "script", "style", "aspect_ratio", "service", "quality", "channel", "key_id")
_KEY_ID = re.compile(r"[0-9a-f]{0,40}")


#: An instant or a duration in a stored record or a delivery; decoding refuses any other number.
Instant = Annotated[float, msgspec.Meta(ge=0, le=MAX_INSTANT)]
#: A count, likewise.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class VideoJob(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="v", tag=1
):
    """A request for one video. Valid by construction: an invalid field raises `InvalidInput` with its name."""

    job_id: str
    topic: str
    #: The prompt sent to the service; if empty, it is built from the topic in the job's style.
    prompt: str = ""
    #: The words of the video, which some services show or speak; if empty, those of a built-in topic are used.
    script: str = ""
    style: str = STYLES[0]
    #: Seconds.
    duration: int = 5
    aspect_ratio: str = "9:16"
    #: A service's name, or `auto`.
    service: str = AUTO
    #: A service's quality name such as `720p`; empty means the service's default.
    quality: str = ""
    #: A tag that groups the jobs of one publishing channel.
    channel: str = ""
    #: 0 to `MAX_PRIORITY`: how far a due job is moved forward among those of its channel.
    priority: int = 0
    #: Service-specific settings, by service name.
    options: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    #: The id of the API key that added it; empty: an operator. The budget of that key is charged.
    key_id: str = ""
    created_at: Instant

    def __post_init__(self) -> None:
        # Python callers create jobs too; without this check, a wrong type would only fail when the job is decoded.
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str):
                raise InvalidInput(name, "must be text")
        if type(self.duration) is not int:
            raise InvalidInput("duration", f"must be a whole number of seconds, not {self.duration!r}")
        if type(self.priority) is not int or not 0 <= self.priority <= MAX_PRIORITY:
            raise InvalidInput("priority", f"must be a whole number from 0 to {MAX_PRIORITY}, not {self.priority!r}")
        if type(self.created_at) not in (int, float) or not 0 <= self.created_at <= MAX_INSTANT:
            raise InvalidInput("created_at", "must be a number of seconds since 1970")
        if not isinstance(self.options, dict) or not all(isinstance(own, dict) for own in self.options.values()):
            raise InvalidInput("options", "must be a dict of dicts, by service")
        check_job_id(self.job_id)
        _check_text("topic", self.topic, MAX_TOPIC, controls="")
        # Z: spaces; C: characters without a glyph, such as a zero-width space.
        if all(unicodedata.category(letter)[0] in "CZ" for letter in self.topic):
            raise InvalidInput("topic", "is empty", next_step="describe the video in a few words")
        _check_text("prompt", self.prompt, MAX_PROMPT, controls="\n\t")
        _check_text("script", self.script, MAX_SCRIPT, controls="\n\t")
        if self.style not in STYLES:
            raise InvalidInput("style", f"must be one of {', '.join(STYLES)}, not {self.style!r}")
        if not 1 <= self.duration <= MAX_DURATION:
            raise InvalidInput("duration", f"must be 1 to {MAX_DURATION} seconds, not {self.duration}")
        if self.aspect_ratio not in ASPECT_RATIOS:
            raise InvalidInput("aspect_ratio", f"must be one of {', '.join(ASPECT_RATIOS)}, not {self.aspect_ratio!r}")
        if not _NAME.fullmatch(self.service):
            raise InvalidInput("service", f"{self.service!r} is not a valid service name")
        _check_text("quality", self.quality, 40, controls="")
        if not _TAG.fullmatch(self.channel):
            raise InvalidInput("channel", "must be at most 64 letters, digits or . : @ _ -")
        if not _KEY_ID.fullmatch(self.key_id):
            raise InvalidInput("key_id", "must be the id of an API key")

    @property
    def allowed_services(self) -> frozenset[str]:
        """The named service; for `auto`, the services that the job has options for. Empty if any service is allowed."""
        return frozenset(self.options) - {PLAYLIST_POSITION} if self.service == AUTO else frozenset({self.service})


def check_job_id(job_id: str) -> None:
    """Raise `InvalidInput` unless `job_id` is 1 to 100 of `A-Za-z0-9_-`, so that it is safe as a file or task name."""
    if not _JOB_ID.fullmatch(job_id):
        raise InvalidInput("job_id", f"must be 1 to 100 letters, digits, _ or -, not {job_id[:120]!r}")


def _check_text(field: str, text: str, limit: int, *, controls: str) -> None:
    if len(text) > limit:
        raise InvalidInput(field, f"has {len(text)} characters, at most {limit} are allowed")
    if text.isprintable():  # fast path for almost every text: the checks below cannot fail
        return
    for position, character in enumerate(text, start=1):
        category = unicodedata.category(character)
        if category == "Cc" and character not in controls:
            raise InvalidInput(field, f"has a control character (U+{ord(character):04X}) at position {position}")
        if character in _BIDI_CONTROLS:
            raise InvalidInput(
                field, f"has a hidden text direction control (U+{ord(character):04X}) at position {position}"
            )
        if category == "Cs":  # an unpaired surrogate: Python decodes invalid UTF-8 in arguments to these
            raise InvalidInput(field, f"is not valid Unicode at position {position}")


class Status(StrEnum):
    """The status of a job, as users see it."""

    SCHEDULED = "scheduled"  # added for a time in the future
    QUEUED = "queued"  # due, or waiting for its gate or its next attempt; no ticket yet
    RUNNING = "running"  # leased to a worker; no ticket yet
    RENDERING = "rendering"  # it has a ticket: the service works on it, or its result is being fetched
    HELD = "held"  # the outcome of its paid create cannot be determined; an operator decides
    SUCCEEDED = "succeeded"  # the video is published
    FAILED = "failed"  # dead letter: not retried automatically
    CANCELLED = "cancelled"  # cancelled by a user, or expired: it could not start in time (error code `expired`)


#: The final statuses. A user can retry a failed or cancelled job; a succeeded job never changes.
FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})

#: The allowed status changes; any other raises `ActionRefused`.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    # Scheduled to rendering: a late ticket of a job that was rescheduled or submitted again.
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.RUNNING, Status.RENDERING, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.RENDERING, Status.CANCELLED, Status.SCHEDULED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.RENDERING, Status.HELD, Status.FAILED, Status.CANCELLED}),
    # Rendering to queued: a ticket that was entered by hand turned out to be wrong, and nothing was bought.
    # Rendering to held: the service does not know the ticket that was entered by hand.
    Status.RENDERING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.QUEUED, Status.HELD}),
    # Held to scheduled: submitted again before its start time.
    Status.HELD: frozenset({Status.SCHEDULED, Status.QUEUED, Status.RENDERING, Status.FAILED, Status.CANCELLED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.SCHEDULED, Status.RENDERING}),
    Status.CANCELLED: frozenset({Status.QUEUED, Status.SCHEDULED, Status.RENDERING}),
    Status.SUCCEEDED: frozenset(),
}


class SubmissionState(StrEnum):
    """How far the paid create of a job got, as far as is known."""

    NONE = "none"  # nothing was bought
    INTENT = "intent"  # a create is about to be sent, or was interrupted
    ACCEPTED = "accepted"  # the service returned a ticket; only reads follow
    UNKNOWN = "unknown"  # a create was sent and its outcome is not known


class Step(StrEnum):
    """The kind of work that a delivery does. The record determines the next step, so only leases store it."""

    SUBMIT = "submit"
    LOOKUP = "lookup"
    POLL = "poll"
    FETCH = "fetch"


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True):
    """The service's id for an accepted generation: enough to request the result from any machine.

    A ticket can come from a delivery, a record or a person: `VideoService.check_ticket` checks it before its use.
    """

    id: str
    #: The account that holds the generation, if the service has several.
    account: str = ""
    #: The cost that the service reported, in its own credits.
    credits: float | None = None


class Charge(msgspec.Struct, frozen=True, omit_defaults=True):
    """An amount that counts against the budgets (see `budgets.charges`), in the periods that contain `at`."""

    at: Instant
    #: Millionths of a US dollar.
    micro_usd: Annotated[int, msgspec.Meta(ge=1, le=10**15)]


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """The journal of one attempt to buy. `id` goes to the service as reference or idempotency key."""

    state: SubmissionState = SubmissionState.NONE
    id: str = ""
    #: Token of the lease under which the create was last journaled; only its worker knows whether the create was sent.
    token: str = ""
    #: When the create was last journaled, and when first; a repeated create is the same submission.
    intended_at: Instant = 0.0
    first_intended_at: Instant = 0.0
    #: The prompt that was sent.
    prompt: str = ""
    ticket: Ticket | None = None
    #: After this instant the generation counts as timed out and its in-flight slot is free.
    deadline: Instant = 0.0
    #: The service reported that the generation does not run (any more), so it holds no in-flight slot.
    over: bool = False
    #: The service reported that the generation failed, so a retry buys a new one.
    failed: bool = False
    #: A person entered the ticket. Until the video exists, it can be corrected (see `lifecycle.resolve`).
    by_hand: bool = False
    #: The reserved amount, until the create is known to be accepted or not. None: free, or of an earlier release.
    charge: Charge | None = None

    def __post_init__(self) -> None:
        if self.state is SubmissionState.ACCEPTED and self.ticket is None:
            raise InvalidInput("submission", "counts as accepted but has no ticket")


class Lease(msgspec.Struct, frozen=True):
    """A worker's exclusive right to a job until `until`. `token` is the fencing token, different for each delivery."""

    token: str
    worker: str
    until: Instant
    #: When the leased delivery was due: the job's place in its lane.
    due: Instant = 0.0
    #: The step that the worker claimed the job for. None if leased by a release that did not record it.
    step: Step | None = None


class Cost(msgspec.Struct, frozen=True, omit_defaults=True):
    """The actual or estimated cost of a job, as far as it is known."""

    usd: float | None = None
    credits: float | None = None
    estimated: bool = True


class Purchase(msgspec.Struct, frozen=True, omit_defaults=True):
    """One generation that a service sold: a line of its bill."""

    #: The id of the submission that bought it.
    submission: str
    service: str
    at: Instant
    #: None if the price is unknown.
    cost: Cost | None = None
    #: Only a person's word says that it was bought, so it can be withdrawn (see `lifecycle.resolve`).
    by_hand: bool = False
    #: The amount that it took from the budgets. None: free, refunded, or of an earlier release.
    charge: Charge | None = None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a job stopped: a code for programs, a message for people, and the remedies.

    `actions` are remedies that this engine offers; `next_step` describes any other.
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
    """A published video: a complete, checked file in the job's folder."""

    path: str
    #: Seconds, as measured in the file.
    duration: float
    width: int
    height: int
    #: Bytes.
    size: int
    sha256: str


class EventKind(StrEnum):
    """The kinds of timeline events: the values of `Event.what`."""

    ADDED = "added"
    ADOPTED = "adopted"  # restored from its delivery, because the record was lost
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    TICKET_ENTERED = "ticket entered by hand"
    OUTCOME_UNKNOWN = "outcome unknown"
    NOTHING_BOUGHT = "nothing bought"
    LATE_TICKET = "late ticket"
    WAITING = "waiting"
    RENDERING = "rendering"
    RENDERED = "rendered"
    SPOOLED = "spooled"  # fetched, and kept on the worker's machine until the bucket can be used
    FAULT = "fault"
    LEASE_RAN_OUT = "lease ran out"
    HANDED_BACK = "handed back"
    DELIVERED_AGAIN = "delivered anew"
    MOVED = "moved"
    HELD = "held"
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # it could not start in time, and bought nothing
    EDITED = "edited"
    RESCHEDULED = "rescheduled"
    STOPPED = "stopped"  # the generation of a cancelled or failed job was stopped or failed at the service
    SLOT_FREED = "slot freed"  # the service runs no generation for a create of unknown outcome
    RETRIED = "retried by hand"
    RESUBMITTED = "ordered anew"
    GIVEN_UP = "given up"


#: Release 0.1 stored three kinds as the detail of a `waiting` event.
_DETAILS_OF_WAITS = re.compile(r"(?P<kind>rendering|rendered)|submitted to (?P<service>\S+)")


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a job's timeline. A repeated event increments `times` instead of adding a line."""

    at: Instant
    #: An `EventKind`; any text can be read, so that records of other releases can be shown.
    what: str
    detail: str = ""
    times: Count = 1
    #: When it last happened, if more than once.
    last_at: Instant = 0.0
    #: The worker that caused it, for the kinds that record one.
    worker: str = ""

    @property
    def kind_and_detail(self) -> tuple[str, str]:
        """The event's kind and detail, with those of release 0.1 mapped to the current ones."""
        if self.what == EventKind.WAITING and (old := _DETAILS_OF_WAITS.fullmatch(self.detail)):
            return old["kind"] or EventKind.SUBMITTED, old["service"] or ""
        return self.what, self.detail


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="v", tag=1):
    """A job and its history."""

    job: VideoJob
    #: The queue backend that owns the job; workers of other queue backends ignore it.
    queue: str
    #: Random; distinguishes this chain of deliveries from an earlier one of the same job id.
    nonce: str
    #: The number of the next delivery, or of the current one while the job is leased.
    seq: Count = 0
    #: Whether that delivery was dispatched to the queue backend; always true for backends that do not push (`PUSHED`).
    dispatched: bool = True
    status: Status = Status.QUEUED
    #: Consecutive failures of the current step.
    attempts: Count = 0
    #: Consecutive expired leases in the current step; a high count suggests that the job kills its workers.
    expiries: Count = 0
    #: The service that was chosen; empty until then.
    service: str = ""
    submission: Submission = Submission()
    #: The last order as JSON (see `truncate_json`), also if the service refused it.
    order: str = ""
    #: When the next delivery is due; None while leased, held or final.
    due: Instant | None = None
    lease: Lease | None = None
    #: The latest instant at which something may be bought; without a purchase, the job then expires. None: no limit.
    start_by: Instant | None = None
    #: 0 to 1, as the service reports it.
    progress: float = 0.0
    result: Video | None = None
    #: The estimated cost until something is bought, then the total cost of all purchases.
    cost: Cost | None = None
    purchases: tuple[Purchase, ...] = ()
    #: For `auto`: the highest price in USD that was shown when the job was added or retried. No service that costs more
    #: is chosen. None: no limit.
    max_usd: float | None = None
    #: The start time of a scheduled job that is held before it: if the job is submitted again, it waits until then.
    planned: Instant | None = None
    error: Failure | None = None
    events: tuple[Event, ...] = ()
    added_at: Instant
    updated_at: Instant
    finished_at: Instant | None = None

    @property
    def job_id(self) -> str:
        """The job's id, which also identifies the record."""
        return self.job.job_id

    @property
    def step(self) -> Step:
        """The step that the next delivery takes."""
        match self.submission.state:
            case SubmissionState.NONE:
                return Step.SUBMIT
            case SubmissionState.INTENT | SubmissionState.UNKNOWN:
                return Step.LOOKUP
            case SubmissionState.ACCEPTED:
                return Step.FETCH if self.submission.over else Step.POLL

    @property
    def expires_at(self) -> float | None:
        """`start_by`, as long as the job waits or runs and nothing was bought, and nothing might have been."""
        bought = self.purchases or self.submission.state is not SubmissionState.NONE
        return None if bought or self.status in FINAL or self.status is Status.HELD else self.start_by

    @property
    def expired(self) -> bool:
        """Whether the job ended because it could not start in time."""
        return self.status is Status.CANCELLED and self.error is not None and self.error.code == StartMissed.code

    @property
    def lease_token(self) -> str:
        """The fencing token of the current lease. Raises `LeaseLost` if the job is not leased."""
        if self.lease is None:
            raise LeaseLost(self.job_id)
        return self.lease.token

    @property
    def lane(self) -> str:
        """The job's lane: its service's lane for new orders, or that service's lane for tickets.

        Workers skip a lane whose service has no free slot, so jobs wait there at no cost.
        """
        if self.submission.state is SubmissionState.NONE:
            return self.effective_service
        return TICKET_MARK + self.service

    @property
    def effective_service(self) -> str:
        """The chosen service, or the requested one (possibly `auto`) if none has been chosen yet."""
        return self.service or self.job.service

    @property
    def undispatched(self) -> bool:
        """Whether the next delivery still has to be dispatched to the queue backend."""
        return self.due is not None and not self.dispatched

    @property
    def holds_slot(self) -> bool:
        """Whether the job counts as in flight at its service (until its submission's deadline)."""
        return self.submission.state is not SubmissionState.NONE and not self.submission.over

    def status_at(self, now: float) -> Status:
        """Return the status at `now`: a scheduled job counts as queued once it is due, without a write."""
        if self.status is Status.SCHEDULED and self.due is not None and self.due <= now:
            return Status.QUEUED
        return self.status


#: Prefix of a lane for jobs that hold a ticket at the service, or might. These lanes have priority.
TICKET_MARK = "#"


def new_job_id(topic: str) -> str:
    """Make a recognisable id: words of the topic and a random suffix."""
    return f"{slug(topic)}-{secrets.token_hex(5)}"


def slug(topic: str) -> str:
    """Return words of a topic as part of an id: at most 48 of `a-z0-9-`, and never empty."""
    plain = unicodedata.normalize("NFKD", topic).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))[:48].strip("-") or "video"
