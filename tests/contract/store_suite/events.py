"""Tests of the outbox: events are written with the change that causes them, a row for each endpoint that wants them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tenxsom_flow_engine.errors import Busy, OutOfCredit
from tenxsom_flow_engine.events import DeliveryState, Endpoint, EndpointKind, Event, EventType, Settled
from tenxsom_flow_engine.events.outbox import KEEP_SECONDS, Attempt, Health
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.jobs.lifecycle.leases import MAX_EXPIRIES
from tenxsom_flow_engine.jobs.outcomes import Dead, Resubmit
from tenxsom_flow_engine.queues.stores import open_ledger
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.windows import parse_limits
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, QUEUE, a_claim, new
from tests.contract.store_suite.shared import OpenStore, Suite, finished, race, settle, take


def an_endpoint(endpoint_id: str = "we_1", **changes: Any) -> Endpoint:
    """Return a webhook for all events."""
    fields: dict[str, Any] = {"kind": EndpointKind.WEBHOOK, "url": "https://example.org/hook", "secret": "whsec_AA=="}
    return Endpoint(id=endpoint_id, **fields | changes)


def open_endpoint(store: JobStore, endpoint_id: str = "we_1", **changes: Any) -> Endpoint:
    """Add an endpoint to a store."""
    made = an_endpoint(endpoint_id, **changes)
    assert store.swap_endpoint(None, made)
    return made


def types(store: JobStore, endpoint_id: str = "we_1") -> list[str]:
    """Return the types of the events of an endpoint, oldest first."""
    return [one.message.type for one in reversed(store.deliveries(endpoint_id, 1000))]


def an_event(**changes: Any) -> Event:
    """Return an event about a verdict."""
    fields: dict[str, Any] = {
        "id": "evt_1", "type": EventType.VERDICT_RAISED, "at": 1_800_000_000.0, "subject": "inc_1",
        "data": {"level": "problem", "text": "no worker"},
    }  # fmt: skip
    return Event(**fields | changes)


class EventSuite(Suite):
    """The outbox."""

    def test_an_endpoint_is_stored(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Every field of an endpoint is shared as it was stored; a change needs the present state."""
        one, two = open_store(clock), open_store(clock)
        first = an_endpoint(
            events=("job.*", "budget.100"), channel="fun", old_secret="whsec_BB==", old_secret_until=7.5, after=600.0,
            notices=True, created_at=1.25, disabled="gone",
        )  # fmt: skip
        assert one.swap_endpoint(None, first)
        assert not two.swap_endpoint(None, an_endpoint())
        assert (two.endpoint("we_1"), list(two.endpoints())) == (first, [first])
        changed = msgspec.structs.replace(first, disabled="")
        assert not two.swap_endpoint(an_endpoint(), changed)
        assert two.swap_endpoint(first, changed)
        assert not one.swap_endpoint(first, None)
        assert one.swap_endpoint(changed, None)
        assert (two.endpoint("we_1"), list(two.endpoints())) == (None, [])

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (Status.SUCCEEDED, EventType.JOB_SUCCEEDED),
            (Status.FAILED, EventType.JOB_FAILED),
            (Status.HELD, EventType.JOB_HELD),
            (Status.CANCELLED, EventType.JOB_CANCELLED),
        ],
    )
    def test_the_end_of_a_job_is_an_event(self, store: JobStore, status: Status, expected: EventType) -> None:
        """Each end of a job writes one message, with the facts of the job, due at once."""
        open_endpoint(store)
        record = finished(store, "a", status)
        (delivery,) = store.deliveries("we_1", 10)
        message = delivery.message
        assert (message.type, message.subject, message.at) == (expected, "a", record.updated_at)
        assert (delivery.state, delivery.tries) == (DeliveryState.PENDING, 0)
        assert store.next_delivery("we_1") == record.updated_at
        body = json.loads(message.body)
        assert (body["type"], body["data"]["job_id"], body["data"]["status"]) == (expected, "a", status)
        assert (body["data"]["video"] is None) == (status is not Status.SUCCEEDED)
        assert len(message.body.encode()) < 20_000

    def test_nothing_is_written_without_an_endpoint(self, store: JobStore) -> None:
        """Without endpoints nothing is stored; a new endpoint gets only events that follow."""
        finished(store, "before", Status.SUCCEEDED)
        open_endpoint(store)
        assert store.deliveries("we_1", 10) == []
        assert store.next_delivery("we_1") is None
        finished(store, "after", Status.SUCCEEDED)
        assert [one.message.subject for one in store.deliveries("we_1", 10)] == ["after"]

    def test_another_handle_knows_a_new_endpoint_at_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A process that knew other endpoints writes the message of the new one, and none of a removed one."""
        worker, operator = open_store(clock), open_store(clock)
        for job_id in ("a", "b", "c"):
            worker.add(QUEUE, new(job_id))
        worker.cancel("a")
        first = open_endpoint(operator)
        worker.cancel("b")
        assert [one.message.subject for one in operator.deliveries("we_1", 10)] == ["b"]
        assert operator.swap_endpoint(first, None)
        worker.cancel("c")
        assert operator.swap_endpoint(None, first)
        assert operator.deliveries("we_1", 10) == []

    def test_an_endpoint_that_is_added_during_changes_misses_none_that_follow(
        self, open_store: OpenStore, clock: ManualClock
    ) -> None:
        """Jobs that end while an endpoint is added have a message, or ended before: none is half written."""
        handles = [open_store(clock) for _ in range(3)]
        names = [f"job-{index}" for index in range(24)]
        handles[0].add(QUEUE, new(*names))

        def act(index: int) -> Any:
            if index == 12:
                return handles[2].swap_endpoint(None, an_endpoint())
            return handles[index % 2].cancel(names[index])

        race(len(names), act)
        handles[1].cancel(names[12])
        written = {one.message.subject for one in handles[0].deliveries("we_1", 100)}
        assert names[12] in written
        assert written <= set(names)

    def test_every_path_that_ends_a_job_writes_the_event(self, store: JobStore, clock: ManualClock) -> None:
        """Also a purge, jobs that could not start, lost leases, and a decision by hand."""
        open_endpoint(store)
        store.add(QUEUE, new("purged"))
        assert store.cancel_waiting(QUEUE, 10) == 1
        store.add(QUEUE, new("late", start_by=clock.now() + 5))
        clock.advance(10)
        assert len(store.expire_unstarted(10)) == 1
        store.add(QUEUE, new("deadly"))
        for _ in range(MAX_EXPIRIES):
            take(store, only="deadly")
            clock.advance(60)
        store.claim(a_claim())
        clock.advance(1)
        finished(store, "held", Status.HELD)
        clock.advance(1)
        store.resolve("held", Resubmit())
        settle(store, take(store, only="held"), Dead(FAILURE))
        found = [(one.message.subject, one.message.type) for one in reversed(store.deliveries("we_1", 100))]
        assert found == [
            ("purged", "job.cancelled"), ("late", "job.expired"), ("deadly", "job.failed"), ("held", "job.held"),
            ("held", "job.failed"),
        ]  # fmt: skip

    def test_a_retried_job_ends_with_another_id(self, store: JobStore, clock: ManualClock) -> None:
        """Each end of a job has an id that no other event has."""
        open_endpoint(store)
        store.add(QUEUE, new("a"))
        store.cancel("a")
        clock.advance(1)
        store.retry("a")
        store.cancel("a")
        found = store.deliveries("we_1", 10)
        assert len({one.message.event_id for one in found}) == 2
        assert all("." not in one.message.event_id for one in found)

    def test_each_endpoint_gets_what_it_wants(self, store: JobStore, clock: ManualClock) -> None:
        """Types and the channel select events; a disabled endpoint gets none."""
        open_endpoint(store, "all")
        open_endpoint(store, "failed", events=("job.failed", "queue.*"))
        open_endpoint(store, "fun", channel="fun")
        open_endpoint(store, "off", disabled="by hand")
        open_endpoint(store, "command", kind=EndpointKind.COMMAND)
        open_endpoint(store, "alert", kind=EndpointKind.ALERT)
        finished(store, "a", Status.SUCCEEDED)
        clock.advance(1)
        finished(store, "b", Status.FAILED)
        clock.advance(1)
        store.add(QUEUE, new("c", channel="fun"))
        store.cancel("c")
        clock.advance(1)
        store.set_queue_state(QUEUE, lambda state: replace(state, paused=True))
        assert types(store, "all") == ["job.succeeded", "job.failed", "job.cancelled", "queue.paused"]
        assert types(store, "failed") == ["job.failed", "queue.paused"]
        assert types(store, "fun") == ["job.cancelled"]
        assert types(store, "command") == ["job.succeeded"]
        assert (types(store, "off"), types(store, "alert")) == ([], [])
        ids = {one.message.event_id for name in ("all", "command") for one in store.deliveries(name, 100)}
        assert len(ids) == 4, "an event has the same id for each endpoint"

    def test_a_command_gets_the_job(self, store: JobStore) -> None:
        """The message for a command is the job, with the path of its video."""
        open_endpoint(store, "command", kind=EndpointKind.COMMAND)
        record = finished(store, "a", Status.SUCCEEDED)
        job = json.loads(store.deliveries("command", 1)[0].message.body)
        assert record.result is not None
        assert (job["job_id"], job["video"]["path"]) == ("a", record.result.path)

    def test_pausing_a_queue_is_an_event(self, store: JobStore, clock: ManualClock) -> None:
        """Only a change is an event: a queue that is paused twice, or gets limits, writes none."""
        open_endpoint(store)
        for paused in (False, True, True, False):
            clock.advance(1)
            store.set_queue_state(QUEUE, lambda state, paused=paused: replace(state, paused=paused))  # type: ignore[misc]
        store.set_queue_state(QUEUE, lambda state: state.with_limits(7.0, 3))
        assert types(store) == ["queue.paused", "queue.resumed"]
        assert store.queue_state(QUEUE).max_concurrent_dispatches == 3

    def test_a_stopped_service_is_an_event(self, store: JobStore, clock: ManualClock) -> None:
        """A service that is stopped by an error or an operator writes an event, and so does its return; once each."""
        open_endpoint(store)
        limiter = RateLimiter(open_ledger(store), parse_limits("alpha=5/s"), monotonic=clock.now)
        steps: list[Callable[[], object]] = [
            *[lambda: limiter.refused(ALPHA, OutOfCredit(ALPHA, "no credit left"))] * 2,
            *[lambda: limiter.pause(ALPHA, "holidays"), lambda: limiter.resume(ALPHA)] * 2,
            lambda: limiter.refused(ALPHA, OutOfCredit(ALPHA, "no credit left")),
            lambda: limiter.answered(ALPHA, 0.5),
            lambda: limiter.refused(ALPHA, Busy(ALPHA, "slow down", retry_after=5.0)),
        ]
        for step in steps:
            step()
            clock.advance(1)
        found = [json.loads(one.message.body) for one in reversed(store.deliveries("we_1", 100))]
        stopped = [one["data"]["reason"] for one in found if one["type"] == "service.stopped"]
        assert (sorted(stopped), len(found)) == (["holidays", "no credit left", "no credit left"], 6)

    def test_a_memo_carries_events(self, store: JobStore) -> None:
        """Events are written with a memo that is replaced, and with no other."""
        open_endpoint(store)
        assert store.put_memo("k", "a", "x", 10.0, instead_of="y", events=[an_event()]) is None
        assert types(store) == []
        assert store.put_memo("k", "a", "x", 10.0, instead_of=None, events=[an_event()]) == "x"
        assert types(store) == ["verdict.raised"]
        assert store.put_memo("k", "a", "z", 10.0, instead_of=None, events=[an_event(id="evt_2")]) == "x"
        assert types(store) == ["verdict.raised"]

    def test_an_alert_waits(self, store: JobStore) -> None:
        """The message of an alert is due when the verdict has lasted long enough; the end counts if the begin did."""
        open_endpoint(store, kind=EndpointKind.ALERT, after=600.0)
        event = an_event()
        short = an_event(id="evt_2", type=EventType.VERDICT_CLEARED, data={"level": "problem", "lasted_seconds": 599.0})
        long = an_event(id="evt_3", type=EventType.VERDICT_CLEARED, data={"level": "problem", "lasted_seconds": 600.0})
        notice = an_event(id="evt_4", data={"level": "notice"})
        store.put_memo("k", "a", "x", 10.0, instead_of=None, events=[event, short, long, notice])
        due = {one.message.event_id: one.next_at for one in store.deliveries("we_1", 10)}
        assert due == {"evt_1": event.at + 600, "evt_3": event.at}

    def test_taken_messages(self, store: JobStore, clock: ManualClock) -> None:
        """Taken messages are in order, count an attempt, and are due again if their worker does not report."""
        open_endpoint(store)
        for job_id in ("a", "b", "c"):
            store.add(QUEUE, new(job_id))
            store.cancel(job_id)
            clock.advance(1)
        first = store.take_deliveries("we_1", 2, 30.0)
        assert [(one.message.subject, one.tries) for one in first] == [("a", 1), ("b", 1)]
        assert [one.message.subject for one in store.take_deliveries("we_1", 10, 30.0)] == ["c"]
        assert store.take_deliveries("we_1", 10, 30.0) == []
        assert store.next_delivery("we_1") == pytest.approx(clock.now() + 30)
        clock.advance(30)
        again = store.take_deliveries("we_1", 10, 30.0)
        assert [(one.message.subject, one.tries) for one in again] == [("a", 2), ("b", 2), ("c", 2)]
        assert [one.message for one in again[:2]] == [one.message for one in first], "the bytes stay the same"

    def test_settled_messages(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A result is stored with the endpoint's health; the result of an earlier attempt changes nothing."""
        store, other = open_store(clock), open_store(clock)
        open_endpoint(store)
        for job_id in ("a", "b", "c"):
            store.add(QUEUE, new(job_id))
            store.cancel(job_id)
            clock.advance(1)
        one, two, three = store.take_deliveries("we_1", 10, 30.0)
        attempt = Attempt(at=1.5, event_id=one.message.event_id, type="job.cancelled", ok=True, answer="HTTP 204")
        health = Health(failures=2, failing_since=1.25, paused_until=2.5, attempts=(attempt,))
        retry_at = clock.now() + 300
        store.settle_deliveries(
            "we_1",
            [
                Settled(one.message.event_id, one.tries, DeliveryState.DELIVERED),
                Settled(two.message.event_id, two.tries, DeliveryState.PENDING, retry_at),
                Settled(three.message.event_id, three.tries + 1, DeliveryState.FAILED),
            ],
            health,
        )
        assert other.health("we_1") == health
        assert other.delivery_counts("we_1") == {DeliveryState.DELIVERED: 1, DeliveryState.PENDING: 2}
        states = {item.message.subject: (item.state, item.next_at) for item in other.deliveries("we_1", 10)}
        assert states["a"] == (DeliveryState.DELIVERED, None)
        assert states["b"] == (DeliveryState.PENDING, retry_at)
        clock.advance(30)
        assert [item.message.subject for item in other.take_deliveries("we_1", 10, 30.0)] == ["c"]
        store.settle_deliveries("we_1", [Settled(one.message.event_id, one.tries, DeliveryState.FAILED)])
        assert other.delivery_counts("we_1")[DeliveryState.DELIVERED] == 1
        assert other.health("we_1") == health, "without a health the stored one stays"
        assert other.health("unknown") == Health()

    def test_an_attempt_that_sent_nothing_does_not_count(self, store: JobStore, clock: ManualClock) -> None:
        """A message that had to wait when it was due has all its attempts yet."""
        open_endpoint(store)
        store.add(QUEUE, new("a"))
        store.cancel("a")
        for _ in range(3):
            (one,) = store.take_deliveries("we_1", 10, 30.0)
            assert one.tries == 1
            waits = Settled(one.message.event_id, one.tries, DeliveryState.PENDING, clock.now() + 5, sent=False)
            store.settle_deliveries("we_1", [waits])
            assert store.deliveries("we_1", 1)[0].tries == 0
            clock.advance(5)
        assert store.delivery_counts("we_1") == {DeliveryState.PENDING: 1}

    def test_workers_never_take_the_same_message_at_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Of concurrent workers, each message is taken by one."""
        handles = [open_store(clock) for _ in range(4)]
        open_endpoint(handles[0])
        handles[0].add(QUEUE, new(*(f"job-{index}" for index in range(40))))
        handles[0].cancel_waiting(QUEUE, 100)
        taken = race(8, lambda index: handles[index % 4].take_deliveries("we_1", 10, 30.0))
        ids = [one.message.event_id for batch in taken for one in batch]
        assert len(ids) == len(set(ids)) == 40

    def test_a_replay_sends_again(self, store: JobStore, clock: ManualClock) -> None:
        """Messages since an instant are due again with the same id and bytes, whatever became of them."""
        open_endpoint(store)
        for job_id in ("a", "b"):
            store.add(QUEUE, new(job_id))
            store.cancel(job_id)
            clock.advance(100)
        taken = store.take_deliveries("we_1", 10, 30.0)
        store.settle_deliveries(
            "we_1", [Settled(one.message.event_id, one.tries, DeliveryState.DELIVERED) for one in taken]
        )
        assert store.next_delivery("we_1") is None
        assert store.replay("we_1", clock.now() - 150) == 1
        again = store.take_deliveries("we_1", 10, 30.0)
        assert [(one.message, one.tries) for one in again] == [(taken[1].message, 1)]

    def test_old_messages_are_removed(self, store: JobStore, clock: ManualClock) -> None:
        """A sweep removes messages that are too old, and keeps the others."""
        open_endpoint(store)
        store.add(QUEUE, new("a", "b"))
        store.cancel("a")
        clock.advance(KEEP_SECONDS - 10)
        store.cancel("b")
        store.trim(Retention())
        assert len(store.deliveries("we_1", 10)) == 2
        clock.advance(20)
        store.trim(Retention())
        assert [one.message.subject for one in store.deliveries("we_1", 10)] == ["b"]
        assert [one.message.subject for one in store.take_deliveries("we_1", 10, 30.0)] == ["b"]

    def test_an_endpoint_that_ends_loses_its_messages(self, store: JobStore) -> None:
        """Its messages and its health end with it, also if another of its id follows."""
        first, _ = open_endpoint(store), open_endpoint(store, "other")
        finished(store, "a", Status.CANCELLED)
        store.settle_deliveries("we_1", [], Health(failures=3))
        assert store.swap_endpoint(first, None)
        assert store.swap_endpoint(None, first)
        assert (store.deliveries("we_1", 10), store.delivery_counts("we_1"), store.health("we_1")) == ([], {}, Health())
        assert types(store, "other") == ["job.cancelled"]

    def test_a_refused_change_writes_no_event(self, store: JobStore) -> None:
        """An error of a change writes nothing."""
        open_endpoint(store)
        store.add(QUEUE, new("a"))

        def refuse(record: Any, now: float) -> Any:
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            store.update("a", refuse)
        assert types(store) == []

    def test_a_clock_that_was_ahead_delays_no_message(self, store: JobStore, clock: ManualClock) -> None:
        """Setting the store's time back makes messages due that would be due much later."""
        open_endpoint(store)
        finished(store, "a", Status.CANCELLED)
        store.take_deliveries("we_1", 1, 86400.0)
        store.set_clock_back(clock.now())
        assert store.next_delivery("we_1") == pytest.approx(clock.now())
