"""Remaining credit at the services, fetched in the background so that no page waits for a service."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.services.base import Credits, HasCredits, VideoService

_log = logging.getLogger(__name__)

#: Seconds after which a balance is fetched again.
AGE = 300.0


@dataclass(frozen=True, slots=True)
class Balance:
    """The remaining credit at a service; `failed` is the reason if it could not be fetched."""

    credits: Credits | None = None
    failed: str = ""


class Balances:
    """The balances fetched last; they are refreshed only while pages are viewed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Balance] = {}
        self._until = float("-inf")

    def of(self, services: Mapping[str, VideoService]) -> Mapping[str, Balance]:
        """Return the known balances without waiting; start a refresh in the background if they are too old."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._until = time.monotonic() + AGE
                for name, service in services.items():
                    if isinstance(service, HasCredits):
                        threading.Thread(target=self._fetch, args=(name, service), daemon=True).start()
            return dict(self._known)

    def forget(self) -> None:
        """Make the next call of `of` fetch all balances again."""
        self._until = float("-inf")

    def _fetch(self, name: str, service: HasCredits) -> None:
        try:
            balance = Balance(service.credits())
        except ServiceError as error:
            _log.info("cannot fetch the remaining credit at %s: %s", name, error)
            balance = Balance(failed=error.message)
        with self._lock:
            self._known[name] = balance
