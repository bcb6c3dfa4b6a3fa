"""Parsing of the plan of the simulated service."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.services.simulated.config import SimulationPlan
from tenxsom_flow_engine.services.simulated.service import SimulatedService


@pytest.mark.parametrize("text", ["busy=2", "crash=1.5", "failed=-0.1", "latency=-1", "jitter=2", "busy=nan", "busy"])
def test_invalid_values_are_refused(text: str) -> None:
    """A probability above one, a negative time or a missing number is refused with the option's name."""
    with pytest.raises(InvalidInput) as caught:
        SimulationPlan.parse(text)
    assert text.partition("=")[0] in str(caught.value)


def test_a_plan() -> None:
    """A plan has times in seconds and probabilities up to one, separated by blanks or commas."""
    plan = SimulationPlan.parse("latency=600, slots=5 busy=1 idempotent=1 create_timeout=0.5")
    assert plan == SimulationPlan(latency=600, slots=5, busy=1, idempotent=1, create_timeout=0.5)


def test_the_page_has_every_option_with_its_default() -> None:
    """The table of `docs/services/simulated.md` lists exactly the options of a plan, with their defaults."""
    page = (Path(__file__).parents[2] / "docs/services/simulated.md").read_text("utf-8")
    documented = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", page, re.MULTILINE)
    assert {name: float(default) for name, default in documented} == asdict(SimulationPlan())
    for plan in re.findall(r"^\|[^|]+\| `([\w=. ]+=[\w=. ]+)` \|$", page, re.MULTILINE):
        SimulationPlan.parse(plan)


def test_a_rehearsal_can_shorten_the_time_out_of_a_create(tmp_path: Path) -> None:
    """The time limit of a create comes from the plan; the default is half a minute."""
    default, short = (
        SimulatedService(SimulationPlan.parse(text), tmp_path / "ledger", SystemClock())
        for text in ("", "create_timeout=2")
    )
    assert (default.create_timeout, short.create_timeout) == (30.0, 2.0)
