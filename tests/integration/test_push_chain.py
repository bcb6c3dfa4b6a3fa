"""Jobs on Cloud Tasks without the web layer: a chain of deliveries under failures of its parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.errors import Action, ActionRefused, InvalidInput, LeasedElsewhere, QueueUnavailable, Stopping
from tenxsom_flow_engine.jobs import EventKind, Status, SubmissionState, Ticket
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.lifecycle import MAX_EXPIRIES
from tenxsom_flow_engine.rate_limits.windows import parse_windows
from tenxsom_flow_engine.services.base import Progress
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, new
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.workers.push import Delivered
from tests.push_chain import Chain, Death, Killed

MakeChain = Callable[..., Chain]
#: The caller does not repeat the creation of a task.
NO_REPEATS = Timings(task_create_retry=0)


@pytest.fixture
def server(clock: ManualClock) -> Iterator[CloudTasksServer]:
    with CloudTasksServer(clock) as server:
        yield server


@pytest.fixture
def make_chain(tmp_path: Path, clock: ManualClock, server: CloudTasksServer) -> Iterator[MakeChain]:
    made: list[Chain] = []
    numbers = itertools.count()

    def make(**options: Any) -> Chain:
        service = ScriptedService(clock, idempotency_window=86400.0)
        service.video = tiny_video("9:16", 5)
        number = next(numbers)
        made.append(Chain(tmp_path / str(number), clock, server, service, queue=f"videos-{number}", **options))
        return made[-1]

    yield make
    for chain in made:
        chain.close()


@pytest.fixture
def chain(make_chain: MakeChain) -> Chain:
    return make_chain()


def service_of(chain: Chain) -> ScriptedService:
    assert isinstance(chain.service, ScriptedService)
    return chain.service


def made_once(chain: Chain, job_id: str = "job-1") -> None:
    """Check that a job was bought once and published."""
    record = chain.record(job_id)
    assert record.status is Status.SUCCEEDED, (record.error, record.events)
    assert record.result is not None
    assert Path(record.result.path).is_file()
    assert len([ticket for ticket in service_of(chain).sold if f"/{job_id}." in ticket.id]) == 1


def test_a_job_is_made(chain: Chain) -> None:
    """A job's steps run one after the other, each in a separate delivery, until its video is published."""
    chain.queue.enqueue(new("job-1"))
    chain.play()
    made_once(chain)
    assert [outcome.worked for outcome in chain.outcomes if isinstance(outcome, Delivered)] == [True, True, True]
    assert len({delivery.task for delivery in chain.server.deliveries}) == len(chain.server.deliveries) == 3


def test_a_worker_may_die_at_any_moment(make_chain: MakeChain) -> None:
    """A worker that is killed before or after any of its actions loses no job and buys none twice."""
    for after in (False, True):
        for number in itertools.count(1):
            death = Death(number, after)
            chain = make_chain(death=death)
            chain.queue.enqueue(new("job-1"))
            chain.play()
            made_once(chain)
            if not death.dead:
                break
            # The next delivery can arrive before the previous step has ended, so two steps can die at once.
            assert any(isinstance(outcome, Killed) for outcome in chain.outcomes)
        assert number > 10


def test_a_job_that_kills_every_worker_is_dead(chain: Chain) -> None:
    """Repeated deaths of a delivery's workers lead to a dead letter, and the queue continues."""
    service = service_of(chain)

    def kill(call: str) -> None:
        if call == "check":
            raise Killed

    service.on_call = kill
    chain.queue.enqueue(new("job-1"))
    chain.play()
    record = chain.record()
    assert (record.status, record.expiries) == (Status.FAILED, MAX_EXPIRIES)
    assert record.error is not None
    assert Action.RETRY in record.error.actions
    service.on_call = lambda call: None
    chain.producer.retry("job-1")
    chain.play()
    made_once(chain)


