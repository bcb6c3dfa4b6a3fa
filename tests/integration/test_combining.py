"""Group commit: calls of several threads are executed together, without affecting each other."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tenxsom_flow_engine.errors import StoreUnavailable
from tenxsom_flow_engine.store.combining import MAX_BATCH, Combiner

MINUTE = 60.0


class Bench:
    """A combiner whose first batch runs until `finish` is called; the calls added until then form the next ones."""

    def __init__(self, answer: Callable[[str], Any] = str.upper) -> None:
        self.batches: list[list[str]] = []
        self._answer = answer
        self._running, self._released = threading.Event(), threading.Event()
        self.combiner: Combiner[str] = Combiner(self._run)
        self._pool = ThreadPoolExecutor(MAX_BATCH * 2)

    def _run(self, calls: Sequence[str]) -> Sequence[Any]:
        self.batches.append(list(calls))
        self._running.set()
        if len(self.batches) == 1:
            assert self._released.wait(MINUTE)
        return [self._answer(call) for call in calls]

    def begin(self, call: str) -> Future[Any]:
        """Start the first batch."""
        first = self._pool.submit(self.combiner, call)
        assert self._running.wait(MINUTE)
        return first

    def add(self, call: str) -> Future[Any]:
        """Make a call, and wait until it is in line."""
        before = self.waiting
        future = self._pool.submit(self.combiner, call)
        wait_until(lambda: self.waiting > before)
        return future

    @property
    def waiting(self) -> int:
        """The number of calls in line."""
        return len(self.combiner.waiting)

    def finish(self) -> None:
        """Let the first batch end."""
        self._released.set()

    def close(self) -> None:
        self.finish()
        self._pool.shutdown()


def wait_until(condition: Callable[[], bool]) -> None:
    ends = threading.Event()
    for _ in range(60_000):
        if condition():
            return
        ends.wait(0.001)
    raise AssertionError("the condition did not become true")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_a_lone_call_is_executed_at_once() -> None:
    """A call does not wait for others."""
    batches: list[list[str]] = []

    def run(calls: Sequence[str]) -> Sequence[Any]:
        batches.append(list(calls))
        return [f"{call}!" for call in calls]

    combiner: Combiner[str] = Combiner(run)
    assert [combiner("a"), combiner("b")] == ["a!", "b!"]
    assert batches == [["a"], ["b"]]


def test_calls_made_during_a_batch_form_the_next_one_in_order(bench: Bench) -> None:
    """Each thread gets the result of its call."""
    calls = [bench.begin("first"), *[bench.add(name) for name in "abcde"]]
    bench.finish()
    assert [call.result(MINUTE) for call in calls] == ["FIRST", *"ABCDE"]
    assert bench.batches == [["first"], [*"abcde"]]


def test_a_batch_is_bounded(bench: Bench) -> None:
    """More calls than one batch may have are executed by the next."""
    names = [str(number) for number in range(MAX_BATCH + 3)]
    calls = [bench.begin("first"), *[bench.add(name) for name in names]]
    bench.finish()
    assert [call.result(MINUTE) for call in calls] == ["FIRST", *names]
    assert bench.batches == [["first"], names[:MAX_BATCH], names[MAX_BATCH:]]


def test_an_error_reaches_only_its_call() -> None:
    """The others of its batch get their results."""
    bench = Bench(lambda call: KeyError(call) if call == "bad" else call)
    calls = [bench.begin("first"), bench.add("a"), bench.add("bad"), bench.add("b")]
    bench.finish()
    assert [call.result(MINUTE) for call in (calls[0], calls[1], calls[3])] == ["first", "a", "b"]
    with pytest.raises(KeyError, match="bad"):
        calls[2].result(MINUTE)
    bench.close()


def test_an_error_of_a_whole_batch_reaches_its_calls_only() -> None:
    """The next batch is executed."""

    def answer(call: str) -> str:
        if call == "bad":
            raise StoreUnavailable("no answer")
        return call

    bench = Bench(answer)
    first = bench.begin("bad")
    second = bench.add("a")
    bench.finish()
    with pytest.raises(StoreUnavailable, match="no answer"):
        first.result(MINUTE)
    assert second.result(MINUTE) == "a"
    assert bench.combiner("b") == "b"
    bench.close()


def test_an_interrupted_leader_fails_its_batch_and_no_other() -> None:
    """The interrupt reaches its own thread; the other calls of its batch fail as if the store had not answered."""

    class Interrupt(BaseException):
        pass

    def answer(call: str) -> str:
        if call == "interrupted":
            raise Interrupt
        return call

    bench = Bench(answer)
    first = bench.begin("first")
    leader, other = bench.add("interrupted"), bench.add("a")
    bench.finish()
    assert first.result(MINUTE) == "first"
    assert isinstance(leader.exception(MINUTE), Interrupt)
    with pytest.raises(StoreUnavailable, match="interrupted"):
        other.result(MINUTE)
    assert bench.combiner("b") == "b"
    bench.close()


def test_an_interrupted_call_leaves_the_line(bench: Bench) -> None:
    """It is not executed, and the call behind it leads the next batch."""
    first = bench.begin("first")
    behind: list[Future[Any]] = []

    def interrupt() -> None:
        wait_until(lambda: bench.waiting == 1)
        behind.append(bench.add("behind"))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with interrupts(), ThreadPoolExecutor(1) as pool:
        interrupting = pool.submit(interrupt)
        with pytest.raises(InterruptedError):
            bench.combiner("interrupted")
        interrupting.result(MINUTE)
    bench.finish()
    assert first.result(MINUTE) == "FIRST"
    assert behind[0].result(MINUTE) == "BEHIND"
    assert bench.batches == [["first"], ["behind"]]


@contextmanager
def interrupts() -> Iterator[None]:
    """Let SIGUSR1 raise `InterruptedError` in the main thread."""

    def handle(number: int, frame: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_fork_during_a_batch(bench: Bench) -> None:
    """The child does not wait for the parent's threads, and their calls are executed once, in the parent."""
    first, second = bench.begin("first"), bench.add("second")
    child = os.fork()
    if not child:
        works = False
        try:
            signal.alarm(60)
            works = bench.combiner("child") == "CHILD" and bench.batches == [["first"], ["child"]]
        finally:
            os._exit(0 if works else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    bench.finish()
    assert [first.result(MINUTE), second.result(MINUTE)] == ["FIRST", "SECOND"]
    assert bench.batches == [["first"], ["second"]]


def test_too_few_results_are_an_error_of_each_call() -> None:
    """A server that answers only some calls of a batch leaves no thread waiting."""
    combiner: Combiner[str] = Combiner(lambda calls: [])
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="1 calls got 0 answers"):
            combiner("a")
