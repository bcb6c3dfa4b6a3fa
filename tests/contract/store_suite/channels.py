"""Tests of channels: their settings, and the fair order in which `claim` takes their jobs."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import count
from typing import Any

import msgspec
import pytest

from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.errors import InvalidInput, SlotsBusy, StartMissed
from tenxsom_flow_engine.jobs import AUTO, Failure, JobRecord
from tenxsom_flow_engine.jobs.outcomes import Done, Expired, Retry, Wait
from tenxsom_flow_engine.jobs.submission import Intent
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.fair_share import PAUSE_CHECK_SECONDS, PRIORITY_SECONDS
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, VIDEO, a_claim, new
from tests.contract.store_suite.shared import OpenStore, Suite, accept, ids, intend, settle, take


def add_backlog(store: JobStore, channel: str, jobs: int, **changes: Any) -> None:
    """Add due jobs of a channel, named after it and numbered from 0."""
    store.add(QUEUE, new(*(f"{channel}-{number}" for number in range(jobs)), channel=channel, **changes))


def claimed_channels(store: JobStore, claims: int) -> list[str]:
    """Claim jobs one by one; return their channels."""
    return [take(store).job.channel for _ in range(claims)]


def _replaced(new_settings: Channel, channel: Channel) -> Channel:
    return new_settings


class ChannelSuite(Suite):
    """Settings of channels, and their fair share of claims."""

    def test_settings_are_kept(self, store: JobStore, open_store: OpenStore, clock: ManualClock) -> None:
        """Settings are shared by all handles; a channel without any has the defaults; None removes them."""
        assert (store.channels(), store.channel("fun")) == ({}, Channel())
        fun = Channel(weight=2.5, limits="4/h", slots=2, defaults={"style": "retro", "duration": 8})
        store.set_channel("fun", lambda channel: fun)
        store.set_channel("b", lambda channel: msgspec.structs.replace(channel, paused=True, why="holiday"))
        other = open_store(clock)
        assert other.channels() == {"b": Channel(paused=True, why="holiday"), "fun": fun}
        other.set_channel("fun", lambda channel: msgspec.structs.replace(channel, slots=3))
        assert store.channel("fun") == msgspec.structs.replace(fun, slots=3)
        store.set_channel("fun", lambda channel: None)
        assert list(other.channels()) == ["b"]

    def test_a_refused_change_changes_nothing(self, store: JobStore) -> None:
        """An error of the change keeps the settings."""
        store.set_channel("fun", lambda channel: Channel(weight=2))
        with pytest.raises(InvalidInput):
            store.set_channel("fun", lambda channel: msgspec.structs.replace(channel, weight=0))
        assert store.channel("fun") == Channel(weight=2)

    def test_one_job_does_not_wait_behind_a_backlog(self, store: JobStore) -> None:
        """The only job of a channel is claimed next or after one other, however long another channel's backlog is."""
        add_backlog(store, "long", 60)
        assert claimed_channels(store, 5) == ["long"] * 5
        add_backlog(store, "short", 1)
        assert "short" in claimed_channels(store, 2)

    def test_weights_hold(self, store: JobStore) -> None:
        """Over any 100 claims each waiting channel gets its weight within 5 %, and unused shares go to the others."""
        weights = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 2.0}
        for name, weight in weights.items():
            store.set_channel(name, partial(_replaced, Channel(weight=weight)))
            add_backlog(store, name, 260)
        claimed = claimed_channels(store, 220)
        for begin in range(0, 120, 10):
            shares = Counter(claimed[begin : begin + 100])
            assert all(abs(shares[name] - 10 * weight) <= 5 for name, weight in weights.items()), shares
        add_backlog(store, "alone", 1, service=BETA)
        assert "alone" in claimed_channels(store, 2)

    def test_weights_hold_within_one_claim(self, store: JobStore) -> None:
        """A claim of many jobs divides them like as many claims."""
        store.set_channel("b", lambda channel: Channel(weight=3))
        add_backlog(store, "a", 100)
        add_backlog(store, "b", 100)
        records = store.claim(a_claim(count=80)).records
        assert Counter(record.job.channel for record in records) == {"a": 20, "b": 60}

    def test_an_idle_channel_gains_nothing(self, store: JobStore) -> None:
        """A channel that was idle shares from now on, and does not catch up."""
        add_backlog(store, "busy", 200)
        claimed_channels(store, 50)
        add_backlog(store, "late", 50)
        assert abs(claimed_channels(store, 20).count("late") - 10) <= 1

    def test_single_jobs_in_a_row_get_no_more_than_a_share(self, store: JobStore) -> None:
        """A channel that adds its next job after each claim of one gets the same share as one with a backlog."""
        add_backlog(store, "backlog", 100)
        numbers = count()
        claimed = []
        waiting = False
        for _ in range(60):
            if not waiting:
                store.add(QUEUE, new(f"single-{next(numbers)}", channel="single"))
                waiting = True
            claimed.append(take(store).job.channel)
            waiting = waiting and claimed[-1] != "single"
        assert abs(claimed.count("single") - 30) <= 1

    def test_jobs_that_bought_nothing_do_not_count(self, store: JobStore, clock: ManualClock) -> None:
        """A lease that ends at a closed gate or is released is not counted; one that fails is."""
        add_backlog(store, "a", 10)
        add_backlog(store, "b", 10)
        for _ in range(6):
            while (record := take(store)).job.channel != "a":
                store.release_lease(record.job_id, record.lease_token)
            settle(store, record, Wait(clock.now() + 1000, "closed", worked=False))
        assert Counter(claimed_channels(store, 8)) == {"a": 4, "b": 4}

    @pytest.mark.parametrize("ends", ["waits", "expires"])
    def test_a_channel_loses_nothing_by_jobs_that_cannot_start(
        self, ends: str, store: JobStore, clock: ManualClock
    ) -> None:
        """A channel whose first jobs wait for a gate, or expire as after an outage, gets its share for the others."""
        store.add(QUEUE, new(*(f"missed-{number}" for number in range(6)), channel="a", start_by=clock.now() + 10))
        add_backlog(store, "a", 10)
        add_backlog(store, "b", 20)
        clock.advance(20)
        started: list[str] = []
        while len(started) < 8:
            record = take(store)
            if record.start_by is None:
                started.append(record.job.channel)
            elif ends == "waits":
                settle(store, record, Wait(clock.now() + 1000, "closed", worked=False))
            else:
                settle(store, record, Expired(Failure.of(StartMissed(record.job_id, "then"))))
        assert Counter(started) == {"a": 4, "b": 4}

    def test_failed_jobs_count(self, store: JobStore, clock: ManualClock) -> None:
        """A channel whose jobs fail does not get the turns of the others."""
        add_backlog(store, "a", 20)
        add_backlog(store, "b", 20)
        claimed = []
        for _ in range(20):
            record = take(store)
            claimed.append(record.job.channel)
            if record.job.channel == "a":
                settle(store, record, Retry(clock.now() + 1000, FAILURE))
        assert Counter(claimed) == {"a": 10, "b": 10}

    def test_lanes_share_one_order(self, store: JobStore) -> None:
        """The share of a channel covers all services, and jobs without one."""
        add_backlog(store, "a", 40)
        store.add(QUEUE, new(*(f"b-{n}" for n in range(20)), channel="b", service=BETA))
        store.add(QUEUE, new(*(f"c-{n}" for n in range(20)), channel="c", service=AUTO))
        assert Counter(claimed_channels(store, 30)) == {"a": 10, "b": 10, "c": 10}

    def test_a_service_without_slots_delays_no_other(self, store: JobStore) -> None:
        """Jobs of a channel at a service without a free slot do not keep other jobs from being claimed."""
        add_backlog(store, "a", 3)
        store.add(QUEUE, new("other", channel="b", service=BETA))
        claim = store.claim(a_claim(slots={ALPHA: 0, BETA: 5}))
        assert ids(claim.records) == ["other"]

    def test_tickets_come_first_and_do_not_count(self, store: JobStore, clock: ManualClock) -> None:
        """Steps of bought videos are claimed first, and use up no share."""
        add_backlog(store, "a", 4)
        add_backlog(store, "b", 4)
        for _ in range(3):
            record = take(store)
            settle(store, accept(store, intend(store, record)), Wait(clock.now(), "rendering"))
            assert take(store).job_id == record.job_id
        assert Counter(claimed_channels(store, 3)) in ({"a": 1, "b": 2}, {"a": 2, "b": 1})

    def test_a_paused_channel_waits(self, store: JobStore, clock: ManualClock) -> None:
        """No job of a paused channel is claimed, others are; the resumed channel continues at once."""
        store.set_channel("a", lambda channel: Channel(paused=True, why="holiday"))
        add_backlog(store, "a", 3)
        add_backlog(store, "b", 1)
        assert claimed_channels(store, 1) == ["b"]
        claim = store.claim(a_claim())
        assert claim.records == ()
        assert claim.again_at is not None
        assert clock.now() < claim.again_at <= clock.now() + PAUSE_CHECK_SECONDS
        store.set_channel("a", lambda channel: Channel())
        assert ids(store.claim(a_claim()).records) == ["a-0", "a-1", "a-2"]

    def test_a_paused_channel_wakes_no_worker_in_a_loop(self, store: JobStore, clock: ManualClock) -> None:
        """With only paused jobs, the next claim is not due at once, also after another check."""
        store.set_channel("a", lambda channel: Channel(paused=True))
        add_backlog(store, "a", 1)
        for _ in range(3):
            clock.advance(PAUSE_CHECK_SECONDS + 1)
            claim = store.claim(a_claim())
            assert (claim.records, claim.again_at) == ((), clock.now() + PAUSE_CHECK_SECONDS)

    def test_priority_within_a_channel(self, store: JobStore) -> None:
        """A due job with a priority is claimed before others of its channel, but takes no turn of another channel."""
        add_backlog(store, "a", 3)
        store.add(QUEUE, new("low", channel="a", priority=1))
        store.add(QUEUE, new("high", channel="a", priority=9))
        add_backlog(store, "b", 3)
        order = [take(store).job_id for _ in range(8)]
        assert [one for one in order if not one.startswith("b")] == ["high", "low", "a-0", "a-1", "a-2"]
        assert {one[0] for one in order[:2]} == {"b", "h"}

    def test_priority_ages(self, store: JobStore, clock: ManualClock) -> None:
        """A job that has waited longer than the priority of another is worth comes first."""
        add_backlog(store, "a", 1)
        clock.advance(PRIORITY_SECONDS * 2 + 1)
        store.add(QUEUE, new("two", channel="a", priority=2))
        store.add(QUEUE, new("three", channel="a", priority=3))
        assert [take(store).job_id for _ in range(3)] == ["three", "a-0", "two"]

    def test_priority_is_no_earlier_due_time(self, store: JobStore, clock: ManualClock) -> None:
        """A job with a priority is not claimed before it is due."""
        store.add(QUEUE, new("later", due=clock.now() + 60, channel="a", priority=9))
        claim = store.claim(a_claim())
        assert (claim.records, claim.again_at) == ((), clock.now() + 60)
        add_backlog(store, "a", 2)
        assert take(store).job_id == "a-0"
        clock.advance(61)
        assert [take(store).job_id for _ in range(2)] == ["later", "a-1"]

    def test_scheduled_jobs_share_when_they_are_due(self, store: JobStore, clock: ManualClock) -> None:
        """A job that becomes due behind a backlog of another channel is claimed within two turns."""
        store.add(QUEUE, new("planned", due=clock.now() + 5, channel="b"))
        add_backlog(store, "a", 50)
        claimed_channels(store, 10)
        clock.advance(6)
        assert "b" in claimed_channels(store, 2)

    def test_many_channels(self, store: JobStore) -> None:
        """Each of many channels gets one turn before any gets a second."""
        store.add(QUEUE, [item for n in range(300) for item in new(f"{n}-x", f"{n}-y", channel=f"c{n}")])
        first = store.claim(a_claim(count=300)).records
        assert len({record.job.channel for record in first}) == 300

    def test_slots_of_a_channel(self, store: JobStore, clock: ManualClock) -> None:
        """A channel has at most its own number of generations in flight, at all services; others are not delayed."""
        first, second, other = new("a-1", channel="a"), new("a-2", channel="a", service=BETA), new("b-1", channel="b")
        store.add(QUEUE, [*first, *second, *other])

        def intend_one(job_id: str) -> JobRecord:
            record = take(store, only=job_id)
            intent = Intent(submission_id=job_id, service=record.job.service, lifetime=100.0, max_of_channel=1)
            return store.intend(job_id, record.lease_token, intent)

        record = intend_one("a-1")
        assert (store.channel_in_flight("a"), store.channel_in_flight("b")) == (1, 0)
        with pytest.raises(SlotsBusy, match="channel a has 1 of 1 generations in flight"):
            intend_one("a-2")
        intend_one("b-1")
        settle(store, accept(store, record), Wait(clock.now(), "rendering"))
        settle(store, take(store, only="a-1"), Done(VIDEO))
        assert store.channel_in_flight("a") == 0

    def test_cancelled_and_chosen_jobs_leave_their_channel(self, store: JobStore, clock: ManualClock) -> None:
        """A job that was cancelled, or claimed by its id, is not claimed again."""
        add_backlog(store, "a", 4, priority=2)
        store.cancel("a-0")
        take(store, only="a-1")
        assert ids(store.claim(a_claim()).records) == ["a-2", "a-3"]
        claim = store.claim(a_claim())
        assert claim.records == ()
        assert claim.again_at == clock.now() + 30.0  # the leases end then
