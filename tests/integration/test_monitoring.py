"""The alert rules and `docs/monitoring.md` match the exported metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.report.channels import channel_figures
from tenxsom_flow_engine.report.prometheus import metrics
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.report.verdicts import CODES
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES = ALERTS.read_text("utf-8")


@pytest.fixture
def measured(tmp_path: Path) -> dict[str, set[str]]:
    """The names of the samples in `/metrics` with their labels, as a query writes them."""
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "local", clock=ManualClock()) as engine:
        engine.queue.pause()
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


def test_rules_use_existing_metrics(measured: dict[str, set[str]]) -> None:
    """Every metric in a rule exists, and so does every label in its selectors and groupings."""
    used = re.findall(r"(tenxsom_\w+)(?:\{([^}]*)\})?", RULES)
    assert len(used) > 10
    for name, narrowed in used:
        assert name in measured, name
        assert set(re.findall(r"(\w+)=", narrowed)) <= measured[name], (name, narrowed)
    assert set(re.findall(r'code="([^"]+)"', RULES)) <= set(CODES)
    every = {label for labels in measured.values() for label in labels}
    for labels in re.findall(r"by \(([^)]*)\)", RULES):
        assert set(re.split(r",\s*", labels)) <= every


def test_rules_use_existing_states() -> None:
    """Every state in a rule is a state of a gate or a queue."""
    states = {"open", "full", "closed", "stopped", "paused", "RUNNING", "PAUSED", "UNKNOWN"}
    assert set(re.findall(r'state="([^"]+)"', RULES)) <= states
    assert set(re.findall(r'status="([^"]+)"', RULES)) <= {"succeeded", "failed", "cancelled"}


def test_each_alert_leads_to_a_section() -> None:
    """The runbook of each alert is a section of the manual."""
    headings = re.findall(r"^### (.+)$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"runbook: docs/operations\.md#(\S+)", RULES)
    assert len(named) > 5
    assert set(named) <= set(headings)


def test_the_rules_are_well_formed() -> None:
    """Each rule has a unique name, an expression, a severity and a summary; promtool accepts it, if installed."""
    blocks = RULES.split("      - alert: ")[1:]
    names = [block.splitlines()[0] for block in blocks]
    assert len(names) == len(set(names)) > 5
    for block in blocks:
        for needed in ("        expr: ", "        labels:", "          severity: ", "          summary: "):
            assert needed in block, block
    if shutil.which("promtool") is not None:
        subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True, capture_output=True)


def test_the_manual_names_every_metric(measured: dict[str, set[str]]) -> None:
    """`docs/monitoring.md` lists exactly the existing metrics."""
    manual = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    named = set(re.findall(r"`(tenxsom_\w+)`", manual))
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in measured}
    assert named == plain
