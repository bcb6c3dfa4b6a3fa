"""The one error tree. Whoever catches at an edge (command line, worker, web) catches `FlowError`.

    FlowError
    ├── InvalidInput          a value from a person or a file cannot be used (also a ValueError)
    ├── ConfigurationError    the environment or the machine is not set up for what was asked
    ├── JobNotFound           no record of that id
    ├── ActionRefused         the job's status does not allow it
    ├── LeaseLost             another worker owns the job now; write nothing
    ├── LeasedElsewhere       another worker has this very delivery in hand; let it come again
    ├── Stopping              this worker takes no more deliveries
    ├── SlotsBusy             the service already has as many generations in flight as it may
    ├── QueueError            the queue backend could not do its part
    │   ├── QueueUnavailable  unreachable or overloaded: the same call may succeed later
    │   ├── QueueMissing      the queue, or something that the call names, does not exist there
    │   └── QueueForbidden    the account lacks a role
    ├── StoreError
    │   ├── StoreUnavailable  locked, busy or unreachable: the same call may succeed later
    │   ├── StoreFull         no space left where the store lives
    │   └── StoreBroken       not a store, damaged, or written by a newer version
    ├── OutputError           a video could not be written or is not whole
    ├── AccessError
    │   ├── Unauthenticated   a request proves nothing about who sent it
    │   ├── Forbidden         it does, and they may not; or nobody may yet
    │   └── CertificatesUnavailable  nothing can be proved now: the same request may succeed later
    ├── WorkerBusy            this process has as many steps in hand as it may
    └── ServiceError          a video service said no, or could not be asked
        ├── Rejected          permanent: this job will never be made as it is
        ├── Misconfigured     key, plan or account: stops the service, not the job
        ├── OutOfCredit       no money: stops the service, not the job
        ├── Busy              over a quota: ask again later, costs no attempt
        └── Transient         network or server fault before anything was bought: costs an attempt
            └── Uncertain     a paid create whose outcome is not known: never repeat it blindly

Driver and library errors are turned into these where they arise, with the cause kept in `__cause__`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Action(StrEnum):
    """What a person can do with this engine about an error, a finding or a verdict.

    Facts for programs: each front end words them for its own users, as a command, a link or a button.
    """

    RETRY = "retry"  # try the job again
    EDIT = "edit"  # add a changed copy of the job
    RESUBMIT = "resubmit"  # say that the paid create bought nothing: submit it again
    CONFIRM_PURCHASE = "confirm_purchase"  # say that it bought a video, and give its ticket
    GIVE_UP = "give_up"  # fail the held job
    LIST_JOBS = "list_jobs"
    LIST_FAILED = "list_failed"
    LIST_HELD = "list_held"
    START_WORKER = "start_worker"  # one that pulls jobs
    START_PUSH_WORKER = "start_push_worker"  # one that Cloud Tasks delivers to
    RESUME_QUEUE = "resume_queue"
    CREATE_QUEUE = "create_queue"
    UPDATE_QUEUE = "update_queue"
    RESUME_SERVICE = "resume_service"


class FlowError(Exception):
    """Something this product raises on purpose.

    `message` is one sentence that names the thing and the reason, `reason` the same without the name. `actions` are
    what can be done about it here, to `subject`: a job's id or a service's name. `next_step` says what else helps.
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
    """A value given by a person or found in a file cannot be used; names the field and the reason."""

    code = "invalid_input"

    def __init__(self, field: str, reason: str, *, next_step: str = "") -> None:
        super().__init__(f"{field}: {reason}", next_step=next_step)
        self.field = field
        self.reason = reason


class ConfigurationError(FlowError):
    """The environment or the machine is not set up for what was asked."""

    code = "configuration"


class JobNotFound(FlowError):
    """No record has this id."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job has the id {job_id!r}", actions=(Action.LIST_JOBS,))
        self.job_id = job_id


class ActionRefused(FlowError):
    """The job's status does not allow what was asked."""

    code = "action_refused"


