"""The log of an outage: one warning a minute, and a line when it is over."""

from __future__ import annotations

import logging
from threading import Event

import pytest

from tenxsom_flow_engine.errors import LeaseLost, StoreUnavailable
from tenxsom_flow_engine.store.outage import Outage
from tenxsom_flow_engine.store.retrying import RetryingWrites
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.timings import Timings

LOG = logging.getLogger("tenxsom_flow_engine.x")


@pytest.fixture
def outage(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.INFO)
    return Outage(LOG, "the store", monotonic=clock.now)


def test_a_minute_has_one_warning(outage: Outage, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """An outage of ten minutes that two callers notice each second is ten warnings and one line at its end."""
    for second in range(600):
        outage.failed("claim", f"claim {second}")
        outage.failed("renew", f"renew {second}")
        clock.advance(1)
    outage.succeeded("claim")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 10
    outage.succeeded("renew")
    outage.succeeded("renew")
    assert caplog.messages[-1] == "the store is available again after 10 min"
    assert len(caplog.messages) == 11


def test_a_store_that_fails_again_and_again_does_not_fill_the_log(
    outage: Outage, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures and successes in turn, each second for a minute, are one warning and one end."""
    for _ in range(60):
        outage.failed("claim", "away")
        outage.succeeded("claim")
        clock.advance(1)
    assert caplog.messages == ["away", "the store is available again after 0 s"]
    outage.failed("claim", "away")
    assert caplog.messages[-1] == "away"
    assert len(caplog.messages) == 3


def test_a_repeated_write_is_a_part_of_the_outage(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """A write that is repeated logs once, and its end also if the store then refuses it for another reason."""
    answers = [StoreUnavailable("away")] * 5 + [LeaseLost("job-1")]

    def write() -> None:
        raise answers.pop(0)

    persist = RetryingWrites(Event(), Timings(first_write_retry=0.0, max_write_retry=0.0), outage)
    with pytest.raises(LeaseLost):
        persist(write, "the ticket t-1")
    assert caplog.messages == [
        "saving the ticket t-1 failed and will be retried: away", "the store is available again after 0 s"
    ]  # fmt: skip
