"""What is left to spend at the services: asked in the background, so that no page waits for a service."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.services.base import Credits, HasCredits, VideoService

_log = logging.getLogger(__name__)

#: Seconds for which an answer is shown before the service is asked again.
AGE = 300.0


@dataclass(frozen=True, slots=True)
class Balance:
    """What a service said it has left; `failed` is why it did not say."""

    credits: Credits | None = None
    failed: str = ""


class Balances:
    """The balances as they were asked last, while somebody looks. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, Balance] = {}
        self._until = float("-inf")

    def of(self, services: Mapping[str, VideoService]) -> Mapping[str, Balance]:
        """Return what is known of services that can say; an answer that is old is asked for anew, not waited for."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._until = time.monotonic() + AGE
                for name, service in services.items():
                    if isinstance(service, HasCredits):
                        threading.Thread(target=self._ask, args=(name, service), daemon=True).start()
            return dict(self._told)

    def forget(self) -> None:
        """Ask again at the next question."""
        self._until = float("-inf")

    def _ask(self, name: str, service: HasCredits) -> None:
        try:
            balance = Balance(service.credits())
        except ServiceError as error:
            _log.info("%s does not say what is left: %s", name, error)
            balance = Balance(failed=error.message)
        with self._lock:
            self._told[name] = balance
