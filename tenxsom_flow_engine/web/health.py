"""`/health` and `/stats`: open to everybody, so they hold numbers and states only.

The numbers come from the store and the queue, never from this process, so that all processes tell the same.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from flask import Blueprint, Response, jsonify

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, FlowError, QueueError
from tenxsom_flow_engine.manager import describe_queue
from tenxsom_flow_engine.web.answers import refusal
from tenxsom_flow_engine.web.parts import Parts

_log = logging.getLogger(__name__)

#: Seconds for which the queue's state and limits are told again: asking for them is a call to the carrier's service.
QUEUE_AGE = 10.0
#: What of a queue's description everybody may see.
OPEN = ("queue_type", "state", "rate_limits")


def health(parts: Parts) -> Blueprint:
    """Return the routes that tell how the worker and its queue are."""
    blueprint = Blueprint("health", __name__)
    queue = _QueueState()

    @blueprint.get("/health")
    def alive() -> Response:
        # Touches nothing: a restart mends no store.
        return jsonify(status="ok")

    @blueprint.get("/stats")
    def stats() -> Response:
        engine = parts.get().engine
        counts = engine.store.counts(engine.queue.name)
        waiting = 0.0 if counts.oldest_due is None else max(0.0, engine.store.now() - counts.oldest_due)
        return jsonify(
            jobs={str(status): number for status, number in counts.by_status.items()},
            unfinished=counts.unfinished,
            oldest_due_seconds=round(waiting, 1),
            queue=queue.of(engine),
        )

    @blueprint.errorhandler(FlowError)
    def unknown(error: FlowError) -> Response:
        # Whoever asks here learns that the store is away, not where it is.
        _log.warning("/stats was answered without numbers: %s", error)
        return refusal(error, "the numbers cannot be had now")

    return blueprint


class _QueueState:
    """The queue's state as its carrier told it last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, Any] = {}
        self._until = float("-inf")

    def of(self, engine: Engine) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    told = describe_queue(engine)
                except (QueueError, ConfigurationError) as error:
                    _log.warning("the queue's state cannot be told: %s", error)
                    told = {"queue_type": engine.queue.name, "state": "UNKNOWN"}
                self._told = {name: told[name] for name in OPEN if name in told}
                self._until = time.monotonic() + QUEUE_AGE
            return self._told