class LeaseLost(FlowError):
    """Another worker owns the job now, so the caller must not write its outcome."""

    code = "lease_lost"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the lease on job {job_id} is gone: it ran out and was taken, or the job was changed")
        self.job_id = job_id


class LeasedElsewhere(FlowError):
    """Another worker has this very delivery in hand, so it shall come again later."""

    code = "leased_elsewhere"

    def __init__(self, job_id: str, worker: str) -> None:
        super().__init__(f"worker {worker} has job {job_id} in hand")
        self.job_id = job_id
        self.worker = worker


class Stopping(FlowError):
    """The worker takes no more deliveries; another one will get them."""

    code = "stopping"

    def __init__(self) -> None:
        super().__init__("this worker is stopping and takes no more deliveries")


class SlotsBusy(FlowError):
    """The service already has as many generations in flight as it may."""

    code = "slots_busy"

    def __init__(self, service: str, limit: int) -> None:
        super().__init__(f"{service} has {limit} of {limit} generations in flight")
        self.service = service
        self.limit = limit


class QueueError(FlowError):
    """The queue backend of the jobs could not do its part."""

    code = "queue"


class QueueUnavailable(QueueError):
    """Unreachable or overloaded; the same call may succeed later."""

    code = "queue_unavailable"


class QueueMissing(QueueError):
    """The queue, or something else that the call names, does not exist there."""

    code = "queue_missing"


class QueueForbidden(QueueError):
    """The account lacks a role that the call needs."""

    code = "queue_forbidden"


class StoreError(FlowError):
    """The job store could not do its part."""

    code = "store"


class StoreUnavailable(StoreError):
    """Locked, busy or unreachable; the same call may succeed later."""

    code = "store_unavailable"


class StoreFull(StoreError):
    """No space is left where the store lives; nothing of the call was written."""

    code = "store_full"


class StoreBroken(StoreError):
    """The file or server holds no usable store; a person must look at it."""

    code = "store_broken"


class OutputError(FlowError):
    """A video could not be written, or what was fetched is not a whole video."""

    code = "output"


class AccessError(FlowError):
    """A request over the network was not let in. No message of these holds a part of a token."""

    code = "access"


class Unauthenticated(AccessError):
    """The request carries no proof of who sent it, or one that proves nothing."""

    code = "unauthenticated"


class Forbidden(AccessError):
    """The sender may not do this, or nobody may until a setting is made."""

    code = "forbidden"


class CertificatesUnavailable(AccessError):
    """The certificates that proofs are checked with cannot be had; the same request may succeed later."""

    code = "certificates_unavailable"


class WorkerBusy(FlowError):
    """The process has as many steps in hand as it may; the same request may succeed in a moment, or elsewhere."""

    code = "worker_busy"


class ServiceError(FlowError):
    """A video service said no, or could not be asked. `retry_after` is in seconds, if the service named it."""

    code = "service"

    def __init__(self, service: str, message: str, *, next_step: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{service}: {message}", next_step=next_step)
        self.service = service
        self.reason = message
        # A server may say anything; a day is the longest that makes sense.
        self.retry_after = None if retry_after is None or retry_after != retry_after else min(retry_after, 86400.0)


class Rejected(ServiceError):
    """Permanent: the service will never make this job as it is."""

    code = "rejected"


class Misconfigured(ServiceError):
    """Key, plan or account is wrong: every job of the service would fail, so the service is stopped."""

    code = "misconfigured"


class OutOfCredit(ServiceError):
    """The account has no money left: every job of the service would fail, so the service is stopped."""

    code = "out_of_credit"


class Busy(ServiceError):
    """The service is over a quota or overloaded; asking later is right and costs no attempt."""

    code = "busy"


class Transient(ServiceError):
    """A network or server fault. From a create: nothing was bought."""

    code = "transient"


class Uncertain(Transient):
    """A paid create was sent and its outcome is not known: time-out, reset, 5xx or an unreadable answer."""

    code = "uncertain"
