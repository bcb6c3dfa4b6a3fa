"""The workflow for n8n is well formed, calls routes that exist, and its requests give a video."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.api import keys
from tenxsom_flow_engine.api.blueprint import PREFIX, ROUTES
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import FINAL, Status
from tenxsom_flow_engine.services.base import Failed
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.api_client import app_of
from tests.n8n_replay import Replay
from tests.scripted_parts import Script, open_scripted
from tests.stepping import step_due

WORKFLOW = json.loads((Path(__file__).parents[2] / "deploy/n8n/topic-to-video.json").read_text("utf-8"))


def test_each_connection_leads_to_a_node() -> None:
    """All nodes are reached from the first one, and no connection leads to a node that does not exist."""
    names = {node["name"] for node in WORKFLOW["nodes"]}
    assert len({node["id"] for node in WORKFLOW["nodes"]}) == len(names)
    reached, waiting = set(), ["Start"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [end["node"] for ends in WORKFLOW["connections"].get(name, {}).get("main", []) for end in ends]
    assert reached == names


def test_its_requests_are_those_of_the_api() -> None:
    """Each request is one of a route, the one that adds has an idempotency key, and no key is in the file."""
    routes = {(route.method, re.sub(r"{\w+}", "X", PREFIX + route.path)) for route in ROUTES}
    requests = {node["name"]: node["parameters"] for node in WORKFLOW["nodes"] if node["type"].endswith("httpRequest")}
    called = set()
    for parameters in requests.values():
        path = re.sub(r"{{.*?api }}", "", parameters["url"].removeprefix("="))
        path = path.replace("{{ $json.links.video }}", f"{PREFIX}/jobs/X/video").partition("?")[0]
        called.add((parameters["method"], re.sub(r"{{.*?}}", "X", path)))
    assert called <= routes
    assert len(called) == 3
    (header,) = requests["Add the job"]["headerParameters"]["parameters"]
    assert header["name"] == "Idempotency-Key"
    assert "tf_" not in json.dumps(WORKFLOW)


def test_it_ends_with_every_job() -> None:
    """The workflow waits for every status that waiting can change, and for no other."""
    (finished,) = [node for node in WORKFLOW["nodes"] if node["name"] == "Finished"]
    conditions = finished["parameters"]["conditions"]["conditions"]
    assert {one["rightValue"] for one in conditions} == FINAL | {Status.HELD}


@pytest.fixture
def service(clock: ManualClock) -> ScriptedService:
    service = ScriptedService(clock)
    service.video = tiny_video("9:16", 5)
    return service


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, service: ScriptedService) -> Iterator[Engine]:
    settings = load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_LIMITS": "global=none"})
    with open_scripted(settings, clock, Script(), services={ALPHA: service}) as engine:
        yield engine


def replay(engine: Engine) -> Replay:
    """Return an execution of the workflow; before it waits again, the job's next steps run."""

    def pass_time(node: str) -> None:
        if node != "Wait for the video" or execution.visited.count(node) == 1:
            return
        for _ in range(20):
            step_due(engine)

    key, _ = keys.create(engine.store, (Scope.READ, Scope.ADD))
    execution = Replay(WORKFLOW, app_of(engine).test_client(), key, {"api": "", "service": ALPHA}, pass_time)
    return execution


def test_its_requests_give_a_video(engine: Engine, service: ScriptedService) -> None:
    """Replayed, the workflow adds the job once, waits until it is finished, and gets its video."""
    execution = replay(engine)
    assert execution.run() == service.video
    waiting = ["Wait for the video", "Finished"]
    assert execution.visited == [
        "Start", "Settings", "Add the job", *waiting, *waiting, "Has a video", "Get the video",
    ]  # fmt: skip
    assert [answer.status_code for answer in execution.answers] == [201, 200, 200, 200]
    (record,) = engine.store.page(JobFilter(), limit=10).records
    assert record.job.topic == "Why the ocean glows at night"


def test_a_job_without_a_video_is_an_error(engine: Engine, service: ScriptedService) -> None:
    """If the job fails, the workflow stops with the reason."""
    service.checks.append(Failed("generation_failed", "moderation"))
    execution = replay(engine)
    assert "failed: " in execution.run()
    assert execution.visited[-1] == "No video"