def test_duplicates_and_disorder(chain: Chain) -> None:
    """Deliveries that are duplicated, simultaneous, out of order or repeated after a lost response do no harm."""
    faults = chain.server.faults
    faults.shuffle = Random(7)
    faults.deliver_twice(20)
    faults.miss_answers(15)
    names = [f"j{number}" for number in range(8)]
    chain.queue.enqueue(new(*names))
    chain.play()
    for name in names:
        made_once(chain, name)
    assert any(isinstance(outcome, LeasedElsewhere) or not outcome.worked for outcome in chain.outcomes
               if isinstance(outcome, LeasedElsewhere | Delivered))  # fmt: skip
    assert not any(isinstance(outcome, Killed | InvalidInput) for outcome in chain.outcomes)


@pytest.mark.parametrize("fault", ["refuse", "lose_answer"])
def test_a_follow_up_that_fails(make_chain: MakeChain, fault: str) -> None:
    """A next delivery that could not be created is created when the previous one is sent again; no chain ends."""
    chain = make_chain(timings=NO_REPEATS)
    chain.queue.pause()  # otherwise the first next delivery could be created before the fault is set
    chain.queue.enqueue(new("job-1"))
    getattr(chain.server.faults, fault)("CreateTask", times=2)
    chain.queue.resume()
    chain.play()
    made_once(chain)
    failed = [outcome for outcome in chain.outcomes if isinstance(outcome, QueueUnavailable)]
    assert len(failed) == 2
    assert "Cloud Tasks" in failed[0].next_step


@pytest.mark.parametrize("fault", ["refuse", "lose_answer"])
def test_a_create_is_repeated_under_its_name(chain: Chain, fault: str) -> None:
    """A task whose creation fails briefly is created by a repeated call, and not twice if it was created after all."""
    getattr(chain.server.faults, fault)("CreateTask", grpc.StatusCode.UNAVAILABLE, times=2)
    chain.queue.enqueue(new("job-1"))
    chain.play()
    made_once(chain)
    assert all(isinstance(outcome, Delivered) and outcome.worked for outcome in chain.outcomes)


def test_an_enqueue_that_broke_off(make_chain: MakeChain) -> None:
    """Adding the same jobs again after a failure creates the missing tasks, and none twice."""
    chain = make_chain(timings=NO_REPEATS)
    jobs = new(*(f"j{number}" for number in range(40)))
    chain.queue.pause()
    chain.server.faults.refuse("CreateTask", times=4)
    with pytest.raises(QueueUnavailable):
        chain.queue.enqueue(jobs)
    records = [chain.record(item.job.job_id) for item in jobs]
    missing = sum(record.undispatched for record in records)
    assert missing >= 4
    assert chain.queue.enqueue(jobs).new == ()
    assert not any(chain.record(item.job.job_id).undispatched for item in jobs)
    assert len(chain.server.deliveries) == 0
    chain.queue.resume()
    chain.play()
    for item in jobs:
        made_once(chain, item.job.job_id)
    assert all(isinstance(outcome, Delivered) and outcome.worked for outcome in chain.outcomes)


def test_a_purge_behind_our_back_is_healed(chain: Chain, clock: ManualClock) -> None:
    """Any worker's sweep replaces lost tasks within minutes, once; other jobs continue."""
    service_of(chain).checks.append(Progress(0.5, poll_after=300))
    chain.queue.enqueue(new("paid"))
    chain.play(seconds=10)
    chain.queue.pause()
    chain.queue.enqueue(new("waits"))
    chain.queue._api.purge()
    clock.advance(400)
    assert chain.queue.recover_lost("one") == 0  # the queue is paused
    chain.queue.resume()
    clock.advance(100)
    assert chain.queue.recover_lost("one") == 2
    assert chain.queue.recover_lost("two") == 0  # the last sweep is a moment ago
    chain.play()
    for name in ("paid", "waits"):
        made_once(chain, name)
    clock.advance(500)
    assert chain.queue.recover_lost("two") == 0


def test_a_sweep_ignores_jobs_whose_tasks_exist(chain: Chain, clock: ManualClock) -> None:
    """Jobs whose tasks exist get no second one, however long they are overdue."""
    chain.queue.enqueue(new("job-1"))
    chain.play(seconds=0)
    chain.queue.enqueue(new("job-2"))
    chain.target.close()  # the worker does not respond, so the tasks wait in the queue
    clock.advance(3600)
    seqs = [record.seq for record in chain.producer.store.overdue("cloud_tasks", clock.now(), 10)]
    assert chain.queue.recover_lost("one") == 0
    assert [record.seq for record in chain.producer.store.overdue("cloud_tasks", clock.now(), 10)] == seqs


