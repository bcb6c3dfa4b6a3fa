"""The tools for assistants: plan, confirm, follow, over the Model Context Protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tenxsom_flow_engine.api.access import OPERATOR, Caller
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.local import EngineProcess, LocalApi
from tenxsom_flow_engine.api.mcp_server import server
from tenxsom_flow_engine.api.tools import TOOLS
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Cost, Status
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.scripted_parts import Script, open_scripted


@pytest.fixture
def service(clock: ManualClock) -> ScriptedService:
    return ScriptedService(clock, price=Cost(usd=0.5))


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, service: ScriptedService) -> Iterator[Engine]:
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    with open_scripted(settings, clock, Script(), services={service.name: service}) as engine:
        yield engine


def call(engine: Engine, *calls: tuple[str, dict[str, Any]], caller: Caller = OPERATOR) -> list[tuple[bool, Any]]:
    """Call tools as a client of the protocol; return whether each failed, and its content."""
    found: list[tuple[bool, Any]] = []

    async def run() -> None:
        async with Client(server(LocalApi(EngineProcess(engine), lambda: caller))) as client:
            for name, arguments in calls:
                result = await client.call_tool(name, arguments)
                (content,) = result.content
                found.append((bool(result.is_error), json.loads(content.text)))  # type: ignore[union-attr]

    anyio.run(run)
    return found


def test_a_plan_is_priced_confirmed_and_followed(engine: Engine) -> None:
    """Planning adds nothing; adding the plan buys exactly it, once; then the jobs can be followed and cancelled."""
    ((failed, plan),) = call(engine, ("plan_videos", {"jobs": [{"topic": "a"}, {"topic": "b"}]}))
    assert (failed, plan["price"]["usd"], plan["new"]) == (False, 1.0, 2)
    assert not engine.store.page(JobFilter(), limit=10).records
    confirm = ("add_plan", {"plan": plan["plan"]})
    (_, added), (_, again) = call(engine, confirm, confirm)
    assert (added["added"], again) == (2, added)
    job_id = added["job_ids"][0]
    answers = call(
        engine, ("follow_job", {"job_id": job_id, "wait": 0}), ("cancel_job", {"job_id": job_id}),
        ("list_jobs", {"status": ["cancelled", "failed"], "limit": 5}), ("retry_job", {"job_id": job_id}),
        ("show_budgets", {}), ("show_services", {}),
    )  # fmt: skip
    assert [failed for failed, _ in answers] == [False] * 6
    assert [answers[index][1]["status"] for index in (0, 1, 3)] == [Status.QUEUED, Status.CANCELLED, Status.QUEUED]
    assert [job["job_id"] for job in answers[2][1]["jobs"]] == [job_id]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("plan_videos", {"jobs": []}), ("plan_videos", {"jobs": [{"topic": "a", "length": 5}]}), ("plan_videos", {}),
     ("add_plan", {"plan": "plan_" + "0" * 32}), ("follow_job", {"job_id": "../a"}), ("follow_job", {"job_id": "a"}),
     ("list_jobs", {"state": "failed"}), ("unknown", {})],
)  # fmt: skip
def test_wrong_arguments_are_answered(engine: Engine, name: str, arguments: dict[str, Any]) -> None:
    """Wrong arguments, unknown jobs and tools are answers that say so."""
    ((failed, found),) = call(engine, (name, arguments))
    assert failed
    assert found["detail"]


def test_a_changed_price_needs_another_confirmation(engine: Engine, service: ScriptedService) -> None:
    """If the price has risen since the plan was shown, nothing is bought."""
    ((_, plan),) = call(engine, ("plan_videos", {"jobs": [{"topic": "a"}]}))
    service.price = Cost(usd=5.0)
    ((failed, found),) = call(engine, ("add_plan", {"plan": plan["plan"]}))
    assert (failed, found["code"]) == (True, "plan_changed")


def test_each_tool_has_a_schema() -> None:
    """The arguments of each tool are an object without unknown fields, and each tool says what it does."""
    for tool in TOOLS.values():
        assert (tool.schema["type"], tool.schema["additionalProperties"]) == ("object", False)
        assert tool.description.endswith(".")
    assert {name for name, tool in TOOLS.items() if not tool.reads} == {"add_plan", "cancel_job", "retry_job"}


def test_an_assistant_with_a_key_has_its_rights(engine: Engine) -> None:
    """With a key that may add, its jobs are charged to that key, and other tools are refused."""
    user = Caller("a1", frozenset({Scope.ADD}))
    ((_, plan),) = call(engine, ("plan_videos", {"jobs": [{"topic": "a"}]}), caller=user)
    (added, refused) = call(
        engine, ("add_plan", {"plan": plan["plan"]}), ("cancel_job", {"job_id": "x"}), caller=user
    )  # fmt: skip
    assert [engine.store.require(job_id).job.key_id for job_id in added[1]["job_ids"]] == ["a1"]
    assert (refused[0], refused[1]["code"]) == (True, "forbidden")
