"""`QueueManager` as other programs use it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from queue_manager import QueueManager
from tenxsom_flow_engine.errors import ConfigurationError, FlowError, InvalidInput, StoreUnavailable
from tenxsom_flow_engine.jobs import Status, VideoJob
from tenxsom_flow_engine.store.values import JobFilter, NewJob


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TENXSOM_HOME", str(tmp_path))
    monkeypatch.setenv("REDIS_PORT", "1")


def run(act: Callable[[QueueManager], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def session() -> None:
        async with QueueManager("local", **options) as manager:
            await act(manager)

    asyncio.run(session())


def a_job(job_id: str = "tides", **fields: Any) -> VideoJob:
    known: dict[str, Any] = {"job_id": job_id, "topic": "How tides work", "created_at": 1.0}
    return VideoJob(**(known | fields))


def test_the_names_of_the_guide() -> None:
    """The manager opens with a config, adds a job once, changes limits while it runs, and returns its status."""

    async def act(manager: QueueManager) -> None:
        assert (await manager.enqueue(a_job())).new == ("tides",)
        assert (await manager.enqueue(a_job())).known == ("tides",)
        await manager.update_rate_limits(max_dispatches_per_second=20)
        status = await manager.status()
        assert status["queue_type"] == "local"
        assert status["state"] == "RUNNING"
        assert status["rate_limits"]["max_dispatches_per_second"] == 20
        assert status["rate_limits"]["max_concurrent_dispatches"] == 7
        assert status["approximate_task_count"] == 1

    run(act, config={"cloud_tasks": {"max_dispatches_per_second": 3, "max_concurrent_dispatches": 7}})


def test_jobs_are_seen_and_acted_upon() -> None:
    """Get, list, cancel, retry, pause, resume and purge use the same records."""

    async def act(manager: QueueManager) -> None:
        await manager.enqueue_many([(a_job("a"), None), (a_job("b"), 4e9)])
        assert (await manager.get("b")).status is Status.SCHEDULED
        assert [record.job_id for record in (await manager.jobs(JobFilter(text="TIDES"))).records] == ["b", "a"]
        assert (await manager.cancel("a")).status is Status.CANCELLED
        assert (await manager.retry("a")).status is Status.QUEUED
        await manager.pause()
        assert (await manager.status())["state"] == "PAUSED"
        await manager.resume()
        assert await manager.purge() == 2

    run(act)


@pytest.mark.parametrize(
    "config",
    [
        {"kafka": {}},
        {"redis": {"hosts": "x"}},
        {"redis": None},
        "redis",
        {"cloud_tasks": {"max_dispatches_per_second": "many"}},
        {"redis": {"port": 0}},
    ],
)
def test_an_invalid_config_is_an_error(config: Any) -> None:
    """An unknown section, key or value is an `InvalidInput` that names it."""
    with pytest.raises((InvalidInput, ConfigurationError)):
        asyncio.run(QueueManager("local", config=config).initialize())


@pytest.mark.parametrize("limits", [{"max_concurrent_dispatches": 2.5}, {"max_dispatches_per_second": "3"},
                                    {"max_dispatches_per_second": 0}, {"max_concurrent_dispatches": True}])  # fmt: skip
def test_wrong_limits_are_refused(limits: dict[str, Any]) -> None:
    """An invalid limit changes nothing."""

    async def act(manager: QueueManager) -> None:
        with pytest.raises(InvalidInput):
            await manager.update_rate_limits(**limits)
        shown = (await manager.status())["rate_limits"]
        assert shown["set_at_run_time"] == []
        # Programs of the last release read these keys.
        assert shown.keys() == {
            "max_dispatches_per_second",
            "max_concurrent_dispatches",
            "set_at_run_time",
            "set_at_carrier",
        }

    run(act)


def test_past_moments_are_refused_in_a_list() -> None:
    """Jobs that are due in the past are refused as a whole, unless the caller chooses to start or skip them."""

    async def act(manager: QueueManager) -> None:
        calendar = [(a_job(f"j{n}"), 1000.0 + n) for n in range(3)]
        with pytest.raises(InvalidInput, match="3 of 4 jobs are due in the past; the first is j0, at 1970-01-01T00:16"):
            await manager.enqueue_many([*calendar, (a_job("later"), 4e9)])
        with pytest.raises(InvalidInput, match="past: must be refuse, now or skip, not 'ignore'"):
            await manager.enqueue_many(calendar, past="ignore")  # type: ignore[arg-type]
        assert not (await manager.jobs()).records
        assert (await manager.enqueue_many([*calendar, (a_job("later"), 4e9)], past="skip")).new == ("later",)
        assert (await manager.enqueue_many(calendar, past="now")).new == ("j0", "j1", "j2")
        assert ((await manager.get("j0")).due or 0.0) > 1e9
        # Adding the same list again is no error.
        assert (await manager.enqueue_many(calendar)).known == ("j0", "j1", "j2")
        with pytest.raises(InvalidInput, match="1 of 1 job are due in the past"):
            await manager.enqueue(a_job("late"), due=1000.0)
        assert (await manager.enqueue(a_job("late"), due=1000.0, past="now")).new == ("late",)

    run(act)


def test_a_moment_that_has_just_passed_means_now() -> None:
    """A due instant up to a minute ago is accepted."""

    async def act(manager: QueueManager) -> None:
        assert (await manager.enqueue(a_job(), due=time.time() - 30)).new == ("tides",)

    run(act)


@pytest.mark.parametrize("due", [float("inf"), float("nan"), -1.0, 1e15])
def test_an_impossible_start_is_refused(due: float) -> None:
    """A job cannot start at a time outside the supported years."""

    async def act(manager: QueueManager) -> None:
        with pytest.raises(InvalidInput, match="at: must be in the years"):
            await manager.enqueue(a_job(), due=due)

    run(act)


def test_options_that_cannot_be_written_are_refused() -> None:
    """A job whose options cannot be encoded as JSON is refused before it is added."""

    async def act(manager: QueueManager) -> None:
        with pytest.raises(InvalidInput, match="options: cannot be written"):
            await manager.enqueue(a_job(options={"draft": {"x": object()}}))

    run(act)


def test_an_unreachable_redis_server_is_an_error() -> None:
    """An unreachable queue that was requested is an error, not a different queue."""
    with pytest.raises(StoreUnavailable, match="Redis server"):
        asyncio.run(QueueManager("redis").initialize())


def test_use_before_opening_and_after_closing_is_an_error() -> None:
    """A manager that is not open explains how to open it; closing twice is harmless."""

    async def act() -> None:
        manager = QueueManager("local")
        with pytest.raises(RuntimeError, match="await initialize"):
            await manager.status()
        await manager.initialize()
        await manager.initialize()
        await manager.close()
        await manager.close()
        with pytest.raises(RuntimeError, match="await initialize"):
            await manager.status()
        await manager.initialize()
        assert (await manager.status())["queue_type"] == "local"
        await manager.close()

    asyncio.run(act())


def test_a_cancelled_call_ends_before_the_store_is_closed() -> None:
    """Cancelling a long call and leaving waits for its thread; no chunk is partly written."""
    gate, begun = threading.Event(), threading.Event()

    async def act() -> None:
        async with QueueManager("local") as manager:
            engine = manager.engine

            def slow() -> Any:
                for number in range(50):
                    if number == 25:
                        begun.set()
                        assert gate.wait(60)
                    yield NewJob(a_job(f"j{number}"))

            adding = asyncio.ensure_future(manager._call(lambda opened: opened.queue.enqueue(slow())))
            await asyncio.to_thread(begun.wait, 60)
            adding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await adding
            gate.set()
        with pytest.raises(FlowError, match="is closed"):
            engine.store.get("j0")

    asyncio.run(act())

    async def check(manager: QueueManager) -> None:
        assert (await manager.status())["approximate_task_count"] == 50

    run(check)


def test_a_job_is_changed_and_retried() -> None:
    """A job that bought nothing can be changed by its retry; an unknown field is refused."""

    async def act(manager: QueueManager) -> None:
        await manager.enqueue(a_job())
        await manager.cancel("tides")
        with pytest.raises(InvalidInput, match="colour: cannot be changed"):
            await manager.retry("tides", colour="red")
        record = await manager.retry("tides", prompt="A calm sea.")
        assert (record.status, record.job.prompt) == (Status.QUEUED, "A calm sea.")

    run(act)
