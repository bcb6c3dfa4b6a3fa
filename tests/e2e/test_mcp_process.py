"""The MCP server as an assistant starts it: a process on standard input and output."""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
from mcp import Client, StdioServerParameters, stdio_client

from tests.e2e.conftest import ROOT, Flow


def test_an_assistant_makes_a_video(flow: Flow) -> None:
    """An assistant plans a video, adds the plan and follows the job until the worker has made it."""
    flow.environment |= {"TENXSOM_SIMULATED": "latency=0"}
    flow.worker()
    program = StdioServerParameters(
        command=sys.executable, args=[str(ROOT / "run_flow_enhanced.py"), "mcp"], env=flow.environment
    )

    async def talk() -> dict[str, Any]:
        async with Client(stdio_client(program)) as client:

            async def call(name: str, **arguments: Any) -> Any:
                result = await client.call_tool(name, arguments)
                assert not result.is_error, result.content
                return json.loads(result.content[0].text)  # type: ignore[union-attr]

            assert "plan_videos" in {tool.name for tool in (await client.list_tools()).tools}
            plan = await call("plan_videos", jobs=[{"topic": "How tides work", "service": "simulated"}])
            added = await call("add_plan", plan=plan["plan"])
            job: dict[str, Any] = {"status": "queued"}
            while job["status"] in ("queued", "running", "rendering"):
                job = await call("follow_job", job_id=added["job_ids"][0], wait=30)
            return job

    assert anyio.run(talk)["status"] == "succeeded"
