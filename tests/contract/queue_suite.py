"""The conformance suite of queue backends: the behaviour that pulling and pushing backends share.

A queue backend's test module subclasses `QueueBackendSuite` and supplies one fixture, `system`: a running system of the
queue backend, workers with scripted steps, and a clock moved by hand. `PullSystem` is for queues that workers pull
from; a push queue backend supplies a server that delivers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord, Status, lifecycle
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Held, Outcome, Retry, Terms, Times, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.queues.base import MAX_CONCURRENT, MAX_RATE, JobQueue
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Added, DispatchLimits, WorkerInfo
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, ROOMY, TICKET, VIDEO, WIDE, new

#: Returns the outcome of a job's step, given the record and the current instant.
Play = Callable[[JobRecord, float], Outcome]


def done(record: JobRecord, now: float) -> Outcome:
    """Return a success."""
    return Done(VIDEO)


def wait(seconds: float, why: str = "rendering") -> Play:
    """Return a play that waits for some seconds."""
    return lambda record, now: Wait(now + seconds, why)


def retry(seconds: float) -> Play:
    """Return a play that fails and retries after some seconds."""
    return lambda record, now: Retry(now + seconds, FAILURE)


def dead(record: JobRecord, now: float) -> Outcome:
    """Return a permanent failure."""
    return Dead(FAILURE)


def held(record: JobRecord, now: float) -> Outcome:
    """Return an outcome that holds the job."""
    return Held(FAILURE)


@dataclass
class RunningSystem(ABC):
    """A queue backend with its workers. Each step is recorded and returns the next outcome of its job's script.

    A job whose script has ended succeeds. Before its first step a job journals a submission and its ticket, like a real
    one; if it is in `unanswered`, it gets no ticket.
    """

    clock: ManualClock
    store: JobStore = field(init=False)
    scripts: dict[str, deque[Play]] = field(default_factory=lambda: defaultdict(deque))
    unanswered: set[str] = field(default_factory=set)
    #: The instant and the job of each step.
    steps: list[tuple[float, str]] = field(default_factory=list)
    #: Limits that are never reached; a queue backend can have lower bounds.
    wide: DispatchLimits = WIDE

    @abstractmethod
    def queue(self, limits: DispatchLimits = WIDE) -> JobQueue:
        """Return a handle on the queue, as opened by a process whose environment sets these limits."""

    @abstractmethod
    def record(self, job_id: str) -> JobRecord:
        """Return the record of a job."""

    @abstractmethod
    def deliver(self) -> None:
        """Let the queue backend deliver everything that is due now, and the workers run those steps."""

    @abstractmethod
    def begin(self) -> list[str]:
        """Let the queue backend deliver without ending the steps; return the jobs that are newly leased."""

    @abstractmethod
    def finish(self, job_id: str) -> None:
        """Let the step of a leased job end with its scripted outcome."""

    def advance(self, seconds: float, *, tick: float = 0.5) -> None:
        """Advance the clock in ticks, delivering at each."""
        ends = self.clock.now() + seconds
        while self.clock.now() < ends - 1e-6:
            self.clock.set(min(ends, self.clock.now() + tick))
            self.deliver()

    def play(self, record: JobRecord) -> Outcome:
        """Return the scripted outcome of a step of this record."""
        script = self.scripts[record.job_id]
        return (script.popleft() if script else done)(record, self.clock.now())

    def submit(self, store: JobStore, record: JobRecord) -> None:
        """Journal a submission before the first step of a job."""
        if record.submission.ticket is not None:
            return
        job_id, submission_id = record.job_id, f"{record.job_id}.{record.seq}"
        store.intend(
            job_id,
            record.lease_token,
            Intent(submission_id=submission_id, service=ALPHA, lifetime=1e6, max_in_flight=1000),
        )
        if job_id not in self.unanswered:
            store.accept(job_id, Receipt(submission_id=submission_id, ticket=TICKET, lifetime=1e6))

    def times(self, job_id: str) -> list[float]:
        """Return the instants of a job's steps."""
        return [at for at, name in self.steps if name == job_id]


