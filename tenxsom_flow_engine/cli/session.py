"""Open the engine for a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tenxsom_flow_engine.composition import Overrides
    from tenxsom_flow_engine.engine import Engine


def session(queue_type: str | None) -> Engine:
    """Load the settings and the libraries, and open the engine for a `with` block."""
    from tenxsom_flow_engine.composition import open_engine
    from tenxsom_flow_engine.settings import load

    return open_engine(load(), queue_type, overrides=overrides())


def overrides() -> Overrides | None:
    """Return the parts that the caller of `console.run` handed in, if any."""
    context = click.get_current_context(silent=True)
    return context.find_root().obj if context else None
