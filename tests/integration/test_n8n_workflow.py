"""The workflow for n8n is well formed, and calls routes that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tenxsom_flow_engine.api.blueprint import PREFIX, ROUTES
from tenxsom_flow_engine.jobs import FINAL, Status

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