def test_a_worker_that_died_while_its_task_vanished(make_chain: MakeChain, clock: ManualClock) -> None:
    """A sweep replaces the delivery of a job whose worker died and whose task is lost."""
    chain = make_chain(death=Death(4, after=True))
    chain.queue.enqueue(new("job-1"))
    chain.server.wait_idle()
    chain.queue._api.purge()
    assert chain.record().lease is not None
    assert chain.server.next_at() is None
    clock.advance(30 + 61)
    assert chain.queue.recover_lost("one") == 1
    chain.play()
    made_once(chain)


def test_a_purge_of_ours_is_not_healed(chain: Chain, clock: ManualClock) -> None:
    """A sweep does not restore a purged job."""
    chain.queue.pause()
    chain.queue.enqueue(new("a", "b"))
    assert chain.queue.purge() == 2
    chain.queue.resume()
    clock.advance(3600)
    assert chain.queue.recover_lost("one") == 0
    chain.play()
    assert {chain.record(name).status for name in ("a", "b")} == {Status.CANCELLED}
    assert chain.outcomes == []


def test_without_the_right_to_look_at_tasks(chain: Chain, clock: ManualClock) -> None:
    """An account that can only add tasks treats a task as lost later, when no backlog can explain the delay."""
    chain.queue.enqueue(new("job-1", due=clock.now() + 5))
    chain.queue._api.purge()
    clock.advance(120)
    chain.server.faults.refuse("GetTask", grpc.StatusCode.PERMISSION_DENIED)
    assert chain.queue.recover_lost("one") == 0
    clock.advance(600)
    chain.server.faults.refuse("GetTask", grpc.StatusCode.PERMISSION_DENIED)
    assert chain.queue.recover_lost("one") == 1
    chain.play()
    made_once(chain)


def test_a_worker_with_an_empty_store_adopts(chain: Chain, tmp_path: Path) -> None:
    """A worker whose store has no record of a job restores it from its task, polls the generation and buys nothing."""
    service_of(chain).checks.append(Progress(0.5, poll_after=60))
    chain.queue.enqueue(new("job-1"))
    chain.play(seconds=10)
    paid = chain.record()
    chain.join(home=tmp_path / "elsewhere")
    chain.play()
    made_once(chain)
    record = chain.record()
    assert (record.job, record.nonce, record.submission.ticket) == (paid.job, paid.nonce, paid.submission.ticket)
    assert record.events[0].what == "adopted"


def test_workers_that_share_nothing(chain: Chain, tmp_path: Path) -> None:
    """If each step starts with an empty store, the tasks alone preserve the submission, and nothing is bought again."""
    service_of(chain).key_lasts = 0.0
    service_of(chain).checks.append(Progress(0.5, poll_after=60))
    homes = itertools.count()
    chain.before = lambda: chain.join(home=tmp_path / f"home-{next(homes)}")
    chain.queue.enqueue(new("job-1"))
    chain.play()
    made_once(chain)
    assert next(homes) >= 4


def test_an_old_delivery_that_meets_an_empty_store_buys_nothing(chain: Chain, tmp_path: Path) -> None:
    """If the response to a paid step and then the store are lost, the repeated delivery does nothing."""
    service = service_of(chain)
    service.key_lasts = 0.0  # a second create would buy a second video
    service.checks.append(Progress(0.5, poll_after=60))
    chain.server.faults.miss_answers()
    chain.queue.enqueue(new("job-1"))
    chain.server.wait_idle()
    assert len(service.sold) == 1
    chain.join(home=tmp_path / "elsewhere")
    chain.play()
    made_once(chain)
    assert "adopted" in [event.what for event in chain.record().events]


