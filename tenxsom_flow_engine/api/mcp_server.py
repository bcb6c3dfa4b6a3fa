"""The MCP server: the tools of the API for an assistant, on standard input and output."""

from __future__ import annotations

from typing import Any

import anyio
import mcp_types as protocol
import msgspec
from anyio.to_thread import run_sync
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.api.local import Answer, LocalApi
from tenxsom_flow_engine.api.tools import INSTRUCTIONS, TOOLS


def server(api: LocalApi) -> Server[Any]:
    """Return a server whose tools call the routes of an API."""

    async def list_tools(context: Any, parameters: protocol.PaginatedRequestParams | None) -> protocol.ListToolsResult:
        return protocol.ListToolsResult(tools=[_described(name) for name in TOOLS])

    async def call_tool(context: Any, parameters: protocol.CallToolRequestParams) -> protocol.CallToolResult:
        tool = TOOLS.get(parameters.name)
        if tool is None:
            return _result(Answer(404, {"detail": f"there is no tool {parameters.name[:100]!r}"}))
        # In a thread, because the engine blocks.
        return _result(await run_sync(tool.run, api, parameters.arguments or {}))

    return Server(
        "tenxsom-flow",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def serve(api: LocalApi) -> None:
    """Serve until standard input ends."""

    async def run() -> None:
        tools = server(api)
        async with stdio_server() as (incoming, outgoing):
            await tools.run(incoming, outgoing, tools.create_initialization_options())

    anyio.run(run)


def _described(name: str) -> protocol.Tool:
    tool = TOOLS[name]
    hints = protocol.ToolAnnotations(read_only_hint=tool.reads, destructive_hint=not tool.reads)
    return protocol.Tool(name=name, description=tool.description, input_schema=tool.schema, annotations=hints)


def _result(answer: Answer) -> protocol.CallToolResult:
    text = msgspec.json.encode(answer.content).decode()
    content: list[Any] = [protocol.TextContent(type="text", text=text)]
    return protocol.CallToolResult(content=content, is_error=answer.failed)
