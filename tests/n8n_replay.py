"""Runs an n8n workflow against an application: the node types and expressions that the project's workflow uses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

EXECUTION = "41"


class Replay:
    """One execution of a workflow with a key.

    `change` sets fields of the node "Settings"; `pass_time` is called before each node with its name.
    """

    def __init__(
        self, workflow: Any, client: FlaskClient, key: str, change: dict[str, str], pass_time: Callable[[str], None]
    ) -> None:
        self.nodes = {node["name"]: node for node in workflow["nodes"]}
        self.connections = workflow["connections"]
        self.client = client
        self.key = key
        self.change = change
        self.pass_time = pass_time
        #: The last output of each node, the visited nodes in order, and the answers of its requests.
        self.outputs: dict[str, Any] = {}
        self.visited: list[str] = []
        self.answers: list[TestResponse] = []

    def run(self) -> Any:
        """Run from the node "Start"; return the output of the last node."""
        name: str = "Start"
        item: Any = {}
        while True:
            self.visited.append(name)
            self.pass_time(name)
            output, end = self._node(self.nodes[name], item)
            self.outputs[name] = output
            following = self.connections.get(name, {}).get("main", [])
            if end >= len(following):
                return output
            name, item = following[end][0]["node"], output

    def _node(self, node: Any, item: Any) -> tuple[Any, int]:
        """Run a node; return its output, and the connector that follows."""
        own = node["parameters"]
        match node["type"].rpartition(".")[2]:
            case "manualTrigger":
                return {}, 0
            case "set":
                return {one["name"]: one["value"] for one in own["assignments"]["assignments"]} | self.change, 0
            case "httpRequest":
                return self._request(own, item), 0
            case "if":
                conditions = own["conditions"]["conditions"]
                assert own["conditions"]["combinator"] == "or"
                met = any(self._text(one["leftValue"], item) == one["rightValue"] for one in conditions)
                return item, 0 if met else 1
            case "stopAndError":
                return self._text(own["errorMessage"], item), 0
        raise AssertionError(f"unknown node {node['type']}")

    def _request(self, own: Any, item: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        for one in own.get("headerParameters", {}).get("parameters", []):
            headers[one["name"]] = self._text(one["value"], item)
        body = self._text(own["jsonBody"], item) if own.get("sendBody") else None
        answer = self.client.open(
            self._text(own["url"], item).replace("wait=30", "wait=0"), method=own["method"], headers=headers, data=body,
            content_type="application/json" if body else None, buffered=True,
        )  # fmt: skip
        self.answers.append(answer)
        assert answer.status_code in (200, 201), answer.text
        return answer.get_json() if answer.mimetype == "application/json" else answer.data

    def _text(self, text: str, item: Any) -> str:
        if not text.startswith("="):
            return text
        return re.sub(r"{{(.*?)}}(?!})", lambda match: str(self._value(match[1].strip(), item)), text[1:])

    def _value(self, expression: str, item: Any) -> Any:
        if expression == "$execution.id":
            return EXECUTION
        if expression.startswith("'"):
            return expression.strip("'")
        if built := re.fullmatch(r"JSON\.stringify\({(.*)}\)", expression):
            fields = [field.split(":", 1) for field in built[1].split(",")]
            return json.dumps({name.strip(): self._value(value.strip(), item) for name, value in fields})
        if choice := re.fullmatch(r"(.+) \? (.+) : (.+)", expression):
            return self._value(choice[2] if self._value(choice[1], item) else choice[3], item)
        named = re.fullmatch(r"(?:\$json|\$\('(?P<node>[^']+)'\)\.item\.json)(?P<path>[\w.\[\]]*)", expression)
        assert named, f"unknown expression {expression}"
        found = self.outputs[named["node"]] if named["node"] else item
        for part in re.findall(r"\w+", named["path"]):
            found = found[int(part) if part.isdecimal() else part]
        return found
