"""Quotas as operators see and change them, enforced by real worker processes."""

from __future__ import annotations

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.queues.stores import open_ledger
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tests.contract.limiter_suite import sliding_maximum

from .conftest import Flow

SIMULATED = {"TENXSOM_SIMULATED": "latency=0", "TENXSOM_LIMITS": "simulated=4/s,1000/h"}


def topics(flow: Flow, number: int) -> str:
    file = flow.home / "topics.txt"
    file.write_text("".join(f"Topic {n}\n" for n in range(number)))
    return str(file)


def test_limits_are_shown_and_changed(flow: Flow) -> None:
    """`limits` shows limits and their use; a limit set at run time overrides the environment and is marked."""
    assert flow.run("limits", "set", "pixverse", "2/s", "20/m", "100/15m").returncode == 0
    assert flow.run("limits", "pause", "heygen", "--why", "the card is changed").returncode == 0
    found = flow.json("limits", "--json")
    pixverse, heygen = found["services"]["pixverse"], found["services"]["heygen"]
    assert [window["window"] for window in pixverse["windows"]] == ["2/s", "20/m", "100/15m"]
    assert pixverse["set_at_run_time"]
    assert (heygen["state"], heygen["opens_in"], heygen["set_at_run_time"]) == ("paused", None, False)
    table = flow.run("limits").stdout
    assert "100/15m*" in table
    assert "* set with this command; undo with: run_flow_enhanced.py limits unset SERVICE" in table
    assert "heygen is paused: the card is changed; resume it with: run_flow_enhanced.py limits resume heygen" in table
    assert flow.run("limits", "unset", "pixverse").returncode == 0
    assert flow.run("limits", "resume", "heygen").returncode == 0
    table = flow.run("limits").stdout
    assert "*" not in table
    assert "paused" not in table


def test_wrong_limits_are_refused(flow: Flow) -> None:
    """An unknown service and an invalid limit are usage errors that name valid values."""
    wrong = ((("unknown", "1/s"), "pixverse"), (("pixverse", "fast"), "20/m"), (("global", "1/s", "2/s"), "twice"))
    for words, reason in wrong:
        done = flow.run("limits", "set", *words)
        assert done.returncode == 2
        assert reason in done.stderr


def test_workers_share_a_quota(either: Flow) -> None:
    """Two workers together buy at most the limit in any second; jobs of a paused service wait without an attempt."""
    either.environment |= SIMULATED
    either.run("limits", "pause", "simulated")
    done = either.run("batch", "--topics-file", topics(either, 12), "--service", "simulated")
    assert done.returncode == 0, done.stderr
    for _ in range(2):
        either.worker("--concurrency", "4")
    with open_engine(load(either.environment)) as engine:
        either.until(lambda: engine.limiter.get_rate_limit_stats()["services"]["simulated"]["waiting"], "a refusal")
        assert engine.store.status_counts().by_status[Status.SUCCEEDED] == 0
        either.run("limits", "resume", "simulated")
        either.until(lambda: engine.store.status_counts().by_status[Status.SUCCEEDED] == 12, "the end of all jobs")
        admissions = open_ledger(engine.store).snapshot("simulated").recent
        jobs = engine.store.page(JobFilter(), limit=20).records
    assert len(admissions) == 12
    assert sliding_maximum(list(admissions), 1.0) <= 4
    assert all(job.attempts == 0 for job in jobs)
    stats = either.json("limits", "--json")
    assert stats["services"]["simulated"]["answered"] == 12
    assert stats["efficiency_metrics"]["efficiency_score"] == 100
