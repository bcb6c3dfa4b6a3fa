"""The alert rules, the files for Cloud Monitoring and Grafana, and `docs/monitoring.md` match the exported metrics."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tenxsom_flow_engine.budgets import parse_budget
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.report.channels import channel_figures
from tenxsom_flow_engine.report.prometheus import metrics
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.report.verdicts import CODES
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.promtool import promtool

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES = ALERTS.read_text("utf-8")
ALERT_RULES = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
MONITORING = ROOT / "deploy" / "monitoring"
POLICIES = {path: json.loads(path.read_text("utf-8")) for path in sorted((MONITORING / "policies").glob("*.json"))}
DASHBOARD, GRAFANA = (json.loads((MONITORING / f"{name}.json").read_text("utf-8")) for name in ("dashboard", "grafana"))


@pytest.fixture
def measured(tmp_path: Path) -> dict[str, set[str]]:
    """The names of the samples in `/metrics` with their labels, as a query writes them."""
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "local", clock=ManualClock()) as engine:
        engine.queue.pause()
        engine.store.set_budget("all", parse_budget("all", "10/d"))
        engine.store.set_channel("fun", lambda present: Channel(weight=2))
        report = take_report(engine)
        families = list(
            text_string_to_metric_families(metrics(report, channel_figures(engine.store, report.at)).decode())
        )
    found: dict[str, set[str]] = {family.name: set() for family in families if not family.samples}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def google_queries() -> list[str]:
    """Return the queries of the dashboard for Cloud Monitoring."""
    sets = [data for tile in DASHBOARD["mosaicLayout"]["tiles"] for data in tile["widget"]["xyChart"]["dataSets"]]
    return [query for one in sets if (query := one["timeSeriesQuery"].get("prometheusQuery"))]


def queries() -> dict[str, str]:
    """Return the queries of all files by where they are."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in ALERT_RULES}
    found |= {f"policy {path.stem}": condition(policy)["query"] for path, policy in POLICIES.items()}
    found |= {f"dashboard {number}": query for number, query in enumerate(google_queries())}
    targets = [target for panel in GRAFANA["panels"] for target in panel["targets"]]
    return found | {f"grafana {number}": target["expr"] for number, target in enumerate(targets)}


def condition(policy: dict[str, Any]) -> dict[str, Any]:
    (only,) = policy["conditions"]
    found: dict[str, Any] = only["conditionPrometheusQueryLanguage"]
    return found


def parts(query: str) -> Iterator[Any]:
    """Parse a query, and yield all expressions in it."""

    def walk(one: Any) -> Iterator[Any]:
        yield one
        inner = [getattr(one, name, None) for name in ("expr", "lhs", "rhs", "param", "vector_selector")]
        for part in [*inner, *getattr(one, "args", [])]:
            if isinstance(part, promql_parser.Expr) or hasattr(part, "prettify"):
                yield from walk(part)

    yield from walk(promql_parser.parse(query))


@pytest.mark.parametrize("where", queries())
def test_queries_use_existing_metrics(measured: dict[str, set[str]], where: str) -> None:
    """Each query parses; its metrics, labels, groupings, verdicts and states exist."""
    states = {"open", "full", "closed", "stopped", "paused", "RUNNING", "PAUSED", "UNKNOWN"}
    known: dict[str, set[str]] = {
        "code": set(CODES),
        "level": {"ok", "notice", "problem"},
        "state": states,
        "status": {one.value for one in Status},
    }
    used: set[str] = set()
    labels: set[str] = set()
    for part in parts(queries()[where]):
        if isinstance(part, promql_parser.VectorSelector):
            assert part.name in measured, part.name
            used |= measured[part.name]
            for matcher in part.matchers.matchers:
                assert matcher.name in measured[part.name], (part.name, matcher.name)
                assert matcher.value in known[matcher.name], matcher.value
        elif isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            labels |= set(part.modifier.labels)
    assert labels <= used


def test_the_policies_are_the_rules() -> None:
    """Cloud Monitoring has the same alerts as Prometheus: query, duration, severity and section of the manual."""
    seconds = {"m": 60, "h": 3600}
    policies = {condition(policy)["alertRule"]: policy for policy in POLICIES.values()}
    assert policies.keys() == {rule["alert"] for rule in ALERT_RULES}
    for rule in ALERT_RULES:
        policy = policies[rule["alert"]]
        assert " ".join(rule["expr"].split()) == condition(policy)["query"]
        waits = str(rule.get("for", "0m"))
        assert condition(policy)["duration"] == f"{int(waits[:-1]) * seconds[waits[-1]]}s"
        assert policy["severity"] == rule["labels"]["severity"].upper()
        runbook = rule["annotations"].get("runbook", "")
        content = policy["documentation"]["content"]
        assert runbook in content
        assert "{{" not in content
        assert set(re.findall(r"\$\{metric_or_resource\.label\.(\w+)\}", content)) <= {"service", "place"}


def test_both_dashboards_show_the_same() -> None:
    """Grafana's dashboard has the queries of Cloud Monitoring's, and their panels do not overlap."""
    assert [target["expr"] for panel in GRAFANA["panels"] for target in panel["targets"]] == google_queries()
    places = [(tile.get("xPos", 0), tile.get("yPos", 0)) for tile in DASHBOARD["mosaicLayout"]["tiles"]]
    assert len(set(places)) == len(places)
    assert all(x + 24 <= DASHBOARD["mosaicLayout"]["columns"] for x, _ in places)
    assert len({panel["id"] for panel in GRAFANA["panels"]}) == len(GRAFANA["panels"])
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(GRAFANA)))
    assert used == {variable["name"] for variable in GRAFANA["templating"]["list"]}


def test_the_sidecar_scrapes_the_worker() -> None:
    """The sidecar of Cloud Run reads the port and the path that a worker serves by default."""
    found = yaml.safe_load((MONITORING / "run-monitoring.yaml").read_text("utf-8"))
    assert (found["apiVersion"], found["kind"]) == ("monitoring.googleapis.com/v1beta", "RunMonitoring")
    (endpoint,) = found["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (load({}).web.port, "/metrics")


def test_each_alert_leads_to_a_section() -> None:
    """The runbook of each alert is a section of the manual."""
    headings = re.findall(r"^### (.+)$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"runbook: docs/operations\.md#(\S+)", RULES)
    assert len(named) > 5
    assert set(named) <= set(headings)


def test_the_rules_are_well_formed() -> None:
    """Each rule has a unique name, an expression, a severity and a summary; promtool accepts it, if there is one."""
    blocks = RULES.split("      - alert: ")[1:]
    names = [block.splitlines()[0] for block in blocks]
    assert len(names) == len(set(names)) > 5
    for block in blocks:
        for needed in ("        expr: ", "        labels:", "          severity: ", "          summary: "):
            assert needed in block, block
    if (checker := promtool()) is not None:
        subprocess.run([checker, "check", "rules", str(ALERTS)], check=True, capture_output=True)


def test_the_metrics_are_well_formed(tmp_path: Path) -> None:
    """Promtool accepts `/metrics`."""
    if (checker := promtool()) is None:
        pytest.skip("promtool is neither installed nor available as a package")
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "local") as engine:
        report = take_report(engine)
        exported = metrics(report, channel_figures(engine.store, report.at))
    done = subprocess.run([checker, "check", "metrics"], input=exported, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_manual_names_every_metric(measured: dict[str, set[str]]) -> None:
    """`docs/monitoring.md` lists exactly the existing metrics."""
    manual = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    named = set(re.findall(r"`(tenxsom_\w+)`", manual))
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in measured}
    assert named == plain
