"""The rate limiter for other programs, with the limits and the store from the settings."""

from __future__ import annotations

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import open_store
from tenxsom_flow_engine.queues.selection import choose_queue
from tenxsom_flow_engine.queues.stores import open_ledger
from tenxsom_flow_engine.rate_limits.client import RateLimitedAPIClient
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.windows import Limits
from tenxsom_flow_engine.settings import Settings, load

__all__ = ["RateLimitedAPIClient", "UseAPIRateLimiter"]


class UseAPIRateLimiter(RateLimiter):
    """The rate limiter in the store of the chosen queue, shared with its workers. Close it after use.

    Without arguments, everything is read from the environment. Raises `ConfigurationError`, `StoreError`.
    """

    def __init__(
        self, limits: Limits | None = None, *, queue_type: str | None = None, settings: Settings | None = None
    ) -> None:
        settings = settings or load()
        self._store = open_store(settings, choose_queue(settings, queue_type).queue_type, SystemClock())
        super().__init__(open_ledger(self._store), settings.limits if limits is None else limits)

    def close(self) -> None:
        """Close the store. Safe to call twice."""
        self._store.close()

    def __enter__(self) -> UseAPIRateLimiter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
