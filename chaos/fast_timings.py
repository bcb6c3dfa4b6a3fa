"""The engine with fast timings: what it waits minutes for in life, it waits about a second for here.

Nothing is decided otherwise. A create still ends before another worker asks what came of it, a gate still opens before
it is tried: only the numbers are smaller, all together. Clocks run as they do, since a server's cannot be hurried.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

from tenxsom_flow_engine import engine
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.rate_limits import redis
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.http.client import Timeouts
from tenxsom_flow_engine.services.http.service import HttpService
from tenxsom_flow_engine.settings import Settings

#: Seconds for which a job stays with a worker that gives no sign of life.
LEASE = 1.5
#: What a call to a service may take. The machine may be busy, so these leave some air.
CALL = Timeouts(connect=1.0, read=1.5, total=2.0)
_POLL = 0.3

#: Numbers by the module that has them and their name.
NUMBERS: Mapping[str, Mapping[str, object]] = {
    "generation.step": {"SETTLE_MARGIN_SECONDS": 1.0, "STOPPED_RETRY_SECONDS": 1.0, "SLOT_RETRY_SECONDS": 0.3},
    "workers.maintenance": {"SWEEP_INTERVAL": 3.0, "LOST_INTERVAL": 0.5},
    "store.retrying": {"LONGEST_PAUSE": 0.5},
    "workers.pull": {"STORE_RETRY_SECONDS": 0.2},
    "queues.cloud_tasks.queue": {"SWEEP_INTERVAL": 0.5, "OVERDUE": 2.0},
    "rate_limits.ledger": {"STOPPED_HINT": 0.3, "LONGEST_HINT": 5.0},
    "rate_limits.pace": {"BUSY_PAUSE": 0.5, "PROBE_INTERVAL": 0.5},
    "services.heygen.parsing": {"PACE": ((10.0, _POLL),), "SLOWEST": _POLL, "USUAL_PACE": _POLL},
    "services.http.client": {"BUSY_FLOOR": 0.5},
    "services.ltx_studio.service": {"POLL_PACE": _POLL},
    "services.pixverse.videos": {"POLL_PACE": _POLL},
    "store.redis.connection": {"CONNECT_TIMEOUT": 1.0, "ANSWER_TIMEOUT": 3.0, "FILE_TIMEOUT": 2.0},
    "web.runtime": {"PAUSE": 0.3},
}
_Make = Callable[[Settings, Clock], VideoService | None]
_ENGINE = "tenxsom_flow_engine."


def use_fast_timings() -> None:
    """Give this process fast timings. Raises `AttributeError` for a number that the engine does not have any more."""
    for name, numbers in NUMBERS.items():
        home = importlib.import_module(_ENGINE + name)
        for number, value in numbers.items():
            usual = getattr(home, number)
            # Some modules have taken it over by name.
            for module in [module for path, module in sys.modules.items() if path.startswith(_ENGINE)]:
                if getattr(module, number, None) == usual:
                    setattr(module, number, value)
            if number in redis._CONSTANTS:
                redis._CONSTANTS[number] = cast(float, value)
    setattr(engine, "RetryPolicy", partial(RetryPolicy, base=0.1, cap=2.0))  # noqa: B010 - it is a class
    engine.SERVICES = {name: _hurried(make) for name, make in engine.SERVICES.items()}


def _hurried(make: _Make) -> _Make:
    """Return how a service is made that is given less time for each call."""

    def made(settings: Settings, clock: Clock) -> VideoService | None:
        service = make(settings, clock)
        if isinstance(service, HttpService):
            service._api.reading = service._api.ordering = service._downloader._timeouts = CALL
            # Some look whether there is room before they order.
            service.create_timeout = 2 * CALL.total
        return service

    return made