class PullSystem(RunningSystem):
    """A pull queue over any store, with one worker that claims and settles."""

    def __init__(self, store: JobStore, clock: ManualClock, name: str = "local", lease: float = 30.0) -> None:
        super().__init__(clock)
        self.store = store
        self.name = name
        self.lease = lease
        self._worker: PullQueue | None = None
        self._leased: dict[str, JobRecord] = {}

    def queue(self, limits: DispatchLimits = WIDE) -> JobQueue:
        # The worker is the process that opened the queue last.
        self._worker = PullQueue(self.name, self.store, limits, self.lease)
        return self._worker

    def record(self, job_id: str) -> JobRecord:
        return self.store.require(job_id)

    def deliver(self) -> None:
        while self.begin():
            for job_id in list(self._leased):
                self.finish(job_id)

    def begin(self) -> list[str]:
        assert self._worker is not None
        self.store.heartbeat(WorkerInfo("w-1", self.name, "host", 1, 10, self.clock.now()))
        claim = self._worker.claim("w-1", 1000, ROOMY)
        for record in claim.records:
            self.steps.append((self.clock.now(), record.job_id))
            self._leased[record.job_id] = record
        return [record.job_id for record in claim.records]

    def finish(self, job_id: str) -> None:
        assert self._worker is not None
        record = self._leased.pop(job_id)
        self.submit(self.store, record)
        self._worker.settle(record, self.play(record))


