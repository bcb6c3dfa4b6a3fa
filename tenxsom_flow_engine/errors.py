"""The error tree. The front ends (command line, worker, web) catch `FlowError`.

    FlowError
    ├── InvalidInput          a value from a user or a file is invalid (also a ValueError)
    ├── ConfigurationError    the environment or the machine is not set up for the operation
    ├── JobNotFound           no record has this id
    ├── ActionRefused         the job's status does not allow the action
    ├── LeaseLost             another worker owns the job now; write nothing
    ├── LeasedElsewhere       another worker is processing this delivery; it must be redelivered later
    ├── Stopping              this worker accepts no more deliveries
    ├── SlotsBusy             all in-flight slots of the service are in use
    ├── BudgetSpent           a budget has no room for a create
    ├── QueueError            an operation of the queue backend failed
    │   ├── QueueUnavailable  unreachable or overloaded: the same call can succeed later
    │   ├── QueueMissing      the queue, or another resource that the call names, does not exist
    │   └── QueueForbidden    the account lacks a role
    ├── StoreError
    │   ├── StoreUnavailable  locked, busy or unreachable: the same call can succeed later
    │   ├── StoreFull         no space left on the store's disk or server
    │   ├── StoreBroken       not a store, damaged, or written by a newer version
    │   └── StoreMoved        its jobs are in another store now
    ├── OutputError           a video could not be written or is incomplete
    │   ├── OutputAway        the bucket cannot be used now; a fetched video waits in the spool
    │   └── InvalidVideo      a delivered file is not a usable video; the same file fails again
    ├── AccessError
    │   ├── Unauthenticated   the request does not prove its sender
    │   ├── Forbidden         the sender has no permission, or permissions are not configured yet
    │   └── CertificatesUnavailable  proofs cannot be checked now: the same request can succeed later
    ├── WorkerBusy            this process runs its maximum number of steps
    └── ServiceError          a video service refused a request or could not be reached
        ├── Rejected          permanent: the service will never make this job unchanged
        ├── Misconfigured     key, plan or account: stops the service, not the job
        ├── OutOfCredit       no money: stops the service, not the job
        ├── Busy              over a quota: ask again later, costs no attempt
        └── Transient         network or server error before anything was bought: costs an attempt
            └── Uncertain     a paid create whose outcome is unknown: never repeat it blindly

Driver and library errors are converted to these where they occur, with the original in `__cause__`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Action(StrEnum):
    """The remedies that this engine offers for an error, a finding or a verdict.

    Each front end presents them in its own way: as a command, a link or a button.
    """

    RETRY = "retry"  # try the job again
    EDIT = "edit"  # change the job and try it again
    NAME_SERVICE = "name_service"  # say which service accepted the paid create; never in a stored failure
    RESUBMIT = "resubmit"  # decide that the paid create bought nothing: submit it again
    CONFIRM_PURCHASE = "confirm_purchase"  # decide that it bought a video, and enter its ticket
    ACCEPT_UNSEEN = "accept_unseen"  # continue with a ticket that the service does not confirm
    GIVE_UP = "give_up"  # fail the held job
    LIST_JOBS = "list_jobs"
    LIST_FAILED = "list_failed"
    LIST_HELD = "list_held"
    LIST_CANCELLED = "list_cancelled"  # cancelled jobs, which includes the expired ones
    LIST_OTHER_QUEUE = "list_other_queue"  # list the jobs of a queue that this home does not use
    START_WORKER = "start_worker"  # a pull worker
    START_FALLBACK_WORKER = "start_fallback_worker"  # a pull worker of a named queue
    START_PUSH_WORKER = "start_push_worker"
    RESUME_QUEUE = "resume_queue"
    CREATE_QUEUE = "create_queue"
    UPDATE_QUEUE = "update_queue"
    RESUME_SERVICE = "resume_service"
    ADD_TOPICS = "add_topics"  # append topics to the list of a schedule
    SHOW_SCHEDULE = "show_schedule"
    ENABLE_WEBHOOK = "enable_webhook"
    ENABLE_ALERT = "enable_alert"
    REPAIR_CLOCK = "repair_clock"  # set the store's clock back
    RESTORE = "restore"  # restore the store from a backup


class FlowError(Exception):
    """Base class of the errors that the engine raises deliberately.

    `message` is one sentence with the thing and the reason, `reason` the same without the thing. `actions` are remedies
    that the engine offers for `subject`: a job's id, or the name of a service or schedule. `next_step` describes any
    other remedy.
    """

    code: ClassVar[str] = "error"

    def __init__(
        self, message: str, *, next_step: str = "", actions: tuple[Action, ...] = (), subject: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = message
        self.next_step = next_step
        self.actions = actions
        self.subject = subject

    def __str__(self) -> str:
        return f"{self.message} ({self.next_step})" if self.next_step else self.message


class InvalidInput(FlowError, ValueError):
    """A value from a user or a file is invalid. The message names the field and the reason."""

    code = "invalid_input"

    def __init__(self, field: str, reason: str, *, next_step: str = "") -> None:
        super().__init__(f"{field}: {reason}", next_step=next_step)
        self.field = field
        self.reason = reason


class ConfigurationError(FlowError):
    """The environment or the machine is not set up for the operation."""

    code = "configuration"


class JobNotFound(FlowError):
    """No record has this id."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job has the id {job_id!r}", actions=(Action.LIST_JOBS,))
        self.job_id = job_id


class ActionRefused(FlowError):
    """The job's status does not allow the action."""

    code = "action_refused"


