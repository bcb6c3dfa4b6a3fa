"""The commands of schedules that are kept, and the workers that plan them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.operations.schedules import add_schedule
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule
from tenxsom_flow_engine.queues.base import PushesJobs
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.workers.pull import PullWorker
from tenxsom_flow_engine.workers.push import PushWorker
from tests.command_runner import Run, runner
from tests.contract.store_suite.shared import STUCK


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home without a paid service; a test can add one."""
    return {"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    return runner(environment)


@pytest.fixture
def topics(tmp_path: Path) -> str:
    """A list of 30 topics."""
    path = tmp_path / "topics.csv"
    path.write_text("topic,duration\n" + "".join(f"Topic {number},\n" for number in range(29)) + "Last,9\n")
    return str(path)


def hourly(topics: str, *words: str) -> tuple[str, ...]:
    """Return the command that adds a schedule of a video an hour."""
    return ("schedule", "add", "fun", "--daily-count", "24", "--videos-per-hour", "1", "--topics-file", topics, *words)


def parsed(result: Result) -> Any:
    """Return the JSON that a command printed."""
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def test_a_schedule_is_kept_and_planned(run: Run, topics: str) -> None:
    """Adding one plans the next 24 slots at once; its list is in the store, so the file is not needed any more."""
    added = run(*hourly(topics, "--timezone", "Europe/Berlin", "--style", "retro", "--duration", "7"))
    ids = added.stdout.split()
    assert len(ids) == 24
    assert "planned 24 jobs: " in added.stderr
    assert " Europe/Berlin" in added.stderr
    assert "6 topics left: " in added.stderr
    Path(topics).unlink()
    shown = parsed(run("schedule", "show", "fun", "--json"))
    assert (shown["topics"], shown["topics_left"], shown["state"]) == (30, 6, "active")
    assert [slot["job_id"] for slot in shown["slots"]] == ids[:10]
    assert shown["slots"][0]["topic"] == "Topic 0"
    (listed,) = parsed(run("schedule", "list", "--json"))["schedules"]
    assert listed == {key: value for key, value in shown.items() if key != "slots"}
    job = parsed(run("show", ids[0], "--json"))
    assert (job["channel"], job["style"], job["duration"], job["topic"]) == ("fun", "retro", 7, "Topic 0")
    assert job["start_by"] > job["due"]
    table = run("schedule", "list").stdout
    assert "24/d 1/h mon-sun Europe/Berlin" in table
    assert "Topic 0" in run("schedule", "show", "fun").stdout


def test_a_dry_run_shows_the_plan(run: Run, topics: str, environment: dict[str, str]) -> None:
    """A dry run keeps nothing; it shows slots and prices, and ends with exit code 4 if they do not fit a budget."""
    environment["USEAPI_TOKEN"] = "t"
    environment["TENXSOM_UNKNOWN_PRICE"] = "0.4"
    paid = hourly(topics, "--service", "pixverse", "--dry-run")
    assert run(*paid).return_value == 0
    run("budget", "set", "channel:fun", "0.01/d")
    planned = run(*paid, "--json")
    assert planned.return_value == 4
    facts = json.loads(planned.stdout)
    assert len(facts["slots"]) == 24
    assert "the budget channel:fun 0.01/d" in facts["over_budget"][0]
    assert parsed(run("schedule", "list", "--json"))["schedules"] == []
    assert "no schedules; add one with" in run("schedule", "list").stderr


def test_a_name_is_used_once(run: Run, topics: str) -> None:
    """A second schedule needs another name, or replaces the first and cancels its planned jobs."""
    first = run(*hourly(topics)).stdout.split()
    refused = run(*hourly(topics)).exception
    assert isinstance(refused, InvalidInput)
    assert "--replace" in refused.next_step
    assert run(*hourly(topics, "--name", "fun-2", "--start", "12:00", "--daily-count", "1")).exception is None
    replaced = run(*hourly(topics, "--replace"))
    assert "cancelled 24 planned jobs" in replaced.stderr
    second = replaced.stdout.split()
    assert not set(first) & set(second)
    assert parsed(run("show", first[0], "--json"))["status"] == "cancelled"
    assert [one["name"] for one in parsed(run("schedule", "list", "--json"))["schedules"]] == ["fun", "fun-2"]


def test_a_paused_schedule_plans_nothing(run: Run, topics: str) -> None:
    """A paused schedule keeps its planned jobs and its note; a new list is planned when it is resumed."""
    short = Path(topics).with_name("short.txt")
    short.write_text("One\n")
    run(*hourly(str(short)))
    paused = run("schedule", "pause", "fun", "--why", "holidays")
    assert "1 planned job stays, cancel with: " in paused.stderr
    shown = run("schedule", "show", "fun").stdout
    assert "paused – holidays" in shown
    added = run("schedule", "add-topics", "fun", "--topics-file", topics)
    assert "added 30 topics" in added.stderr
    assert added.stdout == ""
    resumed = run("schedule", "resume", "fun")
    assert len(resumed.stdout.split()) == 23
    assert parsed(run("schedule", "show", "fun", "--json"))["why"] is None


def test_a_job_now(run: Run, topics: str) -> None:
    """One more job is added with the next topic, until none is left."""
    run(*hourly(topics))
    now = parsed(run("schedule", "run-now", "fun", "--json"))
    assert now["topic"] == "Topic 24"
    assert parsed(run("show", now["added"][0], "--json"))["status"] == "queued"
    for _ in range(5):
        assert run("schedule", "run-now", "fun").exception is None
    assert "none left" in str(run("schedule", "run-now", "fun").exception)


def test_a_job_now_asks_for_its_price(run: Run, topics: str, environment: dict[str, str]) -> None:
    """A job that costs money needs a confirmation."""
    environment["USEAPI_TOKEN"] = "t"
    run(*hourly(topics, "--service", "pixverse"))
    assert "pass --yes to confirm" in str(run("schedule", "run-now", "fun").exception)
    assert run("schedule", "run-now", "fun", "--yes").exception is None


def test_a_schedule_is_removed(run: Run, topics: str) -> None:
    """Removing one needs a decision about its planned jobs, unless it has none."""
    ids = run(*hourly(topics)).stdout.split()
    assert "pass --yes to confirm" in str(run("schedule", "remove", "fun", "--keep-planned").exception)
    assert "--cancel-planned or --keep-planned" in str(run("schedule", "remove", "fun", "--yes").exception)
    kept = run("schedule", "remove", "fun", "--yes", "--keep-planned")
    assert "24 planned jobs stay" in kept.stderr
    assert parsed(run("show", ids[0], "--json"))["status"] in ("scheduled", "queued")
    run(*hourly(topics))
    assert "cancelled 24 jobs" in run("schedule", "remove", "fun", "--yes", "--cancel-planned").stderr
    assert "schedules: none" in str(run("schedule", "show", "fun").exception.next_step)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--days", "weekend"), "does not name days"),
        (("--daily-count", "25"), "do not fit"),
        (("--timezone", "Berlin"), "is unknown"),
        (("--start", "2026-12-24T18:00"), "not a time of day"),
        (("--service", "heygen"), "invalid line"),
    ],
)
def test_impossible_schedules_are_refused(run: Run, topics: str, words: tuple[str, ...], why: str) -> None:
    """A schedule that cannot be planned is refused, and nothing is kept."""
    assert why in str(run(*hourly(topics), *words).exception)
    assert parsed(run("schedule", "list", "--json"))["schedules"] == []


