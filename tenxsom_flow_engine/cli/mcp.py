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
    (docs/api.md). With an API key in TENXSOM_MCP_KEY it has the rights and the budget of that key, else all rights. It
    needs the extra mcp: pip install "tenxsom-flow-engine[mcp]".
    """
    from importlib.util import find_spec

    from tenxsom_flow_engine.errors import ConfigurationError

    if find_spec("mcp_types") is None:
        raise ConfigurationError(
            "the package mcp is not installed", next_step='install it: pip install "tenxsom-flow-engine[mcp]"'
        )
    from tenxsom_flow_engine.api.access import OPERATOR, Access, Caller
    from tenxsom_flow_engine.api.local import EngineProcess, LocalApi
    from tenxsom_flow_engine.api.mcp_server import serve

    with session(queue_type) as engine:
        key, access = engine.settings.mcp_key, Access(lambda token: False)

        def caller() -> Caller:
            return access(lambda: engine.store, f"Bearer {key}") if key else OPERATOR

        serve(LocalApi(EngineProcess(engine), caller))
