"""The commands with which an operator looks at a queue: `workers`, `jobs`, `logs`, and the beginnings of job ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs.outcomes import Dead
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import WorkerInfo
from tenxsom_flow_engine.testing.samples import FAILURE, a_claim, new
from tests.command_runner import Run, runner


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home with the embedded queue."""
    return {"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    return runner(environment)


@pytest.fixture
def engine(environment: dict[str, str]) -> Iterator[Engine]:
    with open_engine(load(environment)) as engine:
        yield engine


def fail(engine: Engine, job_id: str) -> None:
    """Add a job that fails."""
    engine.store.add("local", new(job_id))
    (record,) = engine.store.claim(a_claim(queue="local", only=job_id)).records
    engine.store.settle(job_id, record.lease_token, Dead(FAILURE))


def a_worker(name: str, **changes: object) -> WorkerInfo:
    fields: dict[str, object] = {
        "queue": "local", "host": "one", "pid": 7, "concurrency": 4, "started_at": 0.0, "steps": 1200
    }  # fmt: skip
    return WorkerInfo(id=name, **(fields | changes))  # type: ignore[arg-type]


def test_workers(run: Run, engine: Engine) -> None:
    """`workers` lists workers with their state, those alive first; an ended worker has no concurrency."""
    assert "no worker ran in the last 24 hours" in run("workers").stderr
    engine.store.heartbeat(a_worker("b", host="gone", concurrency=0))
    engine.store.heartbeat(a_worker("a"))
    alive, ended = json.loads(run("workers", "--json").stdout)["workers"]
    assert (alive["host"], alive["pid"], alive["state"], alive["concurrency"], alive["steps"]) == (
        "one",
        7,
        "alive",
        4,
        1200,
    )
    assert (ended["host"], ended["state"], ended["concurrency"]) == ("gone", "ended", None)
    assert alive["started_at"] == "1970-01-01T00:00:00.000Z"
    lines = run("workers").stdout.splitlines()
    assert lines[0].split() == [
        "HOST",
        "PID",
        "QUEUE",
        "STATE",
        "CONCURRENCY",
        "STEPS",
        "STARTED",
        "(UTC)",
        "HEARTBEAT",
    ]
    assert lines[1].split() == ["one", "7", "local", "alive", "4", "1,200", "1970-01-01", "00:00", "just", "now"]


def test_a_beginning_names_a_job(run: Run, engine: Engine) -> None:
    """Commands accept the beginning of an id; those that change a job say which one it is."""
    for job_id in ("how-tides", "how-tins"):
        run("single", "Tides", "--job-id", job_id, "--delay", "1h")
    assert json.loads(run("show", "how-ti", "--json").stdout or "{}") == {}
    assert json.loads(run("show", "how-tid", "--json").stdout)["job_id"] == "how-tides"
    changed = run("cancel", "how-tid").stderr
    assert changed.splitlines() == ["how-tid is job how-tides: Tides", "job how-tides is cancelled"]
    assert "how-tin is job how-tins" in run("run-now", "how-tin").stderr
    assert "how-tid is job how-tides" in run("retry", "how-tid", "--yes").stderr
    assert "how-tid is job how-tides" in run("reschedule", "how-tid", "--delay", "1h").stderr
    assert "how-tid is job how-tides" in run("edit", "how-tid", "--topic", "Waves").stderr
    assert engine.store.require("how-tides").job.topic == "Waves"
    assert "job how-tides" in str(run("jobs", "resolve", "how-tid", "--give-up").exception)


@pytest.mark.parametrize(
    "command", ["show", "open", "cancel", "retry", "edit --topic x", "run-now", "reschedule --delay 1h", "logs"]
)
def test_a_beginning_of_several_ids_is_refused(run: Run, engine: Engine, command: str) -> None:
    """If several ids start with an argument, nothing is changed, and the error lists up to five of them."""
    engine.store.add("local", new(*(f"how-{n}" for n in range(7)), due=engine.store.now() + 99))
    name, *options = command.split()
    refused = run(name, "how", *options).exception
    assert "the ids of 5 jobs, and perhaps of others, start with 'how'" in str(refused)
    assert str(refused).count("\n  how-") == 5
    assert "the ids of 7 jobs" not in str(refused)
    assert engine.store.status_counts().unfinished == 7
    assert "no job has the id 'why'" in run(name, "why", *options).stderr + str(run(name, "why", *options).exception)


def test_since_is_a_length_of_time_or_a_date(run: Run, engine: Engine) -> None:
    """`--since 1h` lists the jobs added in the last hour; a date is an instant; other texts are refused."""
    engine.store.add("local", new("one"))
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%MZ")
    assert "one" in run("jobs", "--since", "1h").stdout
    assert "one" not in run("jobs", "--until", "1h").stdout
    assert "one" in run("jobs", "--since", "2026-01-01").stdout
    assert "no jobs match" in run("jobs", "--since", later).stderr
    assert "is not a date and time" in str(run("jobs", "--since", "soon").exception)


def test_since_counts_from_the_end_of_jobs_that_are_sorted_by_it(run: Run, engine: Engine) -> None:
    """With `--sort finished`, `--since` and `--until` compare the end of a job."""
    engine.store.add("local", new("waiting"))
    fail(engine, "failed")
    listed = json.loads(run("jobs", "--sort", "finished", "--since", "1h", "--json").stdout)
    assert ([job["job_id"] for job in listed["jobs"]], listed["more"]) == (["failed"], False)
    for words in (("--until", "1h"), ("--since", "2099-01-01")):
        assert json.loads(run("jobs", "--sort", "finished", *words, "--json").stdout)["jobs"] == []
    assert "failed" in run("jobs", "--sort", "finished", "--until", "2099-01-01").stdout


def test_the_list_has_the_reason_and_the_time_of_a_failure(run: Run, engine: Engine) -> None:
    """A failed job is listed with the sentence of its error and the time of its end."""
    fail(engine, "failed")
    head, line = run("jobs").stdout.splitlines()
    assert "SINCE (UTC)" in head
    assert FAILURE.message in line
    assert f"{datetime.now(UTC):%Y-%m-%d}" in line


def test_the_topic_is_an_argument(run: Run) -> None:
    """`single TOPIC` adds the same job as `single --topic TOPIC`; the topic is named exactly once."""
    added = run("single", "How tides work").stdout
    assert added == run("single", "--topic", "How tides work").stdout
    assert "name the topic once" in str(run("single", "Tides", "--topic", "Tides").exception)
    assert "Missing argument 'TOPIC'" in str(run("single").exception)
    assert "topic" in str(run("single", "").exception)


def test_the_lines_of_a_job_in_a_log(run: Run, engine: Engine, tmp_path: Path) -> None:
    """`logs --file` prints the lines of one job as text, also behind a prefix, and ignores all others."""
    engine.store.add("local", new("tides"))
    event = {
        "time": "2026-12-24T18:00:00.000Z",
        "severity": "ERROR",
        "message": "poll of tides: failed",
        "job_id": "tides",
    }
    lines = [
        "Dec 24 18:00:00 one python[7]: " + json.dumps({**event, "step": "poll", "error": "x\u001b[2J"}),
        json.dumps({**event, "job_id": "tides-2"}),
        json.dumps({"message": "tides", "other": 1}),
        '{"job_id": "tides"',
        '["tides"]',
        "tides \udcff",
        json.dumps({"job_id": "tides"}),
    ]
    log = "\n".join(lines).encode("utf-8", "surrogateescape")
    (tmp_path / "worker.log").write_bytes(log)
    found = run("logs", "tid", "--file", str(tmp_path / "worker.log"))
    first, second = found.stdout.splitlines()
    assert first == "2026-12-24T18:00:00Z ERROR   poll of tides: failed  error=x\\u001b[2J"
    assert second.strip() == "Z"
    assert run("logs", "tides", "--file", "-", given=lines[0]).stdout.splitlines() == [first]
    nothing = run("logs", "tides", "--file", "-", given="")
    assert (nothing.return_value, nothing.stderr) == (1, "no line is about job tides\n")


def test_the_timeline_of_a_job(run: Run, engine: Engine) -> None:
    """`logs` without a file prints the timeline, and how to see the lines of a worker's log."""
    engine.store.add("local", new("tides"))
    shown = run("logs", "tides")
    assert shown.stdout.endswith("Z  added\n")
    assert "logs tides --file FILE" in shown.stderr
    assert "journalctl" in shown.stderr


def test_a_shell_completes_channels_schedules_services_and_scopes(run: Run, environment: dict[str, str]) -> None:
    """Completed are channels with settings or schedules, schedules, services, and scopes, also as bash divides them."""
    run("channel", "set", "funny", "--weight", "2")
    run("schedule", "add", "fun-facts", "--daily-count", "1")

    def complete(*words: str) -> list[str]:
        line = {"_FLOW_COMPLETE": "fish_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": words[-1]}
        done = CliRunner().invoke(cli, [], env=environment | line, prog_name="flow")
        return [one.removeprefix("plain,") for one in done.stdout.split()]

    assert complete("flow", "single", "--channel", "fu") == ["funny", "fun-facts"]
    assert complete("flow", "jobs", "--channel", "funn") == ["funny"]
    assert complete("flow", "channel", "show", "funn") == ["funny"]
    assert complete("flow", "schedule", "show", "f") == ["fun-facts"]
    assert complete("flow", "channel", "set", "funny", "--service", "pix") == ["pixverse"]
    assert complete("flow", "limits", "pause", "pix") == ["pixverse"]
    assert complete("flow", "budget", "set", "al") == ["all"]
    assert complete("flow", "budget", "set", "channel:funn") == ["channel:funny"]
    assert complete("flow", "budget", "set", "channel", ":") == ["funny", "fun-facts"]
    assert complete("flow", "budget", "set", "channel", ":", "funn") == ["funny"]
    assert complete("flow", "budget", "set", "all", "4") == []