def die_with_the_store(chain: Chain, elsewhere: Path) -> None:
    """Let the first worker die right after its create, and lose the store: no record of the purchase remains."""
    service = service_of(chain)
    homes = itertools.chain([chain.settings.home], itertools.repeat(elsewhere))

    def die(call: str) -> None:
        if call == "created":
            service.on_call = lambda call: None
            raise Killed

    service.on_call = die
    chain.before = lambda: chain.join(home=next(homes))


def test_a_create_that_died_with_its_store_is_looked_up(chain: Chain, tmp_path: Path) -> None:
    """A worker with an empty store repeats the create under the same key, so it buys nothing new."""
    die_with_the_store(chain, tmp_path / "elsewhere")
    chain.queue.enqueue(new("job-1"))
    chain.play()
    made_once(chain)
    assert len(service_of(chain).sent) == 1


def test_a_create_that_died_with_its_store_is_not_repeated(chain: Chain, tmp_path: Path) -> None:
    """Without an idempotency key, a job whose first attempt died with its store is held, not bought again."""
    service = service_of(chain)
    service.key_lasts = 0.0
    die_with_the_store(chain, tmp_path / "elsewhere")
    chain.queue.enqueue(new("job-1"))
    chain.play()
    record = chain.record()
    assert (record.status, record.service, len(service.sold)) == (Status.HELD, service.name, 1)
    assert record.error is not None
    assert record.submission.id in record.error.message


def test_a_create_at_an_unknown_service(chain: Chain, tmp_path: Path) -> None:
    """An `auto` job that might have been bought at one of several services is held with their names."""
    service = service_of(chain)
    other = ScriptedService(chain.clock, name="beta")
    other.video = service.video
    chain.services = (service, other)
    die_with_the_store(chain, tmp_path / "elsewhere")
    chain.queue.enqueue(new("job-1", service="auto"))
    chain.play()
    record = chain.record()
    assert (record.status, len(service.sold), len(other.sold)) == (Status.HELD, 1, 0)
    assert record.error is not None
    assert "alpha, beta" in record.error.next_step
    chain.before = lambda: None
    with pytest.raises(ActionRefused) as refusal:
        chain.worker._engine.resolve("job-1", Ticket("1"))
    assert refusal.value.actions == (Action.NAME_SERVICE,)
    chain.worker._engine.resolve("job-1", service.sold[0], service_name=service.name)
    chain.play()
    record = chain.record()
    assert (record.status, record.service) == (Status.SUCCEEDED, service.name)
    assert (len(service.sold), len(other.sold)) == (1, 0)


def test_a_worker_that_was_away_buys_as_usual(chain: Chain, tmp_path: Path) -> None:
    """Failed earlier deliveries raise no doubt if the store has the job, or if each one got a response."""
    service_of(chain).key_lasts = 0.0
    chain.worker.stop()
    chain.queue.enqueue(new("job-1"))
    chain.play(seconds=5)
    assert len(chain.outcomes) > 1
    chain.join()
    chain.play()
    made_once(chain)


def test_a_finished_job_is_not_made_again(chain: Chain, clock: ManualClock) -> None:
    """A delivery of a finished or removed job is acknowledged and does nothing."""
    chain.queue.enqueue(new("job-1"))
    added = chain.producer.store.require("job-1")
    chain.play()
    last = encode(Delivery.of(chain.record()))
    for body in (encode(Delivery.of(added)), last):
        again = chain.worker.deliver(body)
        assert (again.worked, again.status) == (False, Status.SUCCEEDED)
    clock.advance(chain.producer.retention.age + 1)
    assert chain.producer.store.trim(chain.producer.retention) == 1
    assert chain.worker.deliver(last) == Delivered("job-1", False, None, "nothing to do")
    chain.play()
    assert len(service_of(chain).sold) == 1


def test_forty_five_minutes_through_ten_minute_deadlines(chain: Chain, clock: ManualClock) -> None:
    """A generation of 45 minutes is polled in short steps: none comes near its deadline."""
    service = service_of(chain)
    service.checks.extend([Progress(number / 45, poll_after=60) for number in range(45)])
    chain.queue.enqueue(new("job-1"))
    start = clock.now()
    chain.play()
    made_once(chain)
    assert clock.now() - start == 45 * 60
    assert len(chain.server.deliveries) == 1 + 45 + 2
    assert all((delivery.status, delivery.took) == (200, 0) for delivery in chain.server.deliveries)


