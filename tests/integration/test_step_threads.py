"""The threads of a pull worker: each step gets one in time, and no outcome waits for a step that takes long."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest

from tenxsom_flow_engine.errors import LeaseLost
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.outcomes import Dead, Outcome
from tenxsom_flow_engine.store.base import new_record
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.samples import FAILURE, QUEUE, a_job
from tenxsom_flow_engine.workers.outcomes import EndedStep, OutcomeWriter
from tenxsom_flow_engine.workers.step_threads import StepThreads

STUCK = 30.0


def a_record(job_id: str) -> JobRecord:
    return new_record(QUEUE, NewJob(a_job(job_id)), 1.0)


def records(count: int) -> list[JobRecord]:
    return [a_record(f"job-{number}") for number in range(count)]


def test_all_steps_run() -> None:
    """Steps that end at once all run, once each, over several calls."""
    done: list[str] = []
    threads = StepThreads(8, lambda record: done.append(record.job_id), lambda: None)
    for _ in range(50):
        threads.run_all(records(20))
        while len(done) < 20:
            threading.Event().wait(0.001)
        assert sorted(done) == sorted(record.job_id for record in records(20))
        done.clear()
    threads.run_all([])


def test_steps_that_wait_run_at_the_same_time() -> None:
    """Steps that wait for each other all get a thread, although the first thread keeps the first step."""
    together = threading.Barrier(16)
    threads = StepThreads(16, lambda record: together.wait(STUCK), lambda: None)
    for _ in range(3):  # with new threads, then with idle ones
        threads.run_all(records(15))
        together.wait(STUCK)


def test_steps_that_come_while_a_thread_saves() -> None:
    """Steps that come between the last step of the only thread and its rest run after that rest."""
    ran, resting, resume = threading.Semaphore(0), threading.Event(), threading.Event()

    def rest() -> None:
        if threading.current_thread() is not main and not resume.is_set():
            resting.set()
            assert resume.wait(STUCK)

    main = threading.current_thread()
    threads = StepThreads(1, lambda record: ran.release(), rest)
    threads.run_all(records(1))
    assert resting.wait(STUCK)
    threads.run_all(records(1))
    resume.set()
    for _ in range(2):
        assert ran.acquire(timeout=STUCK)


def test_a_late_rest_does_not_end_the_next_call() -> None:
    """Steps that wait for each other get threads, while a thread of the previous call still rests."""
    resting, resume = threading.Event(), threading.Event()
    together = threading.Barrier(6)

    def run(record: JobRecord) -> None:
        if record.job_id != "quick":
            resume.set()
            together.wait(STUCK)

    def rest() -> None:
        if threading.current_thread() is not main and not resume.is_set():
            resting.set()
            assert resume.wait(STUCK)

    main = threading.current_thread()
    threads = StepThreads(96, run, rest)
    threads.run_all([a_record("quick")])
    assert resting.wait(STUCK)
    threads.run_all(records(5))
    together.wait(STUCK)


@pytest.mark.parametrize("limit", [1, 2])
def test_an_outcome_is_saved_while_the_next_step_waits(limit: int) -> None:
    """The outcome of a quick step does not wait for the end of the step that its thread runs next."""
    ended, saved, resume = [], threading.Event(), threading.Event()

    def run(record: JobRecord) -> None:
        if record.job_id == "job-1":
            assert resume.wait(STUCK)
        ended.append(record.job_id)

    def rest() -> None:
        if "job-0" in ended:
            saved.set()

    StepThreads(limit, run, rest).run_all(records(2))
    assert saved.wait(STUCK)
    assert ended == ["job-0"]
    resume.set()


@pytest.mark.parametrize("limit", [1, 2, 6, 32])
def test_no_outcome_waits_for_another_step(limit: int) -> None:
    """Outcomes of quick and of slow steps are saved while some steps do not end, if a thread is left for the others."""
    draw = random.Random(limit)
    for _ in range(30):
        check_outcomes(limit, draw)


def check_outcomes(limit: int, draw: random.Random) -> None:
    long = {f"job-{number}" for number in draw.sample(range(40), limit // 2)}
    lock, resume, pending, saved = threading.Lock(), threading.Event(), list[str](), set[str]()

    def run(record: JobRecord) -> None:
        if record.job_id in long:
            assert resume.wait(STUCK)
        elif draw.random() < 0.2:
            threading.Event().wait(draw.random() * 0.003)
        with lock:
            pending.append(record.job_id)

    def rest() -> None:
        with lock:
            saved.update(pending)
            pending.clear()

    StepThreads(limit, run, rest).run_all(records(40))
    while len(saved) < 40 - len(long):
        threading.Event().wait(0.001)
    assert not saved & long
    resume.set()
    while len(saved) < 40:
        threading.Event().wait(0.001)


def test_the_limit_of_threads_holds() -> None:
    """No more than `limit` steps run at once, and the others follow."""
    running, most, done = 0, 0, threading.Semaphore(0)
    lock = threading.Lock()

    def run(record: JobRecord) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1
        done.release()

    threads = StepThreads(2, run, lambda: None)
    threads.run_all(records(10))
    for _ in range(10):
        assert done.acquire(timeout=STUCK)
    assert most <= 2


@pytest.mark.parametrize("number", [1, 63, 64, 65, 200])
def test_outcomes_are_saved_together(number: int) -> None:
    """Outcomes that come while others are saved are saved by the thread that saves, each with its own result."""
    calls: list[int] = []
    results: dict[str, JobRecord | Exception] = {}

    def settle_each(steps: Sequence[tuple[JobRecord, Outcome]]) -> Sequence[JobRecord | Exception]:
        calls.append(len(steps))
        if len(calls) == 1:
            for record in records(number):
                writer.add(EndedStep(record, Dead(FAILURE), 0.0))
            writer.save()  # returns at once, because this thread is saving
        return [LeaseLost(record.job_id) if record.job_id == "job-7" else record for record, _ in steps]

    def done(ended: Sequence[tuple[EndedStep, JobRecord | Exception]]) -> None:
        results.update((step.record.job_id, result) for step, result in ended)

    writer = OutcomeWriter(settle_each, done)
    writer.add(EndedStep(a_record("first"), Dead(FAILURE), 0.0))
    writer.save()
    assert calls == [1, *([64] * (number // 64)), *([number % 64] if number % 64 else [])]
    assert set(results) == {"first", *(record.job_id for record in records(number))}
    for name, result in results.items():
        assert isinstance(result, LeaseLost) == (name == "job-7")
        assert isinstance(result, LeaseLost | JobRecord)
        assert isinstance(result, LeaseLost) or result.job_id == name
    writer.save()
    assert sum(calls) == number + 1
