"""Prepare, step, cancel, retry and resolve jobs with the open components of a process (see `composition`)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from threading import Event
from typing import Any

import msgspec

from tenxsom_flow_engine.budgets.forecast import Overrun, PlannedCost
from tenxsom_flow_engine.clock import CLOCK_TOLERANCE, Clock, SystemClock
from tenxsom_flow_engine.errors import (
    Action,
    ActionRefused,
    ConfigurationError,
    InvalidInput,
    JobNotFound,
    QueueError,
    Rejected,
    ServiceError,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from tenxsom_flow_engine.generation.budget_gate import BudgetGate
from tenxsom_flow_engine.generation.channel_gate import ChannelGate
from tenxsom_flow_engine.generation.routing import (
    Candidate,
    auto_services,
    candidates,
    candidates_of,
    highest_price,
)
from tenxsom_flow_engine.generation.runner import StepRunner
from tenxsom_flow_engine.generation.slots import MOST_SLOTS, UnattendedSlots, free_slots
from tenxsom_flow_engine.generation.step import expected_cost
from tenxsom_flow_engine.jobs import (
    AUTO,
    FINAL,
    PLAYLIST_POSITION,
    EventKind,
    JobRecord,
    SubmissionState,
    Ticket,
    VideoJob,
    lifecycle,
)
from tenxsom_flow_engine.jobs.codec import check_options
from tenxsom_flow_engine.jobs.legacy import read_legacy
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, GiveUp, Outcome, Resubmit, Terms, Times, Withdraw
from tenxsom_flow_engine.logs import Redactor
from tenxsom_flow_engine.notifiers.base import Notifier
from tenxsom_flow_engine.output.base import Output, Publication
from tenxsom_flow_engine.output.keep import KeepVideos
from tenxsom_flow_engine.output.opening import open_output
from tenxsom_flow_engine.output.retention import to_remove
from tenxsom_flow_engine.planning.planner import Planner
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.planning.timestamps import bounded
from tenxsom_flow_engine.queues.base import JobQueue, PullsJobs
from tenxsom_flow_engine.queues.selection import HomeQueue, OtherStore
from tenxsom_flow_engine.queues.stores import open_ledger
from tenxsom_flow_engine.rate_limits.base import MovedUp, QuotaGate
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import Cancels, VideoService
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.base import JobStore, LegacyImport
from tenxsom_flow_engine.store.outage import Outage
from tenxsom_flow_engine.store.retrying import RetryingWrites
from tenxsom_flow_engine.store.values import Added, ImportResult, NewJob, Retention
from tenxsom_flow_engine.text import clock_lead
from tenxsom_flow_engine.timings import Timings

_log = logging.getLogger(__name__)

#: Jobs read at a time to end those that could not start in time.
EXPIRE_CHUNK = 500
#: Waiting jobs of each lane for which a sweep looks whether they have turns.
ENTER_TURNS = 500
#: The fields of a job that can be changed.
CHANGEABLE = frozenset(
    {"topic", "prompt", "script", "style", "duration", "aspect_ratio", "quality", "service", "options"}
)


class Engine:
    """The open components of one process, and the operations on jobs.

    All components are passed in. `gate` is asked before each paid create; it defaults to `limiter`, which operators
    inspect and configure. Without a `limiter`, one is made whose ledger is in the store. `open_queue` opens the
    backend of a job that belongs to another queue. `home` remembers the queue of the first job. What the gates
    remember of the store expires by the clock `monotonic`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: JobStore,
        queue: JobQueue,
        services: Mapping[str, VideoService],
        limiter: RateLimiter | None = None,
        gate: QuotaGate | None = None,
        output: Output | None = None,
        retry: RetryPolicy = RetryPolicy(),
        timings: Timings = Timings(),
        clock: Clock | None = None,
        open_queue: Callable[[str], JobQueue] | None = None,
        queue_reason: str = "",
        home: HomeQueue | None = None,
        known_services: Collection[str] = (),
        notifiers: Mapping[str, Notifier] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.store = store
        self.queue = queue
        self.services = services
        self.limiter = limiter or RateLimiter(open_ledger(store, timings), settings.limits, services, monotonic)
        self.gate = gate or self.limiter
        self.budgets = BudgetGate(
            store, settings.budgets, timings, unknown_price=settings.unknown_price, monotonic=monotonic
        )
        self.channels = ChannelGate(store, timings, monotonic)
        self.planner = Planner(store, self, settings.schedule_horizon)
        self.output = output or open_output(settings.output_dir, settings.work_dir, settings.bucket_keys)
        self.timings = timings
        self.clock = clock or SystemClock()
        #: Why this queue backend was chosen.
        self.queue_reason = queue_reason
        self.home = home
        #: How this process delivers messages about events, by the kind of endpoint.
        self.notifiers = notifiers or {}
        self.retention = Retention(age=settings.keep_days * 86400, count=settings.keep_jobs)
        #: Set by a forced stop: writes that fail are no longer repeated.
        self.abandon = Event()
        self._open_queue = open_queue
        #: The names of all services that exist, configured or not.
        self._known_services = frozenset(known_services) | services.keys()
        #: The outages of the store, as the threads of this process notice them.
        self.store_outage = Outage(_log, "the store")
        self._persist = RetryingWrites(self.abandon, timings, self.store_outage)
        self._runner = StepRunner(
            services,
            store,
            self.output,
            self.gate,
            self.budgets,
            self.channels,
            persist=self._persist,
            retry=retry,
            timings=timings,
            redactor=Redactor(settings.secrets),
            min_requeue_delay=queue.min_requeue_delay if queue.pushes else None,
        )

    @property
    def slots(self) -> Mapping[str, int]:
        """The maximum number of generations in flight at each service of this process."""
        return {name: service.max_in_flight for name, service in self.services.items()}

    @property
    def auto_services(self) -> frozenset[str]:
        """The services that `auto` can choose from."""
        return auto_services(self.services)

    def closed_services(self) -> Mapping[str, float]:
        """Return the services known to admit no create, by their gates or their budgets, and until when."""
        closed, spent = self.gate.closed(), self.budgets.closed(self.services)
        return {name: max(closed.get(name, 0.0), spent.get(name, 0.0)) for name in {**closed, **spent}}

    def prepare(self, job: VideoJob, due: float | None = None, start_by: float | None = None) -> Prepared:
        """Fit a job to the service that it names, or check that some service can make it.

        `start_by` is the instant at which it expires if it has bought nothing by then. Raises `InvalidInput` with the
        reason for each service.
        """
        self._check_times(due, start_by)
        check_options(job)
        self._check_names(job)
        self.queue.check(job, due)
        able = candidates(job, self.services)
        best, notes = able[0], able[0].fit.notes
        stored, max_usd = self._stored_form(job, able)
        if stored.service != job.service:
            notes = (*notes, f"no paid service is configured, so this is a free {stored.service}")
        new = NewJob(stored, due, best.cost, max_usd, start_by)
        return Prepared(new, best.service.name, best.service.prompt(best.fit.job), notes)

    def overruns(self, jobs: Iterable[Prepared]) -> Sequence[Overrun]:
        """Return which prepared jobs do not fit into the budgets, in sentences; other waiting jobs are not counted."""
        now = self.store.now()
        return self.budgets.overruns(
            PlannedCost(
                at=max(now, item.new.due or now),
                channel=item.new.job.channel,
                service=item.service,
                micro_usd=self.budgets.reserve(item.new.cost),
                key_id=item.new.job.key_id,
            )
            for item in jobs
        )

    @staticmethod
    def _stored_form(job: VideoJob, able: Sequence[Candidate]) -> tuple[VideoJob, float | None]:
        """Return a job as it is stored, and the highest price in USD that it may cost."""
        best = able[0]
        if job.service != AUTO:
            return best.fit.job, None
        if best.service.is_fallback:
            # It was planned as free, and must stay free when a paid service is configured later.
            return msgspec.structs.replace(best.fit.job, service=best.service.name), None
        # Stored unfitted, because the best service is only known when the job is due.
        return job, highest_price(able)

    def at_default_duration(self, job: VideoJob) -> VideoJob:
        """Return a job whose user gave no duration with the one that suits it at the service that would make it now.

        Raises `InvalidInput` like `prepare`.
        """
        self._check_names(job)
        best = candidates(job, self.services)[0].service
        return msgspec.structs.replace(job, duration=best.default_duration(job))

    def with_channel_defaults(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of a job, with the defaults of its channel for those that are missing."""
        return self.channels.settings(str(fields.get("channel", "")).strip()).for_job(fields)

    def _check_names(self, job: VideoJob) -> None:
        """Raise `InvalidInput` for a service that is not configured, and for options of one that does not exist."""
        if job.service in self._known_services - self.services.keys():
            step = f"see docs/services/{job.service}.md"
            raise InvalidInput("service", f"{job.service} is not configured", next_step=step)
        if unknown := sorted(job.options.keys() - self._known_services - {PLAYLIST_POSITION}):
            services = ", ".join(sorted(self._known_services))
            raise InvalidInput("options", f"unknown service {unknown[0]!r}", next_step=f"use one of: {services}")

    def _check_times(self, due: float | None, start_by: float | None) -> None:
        """Raise `InvalidInput` for an impossible instant, and `ConfigurationError` if a due time would be wrong."""
        if start_by is not None:
            bounded(start_by, "start_by")
        if due is not None:
            bounded(due, "at")
            self._check_clock()

    @property
    def clock_lead(self) -> float:
        """Seconds by which the store's time is ahead of this machine's clock; negative if it is behind."""
        return self.store.now() - self.clock.now()

    def _check_clock(self) -> None:
        """Raise `ConfigurationError` if start times would be wrong."""
        lead = self.clock_lead
        if abs(lead) > CLOCK_TOLERANCE:
            raise ConfigurationError(
                f"the store's clock is {clock_lead(lead)} this machine's, so start times would be wrong",
                next_step="set the clocks of all machines: timedatectl set-ntp true",
                actions=(Action.REPAIR_CLOCK,) if lead > 0 else (),
            )

    def add(self, jobs: Iterable[NewJob]) -> Added:
        """Add prepared jobs to the queue (see `JobQueue.enqueue`). Raises `QueueError`, `StoreError`."""
        self.remember_queue()  # first: jobs must not be in a queue that the home does not know
        return self.queue.enqueue(jobs)

    def remember_queue(self) -> None:
        """Let the home keep its queue from now on, if no setting names one."""
        if self.home is not None:
            self.home.remember()

    @property
    def other_stores(self) -> Sequence[OtherStore]:
        """The stores of this home that this engine does not use, and that have unfinished jobs."""
        return self.home.other_stores() if self.home is not None else ()

    def step(self, record: JobRecord, settling: Callable[[JobRecord], object] = lambda record: None) -> JobRecord:
        """Run one step of a leased job and apply its outcome. `settling` is called in between.

        Raises `LeaseLost` if another worker owns the job, `StoreError` if the store cannot be used.
        """
        outcome = self.run(record)
        settling(record)
        return self._persist(lambda: self.queue.settle(record, outcome), f"the outcome of {record.job_id}")

    def run(self, record: JobRecord) -> Outcome:
        """Run one step of a leased job, and return its outcome to settle. Raises `LeaseLost`, `StoreError`."""
        return self._runner.run(record)

    def settle_each(self, steps: Sequence[tuple[JobRecord, Outcome]]) -> Sequence[JobRecord | Exception]:
        """Apply the outcomes of steps of pulled jobs; return for each its record, or the error that `step` raises."""
        assert isinstance(self.queue, PullsJobs)
        settle_each, away = self.queue.settle_each, (StoreUnavailable, StoreFull)
        results: list[JobRecord | Exception] = [StoreUnavailable("not tried yet")] * len(steps)

        def settle_unsaved() -> None:
            unsaved = [index for index, result in enumerate(results) if isinstance(result, away)]
            for index, result in zip(unsaved, settle_each([steps[index] for index in unsaved]), strict=True):
                results[index] = result
            for result in results:
                if isinstance(result, away):
                    raise result

        what = ", ".join(record.job_id for record, _ in steps[:3]) + (" and others" if len(steps) > 3 else "")
        with suppress(*away):  # the worker ends; the results have the errors
            self._persist(settle_unsaved, f"the outcome of {what}")
        return results

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job, and its generation if the service supports that. Raises `JobNotFound`, `ActionRefused`."""
        record = self.store.cancel(job_id)
        self._leave_the_line(record)
        service, ticket = self.services.get(record.service), record.submission.ticket
        if service is None or ticket is None or not record.holds_slot or not isinstance(service, Cancels):
            return record
        try:
            service.check_ticket(ticket)
            service.cancel(ticket)
        except (ServiceError, InvalidInput) as error:
            _log.warning("could not stop the generation of the cancelled job %s: %s", job_id, error)
            return record
        return self.store.update(job_id, lifecycle.render_stopped)

    def _leave_the_line(self, record: JobRecord) -> None:
        """Let the last job that waits for a quota take the place of a cancelled job that waited for it too."""
        if all(event.what != EventKind.WAITING for event in record.events):
            return
        name = record.effective_service
        for service in self.auto_services if name == AUTO else (name,):
            try:
                if moved := self.limiter.forget(service, record.job_id):
                    self._move_up(moved)
            except (QueueError, StoreError) as error:
                _log.warning("no job moves up to the place of the cancelled job %s: %s", record.job_id, error)

    def _move_up(self, moved: MovedUp) -> None:
        with suppress(ActionRefused, JobNotFound):  # it has just been claimed, or the waiter is not a job
            self.dispatch(
                self.store.update(
                    moved.waiter_id, lambda record, now: lifecycle.move_up(record, moved.ask_again_at, now)
                )
            )

    def retry(self, job_id: str, changes: Mapping[str, Any] | None = None) -> JobRecord:
        """Retry a failed or cancelled job, at the present prices if it is bought again.

        `changes` are new values of fields of the job, which is possible only if it is bought again. Raises
        `JobNotFound`, `ActionRefused`, `QueueError`, and `InvalidInput` if no service can make the changed job.
        """
        return self.dispatch(self.store.retry(job_id, self.new_terms(self.store.require(job_id), changes or {})))

    def new_terms(self, record: JobRecord, changes: Mapping[str, Any]) -> Terms | None:
        """Return the terms on which a job is bought, with changed fields; None if it is not, or not by this process.

        New options keep the job's position in the playlist, which no form or file of options has.
        Raises `InvalidInput` if fields are changed and no service can make the job.
        """
        if unknown := sorted(changes.keys() - CHANGEABLE):
            raise InvalidInput(unknown[0], f"cannot be changed; only {', '.join(sorted(CHANGEABLE))} can")
        position = record.job.options.get(PLAYLIST_POSITION)
        if position is not None and isinstance(options := changes.get("options"), Mapping):
            changes = {**changes, "options": {PLAYLIST_POSITION: position, **options}}
        job = msgspec.structs.replace(record.job, **changes)
        changed = [name for name in changes if getattr(job, name) != getattr(record.job, name)]
        if not changed:
            try:
                # The person accepts the present price; but a job that was planned as free stays free.
                able = candidates_of(msgspec.structs.replace(record, max_usd=None), self.services)
            except InvalidInput:  # the worker has other services, or reports the reason
                return None
            return Terms(*self._stored_form(job, able), able[0].cost) if lifecycle.buys_again(record) else None
        self._check_names(job)
        self.queue.check(job, None)
        able = candidates(job, self.services)
        return Terms(*self._stored_form(job, able), able[0].cost, f"changed {', '.join(changed)}")

    def edit(self, job_id: str, changes: Mapping[str, Any], times: Times | None = None) -> JobRecord:
        """Change fields of a job that has bought nothing, at the present prices, and optionally its times.

        A failed or cancelled job keeps its status unless its times change. Raises `JobNotFound`, `ActionRefused`,
        `QueueError`, and `InvalidInput` if no service can make the changed job.
        """
        before = self.store.require(job_id)
        terms = self.new_terms(before, changes)

        def change(record: JobRecord, now: float) -> JobRecord:
            if record.job != before.job:
                raise ActionRefused(f"job {job_id} has just been changed by someone else", next_step="try again")
            after = lifecycle.edit(record, now, terms) if terms and terms.detail else record
            if times is not None:
                after = lifecycle.reschedule(after, now, times)
            if (after.job, after.due, after.start_by) == (record.job, record.due, record.start_by):
                raise ActionRefused(f"job {job_id} stays as it is: nothing would change")
            return after

        if times is not None:
            self._check_new_times(before, times)
        return self._changed(before, self.store.update(job_id, change))

    def reschedule(self, job_id: str, times: Times) -> JobRecord:
        """Give a job that has bought nothing another due time; a failed or cancelled job is retried then.

        Raises `JobNotFound`, `ActionRefused`, `QueueError`, `InvalidInput`.
        """
        return self.edit(job_id, {}, times)

    def run_now(self, job_id: str) -> JobRecord:
        """Let a waiting job that has bought nothing start now. Raises `JobNotFound`, `ActionRefused`, `QueueError`."""
        return self._changed(self.store.require(job_id), self.store.update(job_id, lifecycle.run_now))

    def _check_new_times(self, record: JobRecord, times: Times) -> None:
        """Raise `InvalidInput` for times that are impossible, or that the queue of the job does not support."""
        self._check_times(times.due, None if times.start_by == math.inf else times.start_by)
        due = record.due if times.due is None else times.due
        if due is not None and times.start_by is not None and times.start_by < due:
            raise InvalidInput("start_by", "lies before the start")
        if record.queue == self.queue.name:
            self.queue.check(record.job, times.due)

    def _changed(self, before: JobRecord, after: JobRecord) -> JobRecord:
        """Dispatch the new delivery of a changed job; it gives up its place in the line for a quota."""
        if after.seq != before.seq and (after.job.service != before.job.service or after.due != before.due):
            self._leave_the_line(before)
        return self.dispatch(after)

    def resolve(
        self,
        job_id: str,
        decision: Resubmit | GiveUp | Withdraw | Ticket,
        *,
        service_name: str = "",
        force: bool = False,
    ) -> JobRecord:
        """Apply a user's decision on a create of unknown outcome; a ticket means that it was bought.

        Until the video exists, another decision can replace a ticket. The service is asked whether it knows the ticket,
        unless `force` is set. For an `auto` job, `service_name` names the service of the ticket: after the loss of a
        store, the record can have none, or another one. Raises `JobNotFound`, `ActionRefused`, `QueueError`, and
        `InvalidInput` for a malformed ticket.
        """
        if not isinstance(decision, Ticket):
            return self.dispatch(self.store.resolve(job_id, decision))
        record = self.store.require(job_id)
        if service_name and record.job.service not in (AUTO, service_name):
            raise InvalidInput("service", f"is {record.job.service} for this job, not {service_name!r}")
        name = service_name or record.service
        service = self.services.get(name)
        can_continue = record.submission.state is SubmissionState.UNKNOWN or lifecycle.can_be_corrected(record)
        if service is None and can_continue:
            raise ActionRefused(
                f"job {job_id} is unchanged: its service {name} is not configured in this process"
                if name
                else f"job {job_id} is unchanged: its service is unknown, so a ticket cannot be polled",
                next_step="run this where the service is configured" if name else "",
                actions=() if name else (Action.NAME_SERVICE,),
                subject=job_id,
            )
        if service is not None:
            service.check_ticket(decision)
            if can_continue and record.lease is None and not force:
                _require_known(service, decision, job_id)
        lifetime = service.lifetime if service else 0.0  # unused: the store refuses, since the outcome is known
        cost = expected_cost(record.job, service) if service else None
        return self.dispatch(self.store.resolve(job_id, ConfirmedPurchase(decision, lifetime, cost, name)))

    def dispatch(self, record: JobRecord) -> JobRecord:
        """Dispatch a job's next delivery to the queue that owns it, if that queue pushes; return the record."""
        if not record.undispatched:
            return record
        if record.queue == self.queue.name or self._open_queue is None:
            self.queue.dispatch([record])
            return record
        queue = self._open_queue(record.queue)  # several queues can share a store
        try:
            queue.dispatch([record])
        finally:
            queue.close()
        return record

    @property
    def paused(self) -> bool:
        """Whether the queue was paused by a command or a page, and still is."""
        if not self.store.queue_state(self.queue.name).paused:
            return False
        try:
            return self.queue.status().paused
        except QueueError:  # it cannot be reached, so the stored state is the best known
            return True

    @property
    def unattended(self) -> bool:
        """Whether the queue needs a pull worker and none is alive."""
        return not self.queue.pushes and not self.queue.status().workers_alive

    def import_legacy(self) -> ImportResult:
        """Import the entries of the legacy list as jobs, if the store supports such a list."""
        if not isinstance(self.store, LegacyImport):
            return ImportResult()
        return self.store.import_legacy(self.queue.name, lambda entry: self.prepare(read_legacy(entry)).new)

    def unattended_slots(self, service: str) -> UnattendedSlots:
        """Return the jobs that hold in-flight slots of a service although no worker polls them."""
        return UnattendedSlots.among(self.store.slot_holders(service, MOST_SLOTS))

    def free_slots(self, owner: str) -> None:
        """Free the slots of generations that no worker polls and that have ended; one owner at a time does this."""
        if not self.store.acquire_lock("slots", owner, self.timings.slot_check_interval):
            return
        for service in self.services.values():
            try:
                free_slots(service, self.store, settle_margin=self.timings.create_settle_margin)
            except ServiceError as error:
                _log.info("%s cannot be asked whether its slots are free: %s", service.name, error)

    def plan_schedules(self, owner: str) -> None:
        """Plan the next slots of all schedules; one owner at a time does this. Raises `StoreError`, `QueueError`."""
        if self.store.acquire_lock("schedules", owner, self.timings.schedule_interval):
            self.planner.plan_all()

    def check_output(self) -> None:
        """Raise `OutputError` unless videos can be published, `OutputAway` if only for now."""
        self.output.check()

    def empty_spool(self) -> None:
        """Publish the videos that wait on this machine for the bucket. Raises `OutputError`."""
        self.output.deliver()

    def may_remove_video(self, publication: Publication) -> bool:
        """Whether retention may remove a video: its job has ended, so every publication of it is settled."""
        record = self.store.get(publication.job_id)
        return record is None or record.status in FINAL

    def videos_to_remove(self, keep: KeepVideos) -> Sequence[Publication]:
        """Return the videos that a rule of retention removes now. Raises `OutputError`, `StoreError`."""
        return to_remove(self.output.publications(), keep, self.clock.now(), self.may_remove_video)

    def prune_videos(self, owner: str) -> int:
        """Remove the videos beyond `TENXSOM_KEEP_VIDEOS`, and files of unfinished uploads; return how many.

        One owner at a time does this. Raises `OutputError`, `StoreError`.
        """
        keep = self.settings.keep_videos
        if self.output.local and not keep.limited:
            return 0
        if not self.store.acquire_lock("videos", owner, self.timings.prune_interval):
            return 0
        removed = self.videos_to_remove(keep)
        for one in removed:
            self.output.remove(one.name)
        return len(removed)

    def expire_unstarted(self) -> int:
        """End the waiting jobs whose latest start has passed; return how many. They have bought nothing."""
        count = 0
        while ended := self.store.expire_unstarted(EXPIRE_CHUNK):
            count += len(ended)
            for record in ended:
                self._leave_the_line(record)
        return count

    def sweep(self) -> None:
        """Remove old records, and temporary files that killed workers left on this machine."""
        self.store.trim(self.retention)
        self.store.enter_missing_turns(self.queue.name, ENTER_TURNS)
        self.output.sweep()
        for service in self.services.values():
            service.sweep()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the queue and the store. Safe to call twice."""
        self.queue.close()
        self.store.close()


def _require_known(service: VideoService, ticket: Ticket, job_id: str) -> None:
    """Raise `ActionRefused` unless a service knows a ticket that a person entered."""
    step = "check the ticket"
    try:
        if service.knows(ticket):
            return
        reason = f"{service.name} knows no generation {ticket.id!r}"
    except Rejected as error:
        reason = f"{service.name} refuses the ticket {ticket.id!r}: {error.reason}"
    except ServiceError as error:
        reason = f"{service.name} cannot be asked about the ticket: {error.reason}"
        step = "try again later"
    raise ActionRefused(
        f"job {job_id} is unchanged: {reason}", next_step=step, actions=(Action.ACCEPT_UNSEEN,), subject=job_id
    )
