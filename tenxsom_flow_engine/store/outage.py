"""Log an outage that several threads notice: one warning a minute, and one line when everything works again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from tenxsom_flow_engine.text import duration

#: Seconds between two warnings about one outage.
WARNING_INTERVAL = 60.0


class Outage:
    """The outages of one dependency, as its callers report them. Thread-safe.

    Each caller reports under its own name what failed and, later, that it succeeded. The outage is over when all
    callers that failed have succeeded. Failures between two warnings are logged at level DEBUG.
    """

    def __init__(self, log: logging.Logger, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._name = name
        self._monotonic = monotonic
        self._failing: set[str] = set()
        self._began_at = 0.0
        #: Also kept after the end, so that a dependency that fails again and again does not fill the log.
        self._warned_at = float("-inf")
        self._warned = False
        self._lock = threading.Lock()

    def failed(self, caller: str, message: str) -> None:
        """Report a failure of one caller."""
        with self._lock:
            now = self._monotonic()
            if not self._failing:
                self._began_at = now
            self._failing.add(caller)
            due = now - self._warned_at >= WARNING_INTERVAL
            if due:
                self._warned_at, self._warned = now, True
        self._log.log(logging.WARNING if due else logging.DEBUG, "%s", message)

    def succeeded(self, caller: str) -> None:
        """Report a success of one caller. Cheap if nothing has failed."""
        if caller not in self._failing:
            return
        with self._lock:
            self._failing.discard(caller)
            over = not self._failing and self._warned
            if over:
                self._warned = False
            lasted = self._monotonic() - self._began_at
        if over:
            self._log.info("%s is available again after %s", self._name, duration(lasted))