class StartMissed(FlowError):
    """The job has bought nothing by the latest instant at which it was to start, so it must not buy any more."""

    code = "expired"

    def __init__(self, job_id: str, start_by: str) -> None:
        super().__init__(
            f"job {job_id} had to start by {start_by} and bought nothing by then",
            actions=(Action.RETRY,),
            subject=job_id,
        )


class LeaseLost(FlowError):
    """Another worker owns the job now, so the caller must not write its outcome."""

    code = "lease_lost"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"lost the lease on job {job_id}: it expired and was taken over, or the job was changed")
        self.job_id = job_id


class LeasedElsewhere(FlowError):
    """Another worker is processing this delivery; it must be redelivered later. `worker` is empty if unknown."""

    code = "leased_elsewhere"

    def __init__(self, job_id: str, worker: str = "") -> None:
        super().__init__(f"{f'worker {worker}' if worker else 'another worker'} is processing job {job_id}")
        self.job_id = job_id
        self.worker = worker


class Stopping(FlowError):
    """The worker accepts no more deliveries; they must be redelivered to another worker."""

    code = "stopping"

    def __init__(self) -> None:
        super().__init__("this worker is stopping and accepts no more deliveries")


class SlotsBusy(FlowError):
    """All in-flight slots of the service are in use."""

    code = "slots_busy"

    def __init__(self, service: str, limit: int) -> None:
        super().__init__(f"{service} has {limit} of {limit} generations in flight")
        self.service = service
        self.limit = limit


class BudgetSpent(FlowError):
    """A budget has no room for a create.

    `scope` names the budget that is reset last, `scopes` all that have no room. `resets_at` is the instant of that
    reset, None if the price is unknown; `at` the instant of the refusal; `micro_usd` the refused amount.
    """

    code = "budget_spent"

    def __init__(
        self,
        message: str,
        *,
        scope: str,
        resets_at: float | None,
        at: float,
        micro_usd: int,
        scopes: tuple[str, ...],
        next_step: str = "",
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.scope = scope
        self.resets_at = resets_at
        self.at = at
        self.micro_usd = micro_usd
        self.scopes = scopes


class QueueError(FlowError):
    """An operation of the queue backend failed."""

    code = "queue"


class QueueUnavailable(QueueError):
    """The queue backend is unreachable or overloaded; the same call can succeed later."""

    code = "queue_unavailable"


class QueueMissing(QueueError):
    """The queue, or another resource that the call names, does not exist."""

    code = "queue_missing"


class QueueForbidden(QueueError):
    """The account lacks a role that the call needs."""

    code = "queue_forbidden"


class StoreError(FlowError):
    """An operation of the job store failed."""

    code = "store"


class StoreUnavailable(StoreError):
    """The store is locked, busy or unreachable; the same call can succeed later."""

    code = "store_unavailable"


class StoreFull(StoreError):
    """No space is left on the store's disk or server; the call wrote nothing."""

    code = "store_full"


class StoreBroken(StoreError):
    """The file or server contains no usable store; an operator must fix it."""

    code = "store_broken"


class StoreMoved(StoreError):
    """The jobs of this store are in another one now, or on their way there (see `store.moving`)."""

    code = "store_moved"


class OutputError(FlowError):
    """A video could not be written, or the fetched file is not a complete video."""

    code = "output"


class OutputAway(OutputError):
    """The bucket of the videos cannot be used now; what was fetched for it stays in the spool of this machine."""

    code = "output_away"


class InvalidVideo(OutputError):
    """A fetched file is not a video that can be published. The same file fails again, so its job has failed."""

    code = "invalid_video"


class AccessError(FlowError):
    """A network request was refused. The messages never contain parts of a token."""

    code = "access"


class Unauthenticated(AccessError):
    """The request has no proof of its sender, or an invalid one."""

    code = "unauthenticated"


class Forbidden(AccessError):
    """The sender has no permission, or a setting is required before any sender has."""

    code = "forbidden"


class CertificatesUnavailable(AccessError):
    """The certificates for checking proofs are unavailable; the same request can succeed later."""

    code = "certificates_unavailable"


class WorkerBusy(FlowError):
    """The process runs its maximum number of steps; the same request can succeed soon, or at another worker."""

    code = "worker_busy"


class ServiceError(FlowError):
    """A video service refused a request or could not be reached. `retry_after`: seconds, if the service sent it."""

    code = "service"

    def __init__(self, service: str, message: str, *, next_step: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{service}: {message}", next_step=next_step)
        self.service = service
        self.reason = message
        # A server can send any value; more than a day makes no sense.
        self.retry_after = None if retry_after is None or retry_after != retry_after else min(retry_after, 86400.0)


class Rejected(ServiceError):
    """Permanent: the service will never make this job unchanged."""

    code = "rejected"


class Misconfigured(ServiceError):
    """The key, plan or account is invalid: every job of the service would fail, so the service is stopped."""

    code = "misconfigured"


class OutOfCredit(ServiceError):
    """The account has no money left: every job of the service would fail, so the service is stopped."""

    code = "out_of_credit"


class Busy(ServiceError):
    """The service is over a quota or overloaded; the step is repeated later and costs no attempt."""

    code = "busy"


class Transient(ServiceError):
    """A network or server error. If a create raises it, nothing was bought."""

    code = "transient"


class Uncertain(Transient):
    """A paid create was sent and its outcome is unknown: timeout, reset, 5xx or an unreadable response."""

    code = "uncertain"