class QueueBackendSuite:
    """The suite; a test module with the fixture subclasses it."""

    @pytest.fixture
    def queue(self, system: RunningSystem) -> JobQueue:
        """Return a handle with limits that are never reached."""
        return system.queue()

    def test_enqueue(self, system: RunningSystem, queue: JobQueue) -> None:
        """An enqueued job is delivered and its outcome recorded."""
        assert queue.enqueue(new("a")) == Added(new=("a",), known=())
        assert system.record("a").queue == queue.name
        system.deliver()
        record = system.record("a")
        assert (record.status, record.result) == (Status.SUCCEEDED, VIDEO)
        assert system.times("a") == [system.clock.now()]

    def test_every_job_is_delivered(self, system: RunningSystem, queue: JobQueue) -> None:
        """Every one of many jobs runs its steps; none is lost, and none runs twice."""
        names = [f"j{number}" for number in range(120)]
        queue.enqueue(new(*names))
        system.advance(5)
        assert Counter(name for _, name in system.steps) == Counter(names)
        assert queue.status().counts.by_status[Status.SUCCEEDED] == 120

    def test_schedule(self, system: RunningSystem, queue: JobQueue) -> None:
        """A job for later is scheduled, and is delivered once it is due."""
        due = system.clock.now() + 60
        queue.enqueue(new("a", due=due))
        assert queue.status().counts.by_status[Status.SCHEDULED] == 1
        system.advance(59.5)
        assert system.steps == []
        system.advance(1)
        assert system.times("a") == [due]

    def test_duplicates(self, system: RunningSystem, queue: JobQueue) -> None:
        """A job is delivered once, however often its id is enqueued: before, during and after its steps."""
        system.scripts["a"].append(wait(5))
        assert queue.enqueue(new("a", "a")) == Added(new=("a",), known=("a",))
        assert queue.enqueue(new("a")).known == ("a",)
        system.deliver()
        assert queue.enqueue(new("a")).known == ("a",)
        system.advance(6)
        assert system.record("a").status is Status.SUCCEEDED
        assert queue.enqueue(new("a", "b")) == Added(new=("b",), known=("a",))
        system.advance(6)
        assert len(system.times("a")) == 2

    def test_retry_with_backoff(self, system: RunningSystem, queue: JobQueue) -> None:
        """A failed step is retried at the requested time; each failure counts, and a success resets the count."""
        system.scripts["a"].extend([retry(2), retry(4), retry(8), wait(1)])
        queue.enqueue(new("a"))
        start = system.clock.now()
        system.deliver()
        assert (system.record("a").attempts, system.record("a").error) == (1, FAILURE)
        system.advance(14)
        assert [at - start for at in system.times("a")] == [0, 2, 6, 14]
        assert (system.record("a").attempts, system.record("a").error) == (0, None)

    def test_wait(self, system: RunningSystem, queue: JobQueue) -> None:
        """A waiting job is delivered again at its time, as often as it asks, without counting an attempt."""
        system.scripts["a"].extend([wait(10), wait(30), wait(2700)])
        queue.enqueue(new("a"))
        start = system.clock.now()
        system.deliver()
        system.advance(2741, tick=10)
        assert [at - start for at in system.times("a")] == [0, 10, 40, 2740]
        assert (system.record("a").status, system.record("a").attempts) == (Status.SUCCEEDED, 0)

    def test_a_waiting_job_delays_no_other(self, system: RunningSystem) -> None:
        """Other jobs run while some wait, even if only one step may run at a time."""
        queue = system.queue(DispatchLimits(500.0, 1))
        system.scripts["a"].append(wait(100))
        queue.enqueue(new("a", "b"))
        system.advance(2)
        assert system.record("a").status is Status.RENDERING
        assert system.record("b").status is Status.SUCCEEDED

    def test_a_failed_job_is_kept(self, system: RunningSystem, queue: JobQueue) -> None:
        """A failed job is kept with its complete payload and the reason, and is not delivered again."""
        system.scripts["a"].append(dead)
        queue.enqueue(new("a", topic="The sea", prompt="Waves"))
        system.deliver()
        system.advance(50)
        record = system.record("a")
        assert (record.status, record.error, record.job.prompt) == (Status.FAILED, FAILURE, "Waves")
        assert len(system.steps) == 1
        assert queue.status().counts.by_status[Status.FAILED] == 1

    def test_held(self, system: RunningSystem, queue: JobQueue) -> None:
        """A held job waits for an operator and is not delivered again."""
        system.scripts["a"].append(held)
        system.unanswered.add("a")
        queue.enqueue(new("a"))
        system.deliver()
        system.advance(50)
        assert (system.record("a").status, len(system.steps)) == (Status.HELD, 1)

    def test_a_failing_job_delays_no_other(self, system: RunningSystem, queue: JobQueue) -> None:
        """While one job fails repeatedly, all others are delivered at once."""
        system.scripts["bad"].extend([retry(1)] * 20)
        queue.enqueue(new("bad", *(f"j{number}" for number in range(20))))
        start = system.clock.now()
        system.deliver()
        assert all(system.times(f"j{number}") == [start] for number in range(20))

    def test_pause_and_resume(self, system: RunningSystem, queue: JobQueue) -> None:
        """A paused queue accepts jobs but delivers none; after a resume it delivers them all."""
        system.scripts["a"].append(wait(5))
        queue.enqueue(new("a"))
        system.deliver()
        queue.pause()
        assert queue.status().paused
        assert queue.enqueue(new("b")).new == ("b",)
        system.advance(20)
        assert len(system.steps) == 1
        queue.resume()
        assert not queue.status().paused
        system.deliver()
        assert {system.record(name).status for name in ("a", "b")} == {Status.SUCCEEDED}

    def test_a_running_step_ends_while_paused(self, system: RunningSystem, queue: JobQueue) -> None:
        """A pause does not interrupt a running step: it ends, and its outcome is recorded."""
        queue.enqueue(new("a"))
        assert system.begin() == ["a"]
        queue.pause()
        system.finish("a")
        assert system.record("a").status is Status.SUCCEEDED

    def test_a_pause_applies_to_all_processes(self, system: RunningSystem, queue: JobQueue) -> None:
        """A pause is stored with the queue: a process that starts later finds it paused."""
        queue.pause()
        later = system.queue()
        assert later.status().paused
        later.enqueue(new("a"))
        system.advance(5)
        assert system.steps == []

    def change(self, system: RunningSystem, queue: JobQueue, change: Callable[[JobRecord, float], JobRecord]) -> None:
        """Change job `a` and dispatch its new delivery, as the engine does."""
        after = system.store.update("a", change)
        if after.undispatched:
            queue.dispatch([after])

    def test_an_edited_job_is_delivered_once(self, system: RunningSystem, queue: JobQueue) -> None:
        """A scheduled job that was edited runs once at its time, as edited."""
        due = system.clock.now() + 60
        queue.enqueue(new("a", due=due))
        edited = Terms(new("a", prompt="edited")[0].job, detail="changed prompt")
        self.change(system, queue, lambda record, now: lifecycle.edit(record, now, edited))
        system.advance(70)
        assert system.times("a") == [due]
        assert (system.record("a").job.prompt, system.record("a").status) == ("edited", Status.SUCCEEDED)

    @pytest.mark.parametrize("later", [30.0, 90.0])
    def test_a_rescheduled_job_is_delivered_once(self, system: RunningSystem, queue: JobQueue, later: float) -> None:
        """A job that was rescheduled, to an earlier or a later time, runs once at its new time."""
        start = system.clock.now()
        queue.enqueue(new("a", due=start + 60))
        self.change(system, queue, lambda record, now: lifecycle.reschedule(record, now, Times(start + later)))
        system.advance(100)
        assert system.times("a") == [start + later]

    def test_a_job_that_is_started_now(self, system: RunningSystem, queue: JobQueue) -> None:
        """A scheduled job that is started now runs now, and not at its old time."""
        queue.enqueue(new("a", due=system.clock.now() + 60))
        start = system.clock.now()
        self.change(system, queue, lifecycle.run_now)
        system.advance(100)
        assert [at - start for at in system.times("a")] == [pytest.approx(0, abs=1)]

    def test_an_expired_job_is_not_delivered(self, system: RunningSystem, queue: JobQueue) -> None:
        """A job that expires while its queue is paused has no step afterwards; a retry delivers it."""
        queue.pause()
        queue.enqueue(new("a", start_by=system.clock.now() + 10))
        system.advance(11)
        assert [record.job_id for record in system.store.expire_unstarted(9)] == ["a"]
        queue.resume()
        system.advance(5)
        assert (system.steps, system.record("a").status) == ([], Status.CANCELLED)
        self.change(system, queue, lifecycle.retry)
        system.advance(5)
        assert system.record("a").status is Status.SUCCEEDED

    def test_purge(self, system: RunningSystem, queue: JobQueue) -> None:
        """A purge cancels waiting jobs that have bought nothing; jobs with a ticket and leased jobs continue."""
        system.scripts["ticket"].append(wait(10))
        queue.enqueue(new("ticket"))
        system.deliver()
        queue.enqueue(new("leased"))
        assert system.begin() == ["leased"]
        queue.enqueue([*new("q1", "q2"), *new("later", due=system.clock.now() + 99)])
        assert queue.purge() == 3
        assert queue.purge() == 0
        assert {system.record(name).status for name in ("q1", "q2", "later")} == {Status.CANCELLED}
        system.finish("leased")
        system.advance(120, tick=5)
        assert {name for _, name in system.steps} == {"ticket", "leased"}
        assert {system.record(name).status for name in ("ticket", "leased")} == {Status.SUCCEEDED}

    def test_a_purge_of_many(self, system: RunningSystem, queue: JobQueue) -> None:
        """One purge cancels all waiting jobs, however many there are."""
        queue.enqueue(new(*(f"j{number}" for number in range(1201))))
        assert queue.purge() == 1201
        system.advance(1)
        assert system.steps == []

    @pytest.mark.parametrize("rate", [10.0, 50.0])
    def test_rate(self, system: RunningSystem, rate: float) -> None:
        """In any span of time, no more steps start than burst and rate allow, and almost as many do start."""
        queue = system.queue(DispatchLimits(rate, 1000))
        queue.enqueue(new(*(f"j{number}" for number in range(200))))
        system.deliver()
        system.advance(3, tick=0.05)
        times = [at for at, _ in system.steps]
        burst = max(1.0, rate / 5)
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-3
        assert len(times) >= 0.95 * 3 * rate

    def test_concurrency(self, system: RunningSystem) -> None:
        """No more steps run concurrently than the limit; each step that ends lets the next one start."""
        queue = system.queue(DispatchLimits(500.0, 3))
        queue.enqueue(new(*(f"j{number}" for number in range(5))))
        first = system.begin()
        assert len(first) == 3
        assert system.begin() == []
        system.finish(first[0])
        system.clock.advance(1)
        assert len(system.begin()) == 1

    def test_limits_changed_at_run_time(self, system: RunningSystem) -> None:
        """A run-time limit applies at once, also to processes whose environment sets another limit."""
        queue = system.queue(DispatchLimits(100.0, 2))
        assert queue.status().set_at_run_time == ()
        assert queue.set_limits(None, 4) == DispatchLimits(100.0, 4)
        assert queue.set_limits(50.0, None) == DispatchLimits(50.0, 4)
        later = system.queue(DispatchLimits(7.0, 1))
        status = later.status()
        assert status.limits == DispatchLimits(50.0, 4)
        assert set(status.set_at_run_time) == {"max_dispatches_per_second", "max_concurrent_dispatches"}
        later.enqueue(new(*(f"j{number}" for number in range(10))))
        assert len(system.begin()) == 4

    def test_one_limit_changed_leaves_the_other(self, system: RunningSystem) -> None:
        """Only the changed limit wins over the environment; the others stay those of the environment."""
        system.queue(DispatchLimits(100.0, 2)).set_limits(50.0, None)
        status = system.queue(DispatchLimits(7.0, 1)).status()
        assert status.limits == DispatchLimits(50.0, 1)
        assert status.set_at_run_time == ("max_dispatches_per_second",)

    @pytest.mark.parametrize(
        ("rate", "concurrent", "field"),
        [
            (0.0, None, "max_dispatches_per_second"),
            (-1.0, None, "max_dispatches_per_second"),
            (float("nan"), None, "max_dispatches_per_second"),
            (float("inf"), None, "max_dispatches_per_second"),
            (MAX_RATE + 1, None, "max_dispatches_per_second"),
            (None, 0, "max_concurrent_dispatches"),
            (None, MAX_CONCURRENT + 1, "max_concurrent_dispatches"),
            (5.0, -1, "max_concurrent_dispatches"),
        ],
    )
    def test_impossible_limits(self, queue: JobQueue, rate: float | None, concurrent: int | None, field: str) -> None:
        """A limit that not every queue backend supports is refused by name, and nothing changes."""
        with pytest.raises(InvalidInput) as refusal:
            queue.set_limits(rate, concurrent)
        assert refusal.value.field == field
        assert queue.status().set_at_run_time == ()

    def test_the_bounds_are_possible(self, queue: JobQueue) -> None:
        """The largest limits are accepted."""
        assert queue.set_limits(MAX_RATE, MAX_CONCURRENT) == DispatchLimits(MAX_RATE, MAX_CONCURRENT)

    def test_statistics(self, system: RunningSystem, queue: JobQueue) -> None:
        """The status reports the queue backend, the limits, the jobs by status, and the oldest due time."""
        start = system.clock.now()
        system.scripts["rendering"].append(wait(1000))
        system.scripts["dead"].append(dead)
        queue.enqueue(new("rendering", "dead", "done"))
        system.deliver()
        queue.enqueue(new("later", due=start + 500))
        system.clock.advance(10)
        queue.pause()
        queue.enqueue(new("q1", "q2"))
        system.clock.advance(10)
        status = queue.status()
        assert (status.queue_type, status.limits, status.paused) == (queue.name, system.wide, True)
        assert {name: number for name, number in status.counts.by_status.items() if number} == {
            Status.RENDERING: 1, Status.FAILED: 1, Status.SUCCEEDED: 1, Status.SCHEDULED: 1, Status.QUEUED: 2,
        }  # fmt: skip
        assert status.counts.oldest_due == start + 10
        assert status.counts.unfinished == 4
        assert status.workers_alive in (None, 1)

    def test_workers_alive(self, system: RunningSystem, queue: JobQueue) -> None:
        """If the queue backend knows its workers, a worker without recent heartbeats is not counted."""
        queue.enqueue(new("a"))
        system.deliver()
        alive = queue.status().workers_alive
        system.clock.advance(3600)
        assert (alive, queue.status().workers_alive) in ((1, 0), (None, None))
