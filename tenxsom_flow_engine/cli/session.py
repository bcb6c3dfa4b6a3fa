"""A command's session with the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine


def session(queue_type: str | None) -> Engine:
    """Open what the settings ask for, to be used in `with`; nothing of it is loaded before."""
    from tenxsom_flow_engine.engine import open_engine
    from tenxsom_flow_engine.settings import load

    return open_engine(load(), queue_type)
