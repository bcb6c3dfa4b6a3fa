"""`mcp`: tools for assistants (Model Context Protocol)."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.session import session


@click.command()
@options.queue_type
def mcp(queue_type: str | None) -> None:
    """Serve tools for an assistant on standard input and output (MCP).

    An assistant plans videos, shows you the price, adds exactly the plan that you confirm, and follows its jobs
    (docs/api.md). It needs the extra mcp: pip install "tenxsom-flow-engine[mcp]".
    """
    from importlib.util import find_spec

    from tenxsom_flow_engine.errors import ConfigurationError

    if find_spec("mcp_types") is None:
        raise ConfigurationError(
            "the package mcp is not installed", next_step='install it: pip install "tenxsom-flow-engine[mcp]"'
        )
    from tenxsom_flow_engine.api.local import EngineProcess, LocalApi
    from tenxsom_flow_engine.api.mcp_server import serve

    with session(queue_type) as engine:
        serve(LocalApi(EngineProcess(engine), "mcp"))
