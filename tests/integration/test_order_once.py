"""The order of a create is built once: the journaled order is the one that is sent."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.errors import Uncertain
from tenxsom_flow_engine.jobs import JobRecord, Ticket, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, a_claim, new
from tenxsom_flow_engine.testing.services import ScriptedService


class Drawing(ScriptedService):
    """A service whose orders contain a random seed, so that each one differs. It records each as sent bytes."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock, idempotency_window=86400.0)
        self.bytes_sent: list[bytes] = []

    def order(self, job: VideoJob, reference: str) -> Mapping[str, object]:
        return {**super().order(job, reference), "seed": random.getrandbits(48)}

    def create(self, order: Mapping[str, Any], reference: str) -> Ticket:
        self.bytes_sent.append(json.dumps(order, separators=(",", ":"), ensure_ascii=False).encode())
        return super().create(order, reference)


def test_the_journal_has_the_order_that_was_sent(tmp_path: Path, clock: ManualClock) -> None:
    """The journal is identical to the request, also for a repeat under the same reference, which is a new order."""
    service = Drawing(clock)
    service.creates.append(Uncertain(ALPHA, "the connection broke"))
    journaled: list[bytes] = []
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    with open_engine(settings, "local", clock=clock, services={ALPHA: service}) as engine:
        engine.store.add("local", new("job-1", topic="Why the sea is salt: 海"))
        record: JobRecord = engine.store.require("job-1")
        while record.submission.ticket is None:
            assert record.due is not None
            clock.set(max(clock.now(), record.due))
            (claimed,) = engine.store.claim(a_claim()).records
            record = engine.step(claimed)
            if len(service.bytes_sent) > len(journaled):
                journaled.append(record.order.encode())
    assert journaled == service.bytes_sent
    assert len({*service.bytes_sent}) == 2
