"""A command's session with the queue: opened for it, closed after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tenxsom_flow_engine.manager import QueueManager

_T = TypeVar("_T")


def with_manager(queue_type: str | None, act: Callable[[QueueManager], Awaitable[_T]]) -> _T:
    """Return what `act` returns when it is given an open queue manager."""
    import asyncio

    from tenxsom_flow_engine.manager import QueueManager

    async def session() -> _T:
        async with QueueManager(queue_type) as manager:
            return await act(manager)

    return asyncio.run(session())