def test_built_in_topics_are_repeated(run: Run) -> None:
    """Without a list, the built-in topics are used, and cannot be added to or repeated."""
    slots = parsed(run("schedule", "add", "fun", "--daily-count", "3", "--videos-per-hour", "1", "--json"))["slots"]
    assert len({slot["topic"] for slot in slots}) == len(slots) == 3
    assert "built-in" in run("schedule", "list").stdout
    assert "--repeat needs --topics-file" in str(run("schedule", "add", "other", "--repeat").exception)


def test_what_was_added_as_free_stays_free(run: Run, topics: str, environment: dict[str, str]) -> None:
    """A schedule of drafts buys nothing when a paid service is configured later, until it is replaced."""
    assert "free drafts, also when one is configured later" in run(*hourly(topics)).stderr
    environment["USEAPI_TOKEN"] = "t"
    assert run("schedule", "run-now", "fun").exception is None
    assert parsed(run("schedule", "show", "fun", "--json"))["job"] == {"service": "draft"}
    run(*hourly(topics, "--replace"))
    assert parsed(run("schedule", "show", "fun", "--json"))["job"] == {}


def test_options_of_a_plan_belong_after_the_command(run: Run) -> None:
    """An option of a plan before a subcommand is refused, because it would have no effect; the queue type has one."""
    assert "pass --json after the command list" in str(run("schedule", "--json", "list").exception)
    assert run("schedule", "--queue-type", "local", "list").exception is None


def keep_schedule(engine: Engine) -> None:
    """Keep a schedule of a video an hour that nothing has planned."""
    schedule = new_schedule("fun", ScheduleTerms("fun", 24, "1"), {}, None, engine.store.now())
    add_schedule(engine, schedule, ())


def planned(engine: Engine) -> int:
    return engine.store.status_counts().by_status[Status.SCHEDULED]


def test_a_burst_plans_first(environment: dict[str, str]) -> None:
    """A pull worker plans when it starts, also one that ends at once because nothing is due."""
    clock = ManualClock()
    clock.advance(60)  # no slot is due now
    with open_engine(load(environment), "local", clock=clock) as engine:
        keep_schedule(engine)
        PullWorker(engine, concurrency=1, burst=True).run()
        assert planned(engine) == 24


def test_a_push_worker_plans(environment: dict[str, str]) -> None:
    """The maintenance of a push worker plans schedules without any delivery, as tasks of Cloud Tasks."""
    with CloudTasksServer() as server:
        cloud = {
            "CLOUD_TASKS_EMULATOR_HOST": server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
            "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "TENXSOM_LEASE_SECONDS": "0.5",
        }  # fmt: skip
        with open_engine(load({**environment, **cloud}), "cloud_tasks") as engine:
            assert isinstance(engine.queue, PushesJobs)
            engine.queue.create()
            engine.queue.pause()  # so that tasks stay and can be counted
            keep_schedule(engine)
            worker = PushWorker(engine)
            worker.start()
            client = server.client()
            queue = client.queue_path("p-1", "us-central1", "tenxsom-video-generation")
            for _ in range(int(STUCK)):
                found = len(list(client.list_tasks(parent=queue)))
                if found == 24 and not engine.store.require_schedule("fun").pending:
                    break
                engine.store.wait(engine.store.revision(), timeout=1.0, wake=threading.Event())
            worker.close()
            assert found == 24
            assert engine.store.require_schedule("fun").pending == ()
