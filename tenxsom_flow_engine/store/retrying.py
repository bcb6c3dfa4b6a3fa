"""Retry a store write until it succeeds: for a ticket or an outcome that only this worker knows so far."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from tenxsom_flow_engine.errors import StoreBroken, StoreFull, StoreUnavailable
from tenxsom_flow_engine.store.outage import Outage
from tenxsom_flow_engine.timings import Timings

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class RetryingWrites:
    """Repeats a store call until it succeeds, or until a stopping worker sets `abandon`."""

    def __init__(self, abandon: Event, timings: Timings = Timings(), outage: Outage | None = None) -> None:
        self._abandon = abandon
        self._timings = timings
        self._outage = outage or Outage(_log, "the store")

    def __call__(self, call: Callable[[], _T], what: str) -> _T:
        """Return what `call` returns; `what` names the write in the log. Raises the store's error once abandoned."""
        pause = self._timings.first_write_retry
        while True:
            try:
                result = call()
            except StoreBroken as error:
                _log.error("%s was not saved: %s", what, error)
                raise
            except (StoreUnavailable, StoreFull) as error:
                self._outage.failed(what, f"saving {what} failed and will be retried: {error}")
                if self._abandon.wait(pause):
                    _log.error("%s was not saved: the worker is stopping", what)
                    raise
                pause = min(pause * 2, self._timings.max_write_retry)
            except BaseException:  # the store answered, for example that the lease is lost
                self._outage.succeeded(what)
                raise
            else:
                self._outage.succeeded(what)
                return result
