"""The interface of a job store: the records of all jobs, shared by all processes that use it.

Each method is one transaction (or one script on a server): it takes effect completely or not at all, and several
processes can call concurrently. When a method returns, its writes are stored; added jobs, intents and tickets are also
on disk. The rules of a job's life are in `lifecycle`; a store applies them with `update` and saves the result.

Every method can raise `StoreUnavailable` (try again later), `StoreFull` or `StoreBroken`.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Event as Signal

from tenxsom_flow_engine.budgets import Amounts, Budget, Period
from tenxsom_flow_engine.budgets.charges import BudgetCheck
from tenxsom_flow_engine.channels.schedules import Schedule, Topic
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.errors import (
    ActionRefused,
    InvalidInput,
    JobNotFound,
    StoreBroken,
    StoreError,
    StoreUnavailable,
)
from tenxsom_flow_engine.events import Delivery, DeliveryState, Endpoint, Event, Settled
from tenxsom_flow_engine.events.changes import VideoLink, api_path, job_events
from tenxsom_flow_engine.events.outbox import Health
from tenxsom_flow_engine.jobs import JobRecord, lifecycle
from tenxsom_flow_engine.jobs.codec import decode_record
from tenxsom_flow_engine.jobs.outcomes import Outcome, Resolution, Terms
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.store.totals import DAY, LastError, Spent, Total, spending
from tenxsom_flow_engine.store.values import (
    Added,
    Claim,
    ClaimRequest,
    Counts,
    ImportResult,
    JobFilter,
    MatchCount,
    NewJob,
    Order,
    OrderedJobs,
    Page,
    QueueState,
    Retention,
    Slots,
    StoreAdvice,
    WorkerInfo,
)

#: Attempts to change a schedule that other processes change at the same time.
MOST_SWAPS = 100
#: A change of a record at the store's time.
Change = Callable[[JobRecord, float], JobRecord]


class LegacyImport(ABC):
    """A store that can import jobs which legacy producers push onto a plain list next to it."""

    @abstractmethod
    def import_legacy(self, queue: str, read: Callable[[bytes], NewJob]) -> ImportResult:
        """Move entries into a queue, each once; `read` parses an entry or raises `InvalidInput`."""

    @abstractmethod
    def rejected_count(self) -> int:
        """Return how many rejected entries are kept."""


def _settling(token: str, outcome: Outcome) -> Change:
    return lambda record, now: lifecycle.settle(record, token, outcome, now)


def new_record(queue: str, item: NewJob, now: float) -> JobRecord:
    """Return the record of a job that is added to a queue now."""
    return lifecycle.add(
        item.job,
        queue=queue,
        nonce=secrets.token_hex(6),
        now=now,
        due=item.due or now,
        cost=item.cost,
        max_usd=item.max_usd,
        start_by=item.start_by,
    )


def read_record(job_id: str, data: bytes | str, read: Callable[[bytes | str], JobRecord] = decode_record) -> JobRecord:
    """Read a stored record. Raises `StoreBroken` naming the job if it cannot be read."""
    try:
        return read(data)
    except InvalidInput as error:
        raise unreadable(job_id, error) from error


def unreadable(job_id: str, error: Exception) -> StoreBroken:
    """Return the error for a stored record that cannot be read."""
    return StoreBroken(
        f"the record of job {job_id} cannot be read: {error}",
        next_step="restore the store from a backup, or run the version that wrote it",
    )


class JobStore(ABC):
    """The records of all jobs. Opened by `composition.open_store`; closed with `close`."""

    #: The scheme of its URL, which names its type (see `queues.selection.choose_store`).
    scheme: str
    #: Where the records are, as shown to operators; without a password.
    place: str
    #: A warning for operators about the durability of the records; None if there is none.
    advice: StoreAdvice | None = None
    #: Returns the address of a video in the messages about its job; `composition` sets it.
    video_link: VideoLink = staticmethod(api_path)

    def job_events(self, before: JobRecord, after: JobRecord) -> Sequence[Event]:
        """Return the events of a change of a record, which a store writes in the same transaction."""
        return job_events(before, after, self.video_link)

    def free_space(self) -> int | None:
        """Return the free bytes of the file system of the records; None if they are on a server, or it is unknown."""
        return None

    # Primitives: each store implements them.

    @abstractmethod
    def now(self) -> float:
        """Return the store's time: it never goes back, and is never earlier than a write that this handle sees."""

    @abstractmethod
    def set_clock_back(self, instant: float) -> None:
        """Set the store's time to an earlier instant; heartbeats, locks and rates that are later are reset.

        Only for `operations.clock_repair`: no other process uses the store, and this handle must be closed afterwards.
        """

    @abstractmethod
    def add(self, queue: str, jobs: Iterable[NewJob]) -> Added:
        """Add jobs to `queue`, in the given order; a known id adds nothing.

        Long lists are added in chunks, each one transaction; after a crash the same call completes the rest.
        """

    @abstractmethod
    def adopt(self, record: JobRecord) -> bool:
        """Add an existing record unchanged; return False, adding nothing, if its id is known here."""

    @abstractmethod
    def knows_id(self, job_id: str) -> bool:
        """Return whether a job was ever added here, even if its record has been trimmed."""

    @abstractmethod
    def get(self, job_id: str) -> JobRecord | None:
        """Return a job's record, or None."""

    @abstractmethod
    def page(self, jobs: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Return at most `limit` records, newest first, starting at `cursor` (see `Page`).

        Its cost is bounded for any filter and any number of jobs. Raises `InvalidInput` for a cursor that no page
        returned.
        """

    @abstractmethod
    def ordered(self, order: Order, jobs: JobFilter, *, limit: int) -> OrderedJobs:
        """Return at most `limit` matching records in an order.

        Its cost is bounded like that of `page`. Where more jobs have failed than it examines, `Order.FINISHED` includes
        only those that were added last.
        """

    @abstractmethod
    def count_matching(self, jobs: JobFilter) -> MatchCount:
        """Count matching jobs: from maintained counters for queue and status alone, else at a bounded cost."""

    @abstractmethod
    def status_counts(self, queue: str | None = None) -> Counts:
        """Return the number of jobs by status, from maintained counters."""

    def holds_jobs(self) -> bool:
        """Return whether the store might have a job. Writes nothing, while other calls can write the store's time."""
        return True

    @abstractmethod
    def next_scheduled(self, limit: int) -> Sequence[JobRecord]:
        """Return up to `limit` scheduled jobs that are not due yet, in order of their due time."""

    @abstractmethod
    def scheduled_before(self, instant: float) -> int:
        """Count the jobs scheduled between now and `instant`, without reading their records."""

    @abstractmethod
    def totals(self, kind: str, since: str = "") -> Sequence[Total]:
        """Return the totals of one kind of period (see `store.totals`), oldest first, starting with `since`."""

    @abstractmethod
    def last_errors(self) -> Mapping[str, LastError]:
        """Return the latest error of each service."""

    @abstractmethod
    def in_flight(self, service: str) -> int:
        """Count the generations of a service that are in flight now; a few might have ended unnoticed."""

    @abstractmethod
    def channel_in_flight(self, channel: str) -> int:
        """Count the generations of a channel that are in flight now, at all services."""

    @abstractmethod
    def slot_holders(self, service: str, limit: int) -> Sequence[JobRecord]:
        """Return up to `limit` jobs that hold an in-flight slot of a service now, soonest deadline first."""

    @abstractmethod
    def claim(self, request: ClaimRequest) -> Claim:
        """Lease due jobs to a worker: jobs with a ticket first, then in the fair order of channels (`fair_share`).

        Within a channel they are in the order of due time and priority, then in the order of adding.

        Also ends expired leases. Leases nothing while the queue is paused, and no more than the limits of the queue
        and the slots of the services allow. The cost does not grow with the number of waiting jobs.
        """

    @abstractmethod
    def renew(self, leases: Mapping[str, str], duration: float) -> Collection[str]:
        """Extend leases (job id to token) to `duration` seconds from now; return the job ids of lost leases."""

    @abstractmethod
    def update(
        self,
        job_id: str,
        change: Change,
        *,
        slots: Slots | None = None,
        budgets: BudgetCheck | None = None,
        on_disk: bool = False,
    ) -> JobRecord:
        """Replace a record by `change(record, now)`, and return the new record.

        With `on_disk` the write is on disk when this returns, even in a store that otherwise syncs with a delay.

        `change` must be pure: it can be called again with a newer record. With `slots` the change is refused
        with `SlotsBusy` if at least that many *other* jobs are in flight at the service, or of the job's channel. The
        same transaction updates the totals (`store.totals`) and the amounts of the budgets (`budgets.charges`), and
        writes the events of the change (`events.changes`) to the outbox of each endpoint that wants them; with
        `budgets` the change is refused with `BudgetSpent` if a matching budget has no room for it. Raises
        `JobNotFound` and any error of `change`, and then writes nothing.
        """

    @abstractmethod
    def update_each(self, changes: Sequence[tuple[str, Change]]) -> Sequence[JobRecord | Exception]:
        """Replace several leased records in one transaction or round trip; return for each the new one or its error.

        An error of one, as `update` raises it, does not keep the others from being replaced.
        """

    @abstractmethod
    def budgets(self) -> Mapping[str, Budget]:
        """Return the budgets that operators have set in this store, by scope."""

    @abstractmethod
    def set_budget(self, scope: str, budget: Budget | None) -> None:
        """Set the budget of a scope for all workers, at once; None removes it, so the environment's applies again."""

    @abstractmethod
    def amounts(self, periods: Sequence[tuple[str, Period]]) -> Sequence[Amounts]:
        """Return what each scope has used in a period, in the given order."""

    @abstractmethod
    def channels(self) -> Mapping[str, Channel]:
        """Return the settings of the channels that have some, by name."""

    @abstractmethod
    def channel(self, name: str) -> Channel:
        """Return the settings of a channel."""

    @abstractmethod
    def set_channel(self, name: str, change: Callable[[Channel], Channel | None]) -> None:
        """Replace the settings of a channel by `change(settings)`, for all workers at once; None removes them."""

    def enter_missing_turns(self, queue: str, limit: int) -> None:  # noqa: B027 (only a server mixes releases)
        """Give turns to the first `limit` waiting jobs of each lane that an earlier release added without them."""

    @abstractmethod
    def schedules(self) -> Sequence[Schedule]:
        """Return the schedules, by name."""

    @abstractmethod
    def schedule(self, name: str) -> Schedule | None:
        """Return a schedule, or None."""

    @abstractmethod
    def swap_schedule(self, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic] = ()) -> bool:
        """Replace a schedule, if it is still `before`; return whether it was. None: there is none of this name.

        `topics` are appended to its list, which `after` counts; those of a schedule that ends are removed. The write is
        on disk when this returns.
        """

    @abstractmethod
    def schedule_topics(self, schedule: Schedule, places: Collection[int]) -> Mapping[int, Topic]:
        """Return topics of a schedule's list by position, without those that the list does not have."""

    @abstractmethod
    def cancel_waiting(self, queue: str, limit: int) -> int:
        """Cancel up to `limit` waiting jobs of a queue that certainly bought nothing; return how many."""

    @abstractmethod
    def overdue(self, queue: str, before: float, limit: int) -> Sequence[JobRecord]:
        """Return up to `limit` jobs of a queue that were due before an instant, or whose lease expired before that.

        Due jobs come first, oldest due time first; then expired leases.
        """

    @abstractmethod
    def late_to_start(self, limit: int) -> Sequence[JobRecord]:
        """Return up to `limit` waiting jobs of all queues whose latest start has passed unbought.

        The cost does not grow with the number of jobs.
        """

    @abstractmethod
    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew a named lock, so that one owner at a time does a task; return whether `owner` has it."""

    @abstractmethod
    def lock_owner(self, name: str) -> str | None:
        """Return who has a named lock, or None."""

    @abstractmethod
    def memo(self, kind: str, name: str) -> str | None:
        """Return the text of a memo; None if there is none, or its time has ended."""

    @abstractmethod
    def memos(self, kind: str) -> Mapping[str, str]:
        """Return the texts of all memos of a kind by name, in order of their names."""

    @abstractmethod
    def put_memo(
        self,
        kind: str,
        name: str,
        text: str | None,
        seconds: float,
        *,
        instead_of: str | None,
        events: Sequence[Event] = (),
    ) -> str | None:
        """Replace a memo for `seconds`, if its text is `instead_of`; return its text after that, which is on disk.

        None is the text of a memo that does not exist, or whose time has ended; so `text=None` removes it. The same
        transaction writes `events` to the outbox, if the memo is replaced.
        """

    @abstractmethod
    def endpoints(self) -> Sequence[Endpoint]:
        """Return the endpoints by their creation."""

    @abstractmethod
    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint, or None."""

    @abstractmethod
    def swap_endpoint(self, before: Endpoint | None, after: Endpoint | None) -> bool:
        """Replace an endpoint, if it is still `before`; return whether it was. None: there is none of this id.

        It gets every event that it wants and whose transaction is committed after this one. One that ends loses its
        outbox. The write is on disk when this returns.
        """

    @abstractmethod
    def health(self, endpoint_id: str) -> Health:
        """Return how an endpoint answers."""

    @abstractmethod
    def next_delivery(self, endpoint_id: str) -> float | None:
        """Return when the next message of an endpoint is due; None if none is pending."""

    @abstractmethod
    def take_deliveries(self, endpoint_id: str, limit: int, seconds: float) -> Sequence[Delivery]:
        """Begin an attempt of up to `limit` due messages, in the order of their events.

        Unless it is settled before, each is due again after `seconds`, because its worker has ended.
        """

    @abstractmethod
    def settle_deliveries(self, endpoint_id: str, settled: Sequence[Settled], health: Health | None = None) -> None:
        """Store the results of attempts, without those of outdated ones, and the health of their endpoint."""

    @abstractmethod
    def deliveries(self, endpoint_id: str, limit: int) -> Sequence[Delivery]:
        """Return the messages of an endpoint about the latest `limit` events, newest first."""

    @abstractmethod
    def delivery_counts(self, endpoint_id: str) -> Mapping[DeliveryState, int]:
        """Return the number of stored messages of an endpoint by their state."""

    @abstractmethod
    def replay(self, endpoint_id: str, since: float) -> int:
        """Make the stored messages of an endpoint about events since an instant due now; return how many."""

    @abstractmethod
    def queue_state(self, queue: str) -> QueueState:
        """Return a queue's run-time settings."""

    @abstractmethod
    def set_queue_state(self, queue: str, change: Callable[[QueueState], QueueState]) -> QueueState:
        """Change a queue's run-time settings for all its workers, and write the event if it is paused or resumed."""

    @abstractmethod
    def heartbeat(self, worker: WorkerInfo) -> None:
        """Save a worker's heartbeat."""

    @abstractmethod
    def forget_worker(self, worker_id: str) -> None:
        """Remove the heartbeat of a worker that has ended."""

    @abstractmethod
    def workers(self, queue: str | None = None, *, within: float) -> Sequence[WorkerInfo]:
        """Return the workers of a queue, or of all queues, whose latest heartbeat is at most `within` seconds old."""

    @abstractmethod
    def trim(self, retention: Retention) -> int:
        """Remove finished records beyond `retention`; return how many."""

    @abstractmethod
    def revision(self) -> object:
        """Return a version of the contents, for `wait` on the same thread. That thread's writes need not change it."""

    @abstractmethod
    def wait(self, revision: object, *, timeout: float, wake: Signal) -> None:
        """Block until the store has changed since `revision`, `timeout` seconds have passed, or `wake` is set.

        A `wakeup.WakeupEvent` is noticed at once, any other event within 0.2 s.
        """

    def find_damage(self, seconds: float) -> str:
        """Examine the store's file for at most `seconds`; return a description of the damage found, or nothing."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Close files and connections. Can be called again."""

    # Operations built on the primitives, the same in every store.

    def get_each(self, job_ids: Sequence[str]) -> Sequence[JobRecord]:
        """Return the records of these jobs in the given order, without the unknown ones."""
        return [record for job_id in job_ids if (record := self.get(job_id)) is not None]

    def pages(self, jobs: JobFilter, *, limit: int) -> Iterator[Page]:
        """Yield all pages of a list, newest first, of at most `limit` records each; some can be empty (see `Page`)."""
        cursor = None
        while True:
            page = self.page(jobs, limit=limit, cursor=cursor)
            yield page
            if (cursor := page.cursor) is None:
                return

    def require(self, job_id: str) -> JobRecord:
        """Return a job's record. Raises `JobNotFound`."""
        record = self.get(job_id)
        if record is None:
            raise JobNotFound(job_id)
        return record

    def require_schedule(self, name: str) -> Schedule:
        """Return a schedule. Raises `InvalidInput` if there is none of this name."""
        found = self.schedule(name)
        if found is None:
            known = ", ".join(one.name for one in self.schedules()) or "none"
            raise InvalidInput("name", f"no schedule is called {name[:60]!r}", next_step=f"schedules: {known}")
        return found

    def change_schedule(
        self, name: str, change: Callable[[Schedule], Schedule], topics: Sequence[Topic] = ()
    ) -> Schedule:
        """Replace a schedule by `change(schedule)`, which can be called again with a newer one; return the new one.

        `topics` are appended to its list, which `change` must count. Raises `InvalidInput` if there is no such
        schedule, and any error of `change`.
        """
        for _ in range(MOST_SWAPS):
            before = self.require_schedule(name)
            after = change(before)
            if self.swap_schedule(before, after, topics):
                return after
        raise StoreUnavailable(f"the schedule {name} is changed by others all the time", next_step="try again")

    def spent(self, since: str) -> Sequence[Spent]:
        """Return spending by day and service, oldest first, starting with the day `since`."""
        return spending(self.totals(DAY, since))

    def settle(self, job_id: str, token: str, outcome: Outcome) -> JobRecord:
        """Apply the outcome of a step and end its lease. Raises `LeaseLost`."""
        return self.update(job_id, _settling(token, outcome))

    def settle_each(self, steps: Sequence[tuple[str, str, Outcome]]) -> Sequence[JobRecord | Exception]:
        """Settle several steps (job id, token, outcome); return for each its record, or the error of `settle`."""
        try:
            return self.update_each([(job_id, _settling(token, outcome)) for job_id, token, outcome in steps])
        except StoreError as error:
            return [error] * len(steps)

    def release_lease(self, job_id: str, token: str) -> JobRecord:
        """End a lease without running a step; this is not an attempt. Raises `LeaseLost`."""
        return self.update(job_id, lambda record, now: lifecycle.release_lease(record, token, now))

    def mark_dispatched(self, deliveries: Mapping[str, int]) -> None:
        """Mark deliveries (job id to number) as dispatched; a job with a later delivery stays unchanged."""
        for job_id in deliveries:
            with suppress(JobNotFound):
                self.update(job_id, lambda record, now: lifecycle.dispatched(record, deliveries[record.job_id]))

    def expire_unstarted(self, limit: int) -> Sequence[JobRecord]:
        """End up to `limit` waiting jobs whose latest start has passed (see `lifecycle.starts`); return them."""
        ended = []
        for record in self.late_to_start(limit):
            with suppress(ActionRefused, JobNotFound):
                ended.append(self.update(record.job_id, lifecycle.expire_unstarted))
        return ended

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job. Raises `JobNotFound`, `ActionRefused`."""
        return self.update(job_id, lifecycle.cancel)

    def retry(self, job_id: str, changes: Terms | None = None) -> JobRecord:
        """Retry a failed or cancelled job. Raises `JobNotFound`, `ActionRefused`."""
        return self.update(job_id, lambda record, now: lifecycle.retry(record, now, changes))

    def resolve(self, job_id: str, resolution: Resolution) -> JobRecord:
        """Record an operator's resolution of an unknown create. Raises `JobNotFound`, `ActionRefused`."""
        return self.update(job_id, lambda record, now: lifecycle.resolve(record, now, resolution))

    # The submission journal (the interface `Journal` of `generation`).

    def intend(self, job_id: str, token: str, intent: Intent, budgets: Mapping[str, Budget] | None = None) -> JobRecord:
        """Journal the intent of a paid create, take an in-flight slot, and reserve its cost in every matching budget.

        `budgets` are those of the environment; the store's win. Raises `SlotsBusy`, `BudgetSpent`, `LeaseLost`.
        """
        return self.update(
            job_id,
            lambda record, now: lifecycle.intend(record, token, now, intent),
            slots=Slots(intent.service, intent.max_in_flight, intent.max_of_channel),
            budgets=BudgetCheck(budgets or {}, priced=intent.reserve is not None),
            on_disk=True,
        )

    def accept(self, job_id: str, receipt: Receipt) -> JobRecord:
        """Save the ticket of a submission; needs no lease."""
        return self.update(job_id, lambda record, now: lifecycle.accept(record, now, receipt), on_disk=True)

    def mark_unknown(self, job_id: str, *, submission_id: str, reason: str) -> JobRecord:
        """Journal that the outcome of a create is unknown."""
        return self.update(
            job_id, lambda record, now: lifecycle.mark_unknown(record, now, submission_id=submission_id, reason=reason)
        )

    def clear_submission(self, job_id: str, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
        """Journal proof that a submission bought nothing, and free its slot.

        With `token`, the proof covers only the create that was journaled under that lease.
        """
        return self.update(
            job_id,
            lambda record, now: lifecycle.clear_submission(
                record, now, submission_id=submission_id, reason=reason, token=token
            ),
        )
