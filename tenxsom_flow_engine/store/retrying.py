"""Insisting on a write that must not be lost: what a worker knows and the store does not yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from tenxsom_flow_engine.errors import StoreFull, StoreUnavailable

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

#: Seconds between two tries: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class RetryingWrites:
    """Repeats a store call until it succeeds; `abandon` is set by a stop that will wait no longer."""

    def __init__(self, abandon: Event) -> None:
        self._abandon = abandon

    def __call__(self, call: Callable[[], _T], what: str) -> _T:
        """Return what `call` returns; `what` names it in the log. Raises the store's error once abandoned."""
        pause = FIRST_PAUSE
        while True:
            try:
                return call()
            except (StoreUnavailable, StoreFull) as error:
                _log.warning("%s waits for the store: %s", what, error)
                if self._abandon.wait(pause):
                    _log.error("%s was given up, unsaved", what)
                    raise
                pause = min(pause * 2, LONGEST_PAUSE)