def test_jobs_behind_a_full_service_leave_room(chain: Chain) -> None:
    """Jobs that wait for a slot are delivered rarely enough to leave most dispatches to those in flight."""
    service = service_of(chain)
    service.max_in_flight = 1
    service.checks.extend([Progress(0.5, poll_after=10)] * 20)
    chain.queue.set_limits(1.0, None)
    names = [f"j{number}" for number in range(8)]
    chain.queue.enqueue(new(*names))
    chain.play(seconds=100)
    assert len(service.sold) == 1
    events = [event for name in names for event in chain.record(name).events]
    steps = sum(event.times for event in events if "in flight" in event.detail)
    assert steps <= 8 + 100 / 4  # once each at first, then a quarter of one per second
    assert sum(event.times for event in events if event.what == EventKind.RENDERING) >= 8


def test_cancel_and_retry(chain: Chain) -> None:
    """A cancelled job's delivery does nothing; after a retry, the job continues from its ticket with a new delivery."""
    service_of(chain).checks.append(Progress(0.5, poll_after=60))
    chain.queue.enqueue(new("job-1"))
    chain.play(seconds=10)
    chain.producer.cancel("job-1")
    chain.play()
    assert chain.record().status is Status.CANCELLED
    record = chain.producer.retry("job-1")
    assert record.submission.state is SubmissionState.ACCEPTED
    chain.play()
    made_once(chain)


def test_jobs_behind_cancelled_ones_move_up(chain: Chain) -> None:
    """When waiting jobs are cancelled, those that remain are bought in their places, and not after them."""
    chain.producer.limiter.set_limits(ALPHA, parse_windows("2/10s"))
    chain.queue.set_limits(500.0, 64)
    names = [f"job-{number}" for number in range(36)]
    begin = chain.clock.now()
    chain.queue.enqueue(new(*names))
    chain.play(seconds=0.5)
    waiting = [name for name in names if chain.record(name).submission.state is SubmissionState.NONE]
    assert len(waiting) == 34
    for name in waiting[:31]:
        chain.producer.cancel(name)
    chain.play()
    for name in waiting[31:]:
        made_once(chain, name)
        assert chain.record(name).submission.intended_at <= begin + 21


def test_a_stopping_worker_takes_nothing_more(chain: Chain) -> None:
    """After `stop`, deliveries are refused so that another worker gets them, and running steps finish."""
    chain.worker.stop()
    chain.queue.enqueue(new("job-1"))
    chain.play(seconds=5)
    assert all(isinstance(outcome, Stopping) for outcome in chain.outcomes)
    assert chain.record().status is Status.QUEUED
    chain.join()
    chain.play()
    made_once(chain)


def test_a_running_step_is_released_at_the_end(chain: Chain) -> None:
    """A worker that is closed during a step releases the job, so that the next worker can take it immediately."""
    service = service_of(chain)

    def end(call: str) -> None:
        if call == "check":
            service.on_call = lambda call: None
            chain.worker.close()

    service.on_call = end
    chain.queue.enqueue(new("job-1"))
    chain.server.wait_idle()
    chain.join()
    chain.play()
    made_once(chain)
    assert chain.record().expiries == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"v": 1}', b"\xff", b'{"v":1,"job":{}}'])
def test_a_body_that_is_not_a_delivery(chain: Chain, body: bytes) -> None:
    """A body that is not a delivery is refused with the field's name and changes nothing."""
    with pytest.raises(InvalidInput):
        chain.worker.deliver(body)


def test_workers_are_seen(chain: Chain) -> None:
    """A worker is listed in the store from its first delivery until it is closed."""
    chain.queue.enqueue(new("job-1"))
    chain.play()
    store = chain.producer.store
    with closing(chain.worker):
        assert [worker.id for worker in store.workers("cloud_tasks", within=60)] == [chain.worker.id]
    assert [worker.ended for worker in store.workers("cloud_tasks", within=60)] == [True]
