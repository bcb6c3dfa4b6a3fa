"""`budget`, plans that exceed a budget, and the alerts of workers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tenxsom_flow_engine.budgets import ALL, parse_budget
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.events import Endpoint, EndpointKind
from tenxsom_flow_engine.jobs.submission import Intent
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, a_claim, new
from tenxsom_flow_engine.workers.budget_alerts import BudgetAlerts

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in a home with the service pixverse, whose 5 seconds at 360p cost 9 cents a credit."""
    environment = {
        "TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local", "USEAPI_TOKEN": "t",
        "TENXSOM_BUDGETS": "service:pixverse=50/mo", "TENXSOM_UNKNOWN_PRICE": "0.4",
    }  # fmt: skip

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(cli, list(words), env=environment, standalone_mode=False)

    return invoke


def test_budgets_are_set_shown_and_removed(run: Run) -> None:
    """A budget that was set is shown with its use, next to that of the environment, and removed again."""
    assert run("budget", "set", "channel:fun", "10/d", "200/mo", "--timezone", "Europe/Berlin").exception is None
    assert run("budget", "set", "service:pixverse", "60/w").exception is None
    shown = json.loads(run("budget", "list", "--json").stdout)["budgets"]
    assert [(one["scope"], one["limit"], one["timezone"], one["left_usd"]) for one in shown] == [
        ("channel:fun", "10/d", "Europe/Berlin", 10.0),
        ("channel:fun", "200/mo", "Europe/Berlin", 200.0),
        ("service:pixverse", "60/w", "UTC", 60.0),
    ]
    assert shown == json.loads(run("status").stdout)["budgets"]
    assert "TENXSOM_BUDGETS" not in run("budget").stdout
    assert "50/mo Europe" not in run("budget", "remove", "service:pixverse").stderr
    table = run("budget").stdout
    assert "$50/mo" in table
    assert "TENXSOM_BUDGETS" in table
    assert "no budget was set for all" in str(run("budget", "remove", "all").exception)


def test_a_plan_names_the_jobs_that_do_not_fit(run: Run, tmp_path: Path) -> None:
    """A dry run ends with exit code 4 and a sentence for each period; adding the jobs only reports them."""
    topics = tmp_path / "topics.txt"
    topics.write_text("One\nTwo\nThree\n")
    batch = ("batch", "--topics-file", str(topics), "--service", "pixverse", "--channel", "fun")
    assert run(*batch, "--dry-run").return_value == 0
    run("budget", "set", "channel:fun", "0.01/d")
    planned = run(*batch, "--dry-run", "--json")
    assert planned.return_value == 4
    assert "3 of 3 jobs" in planned.stderr
    (sentence,) = json.loads(planned.stdout)["over_budget"]
    assert "the budget channel:fun 0.01/d has $0.01 left" in sentence
    added = run(*batch)
    assert added.return_value == 0
    assert "budget: 3 of 3 jobs" in added.stderr
    assert run(*batch, "--dry-run").return_value == 0
    single = run("single", "--topic", "Four", "--service", "pixverse", "--channel", "fun", "--dry-run")
    assert single.return_value == 4


def test_alerts_are_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At half, four fifths and all of a budget, one of several workers logs a line and writes an event, once."""
    clock = ManualClock()
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "local", clock=clock, services={}) as engine:
        engine.store.set_budget(ALL, parse_budget(ALL, "1/d"))
        engine.store.swap_endpoint(None, Endpoint(id="we_1", kind=EndpointKind.WEBHOOK, url="https://example.org/"))
        workers = {name: BudgetAlerts(engine) for name in ("w-1", "w-2")}
        levels = []
        for number, micro_usd in enumerate((400_000, 100_000, 350_000, 50_000, 100_000)):
            name = f"j{number}"
            engine.store.add("local", new(name))
            (record,) = engine.store.claim(a_claim(slots={ALPHA: 100}, only=name)).records
            intent = Intent(submission_id=name, service=ALPHA, lifetime=9.0, reserve=micro_usd)
            engine.store.intend(name, record.lease_token, intent)
            with caplog.at_level(logging.WARNING):
                caplog.clear()
                for worker in (*workers, *workers):
                    workers[worker].check()
                    clock.advance(1)
            levels.append([line.levelname for line in caplog.records])
            assert all("% of the budget all 1/d is used (" in line.getMessage() for line in caplog.records)
        messages = [json.loads(one.message.body) for one in reversed(engine.store.deliveries("we_1", 10))]
    assert [len(lines) for lines in levels] == [0, 1, 1, 0, 1]
    assert [(one["type"], one["data"]["used_share"]) for one in messages] == [
        ("budget.50", 0.5), ("budget.80", 0.85), ("budget.100", 1.0)
    ]  # fmt: skip
    assert messages[0]["data"]["scope"] == ALL
    assert messages[0]["data"]["reserved_usd"] == 0.5
