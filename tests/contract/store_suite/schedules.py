"""Tests of the schedules and their lists of topics."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import NEVER, CatchUp, PendingJob, Schedule
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.contract.store_suite.shared import OpenStore, Suite, race


def a_schedule(name: str = "fun", **changes: Any) -> Schedule:
    """Return a schedule of three videos a day."""
    fields: dict[str, Any] = {
        "stamp": "a1b2c3", "channel": name, "created_at": 1.5, "daily_count": 3, "videos_per_hour": "1/3",
        "planned_until": 2.25,
    }  # fmt: skip
    return Schedule(name=name, **fields | changes)


FULL = a_schedule(
    days=(0, 6),
    zone="Europe/Berlin",
    start="18:30",
    fields={"style": "retro", "options": {"draft": {"mark": "Zoë"}}, "duration": 7},
    start_by=NEVER,
    catch_up=CatchUp.ALL,
    topics=0,
    repeat=True,
    next_topic=4,
    missed=9,
    pending=(PendingJob("fun-1", 1e9 + 0.125, 3, 1e9 + 7200.5), PendingJob("fun-2", 1e9, 4)),
    paused=True,
    why="holidays",
    problem="heygen is not configured",
)


class ScheduleSuite(Suite):
    """Schedules change only from a known state, and their topics with them."""

    def test_a_schedule_is_stored(self, store: JobStore) -> None:
        """Every field of a schedule is returned as it was stored, and schedules are listed by name."""
        assert store.swap_schedule(None, FULL)
        assert store.swap_schedule(None, a_schedule("art"))
        assert store.schedule("fun") == FULL
        assert list(store.schedules()) == [a_schedule("art"), FULL]
        assert store.schedule("other") is None

    def test_a_change_needs_the_present_state(self, store: JobStore) -> None:
        """A schedule is added, changed and removed only by those who know its present state."""
        first, second = a_schedule(), a_schedule(next_topic=1)
        assert not store.swap_schedule(first, second)
        assert store.swap_schedule(None, first)
        assert not store.swap_schedule(None, second)
        assert store.swap_schedule(first, second)
        assert not store.swap_schedule(first, a_schedule(next_topic=2))
        assert not store.swap_schedule(first, None)
        assert store.schedule("fun") == second
        assert store.swap_schedule(second, None)
        assert not store.swap_schedule(second, None)
        assert store.schedules() == []

    def test_topics_belong_to_a_schedule(self, store: JobStore) -> None:
        """Topics are read by position; they end with their schedule, also if another of its name replaces it."""
        first = a_schedule(topics=2)
        lines: list[dict[str, Any]] = [
            {"topic": "Tides", "options": {"draft": {"mark": "x"}}},
            {"topic": "Ebbe — ☾", "duration": 9},
        ]
        assert store.swap_schedule(None, first, lines)
        assert store.schedule_topics(first, [0, 1, 2]) == dict(enumerate(lines))
        assert store.schedule_topics(first, []) == {}
        more = replace(first, topics=3)
        assert store.swap_schedule(first, more, [{"topic": "Third"}])
        assert store.schedule_topics(more, [2]) == {2: {"topic": "Third"}}
        assert not store.swap_schedule(first, replace(first, topics=4), [{"topic": "Refused"}, {"topic": "Refused"}])
        assert store.schedule_topics(more, range(9)).keys() == {0, 1, 2}
        other = a_schedule(stamp="ffffff", topics=1)
        assert store.swap_schedule(more, other, [{"topic": "New"}])
        assert store.schedule_topics(more, range(9)) == {}
        assert store.schedule_topics(other, range(9)) == {0: {"topic": "New"}}
        assert store.swap_schedule(other, None)
        assert store.schedule_topics(other, range(9)) == {}

    def test_a_long_list_is_stored_whole(self, store: JobStore) -> None:
        """A list of thousands of topics is stored with its schedule, and any of them can be read at once."""
        topics = [{"topic": f"Topic {number}"} for number in range(3000)]
        schedule = a_schedule(topics=len(topics))
        store.swap_schedule(None, schedule, topics)
        assert store.schedule_topics(schedule, range(3000)) == dict(enumerate(topics))

    def test_one_of_many_changes_wins(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Of processes that change a schedule from one state at once, exactly one succeeds."""
        stores = [open_store(clock) for _ in range(4)]
        stores[0].swap_schedule(None, a_schedule())
        won = race(4, lambda number: stores[number].swap_schedule(a_schedule(), a_schedule(next_topic=number + 1)))
        assert sorted(won) == [False, False, False, True]
        assert stores[0].require_schedule("fun").next_topic == won.index(True) + 1

    def test_no_change_is_lost(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Changes of several processes all take effect, each on the result of another."""
        stores = [open_store(clock) for _ in range(3)]
        stores[0].swap_schedule(None, a_schedule(topics=0))

        def count(number: int) -> None:
            for turn in range(5):
                topic = {"topic": f"{number}-{turn}"}
                stores[number].change_schedule("fun", lambda one: replace(one, topics=(one.topics or 0) + 1), [topic])

        assert race(3, count) == [None] * 3
        schedule = stores[0].require_schedule("fun")
        found = stores[1].schedule_topics(schedule, range(20))
        assert schedule.topics == len(found) == len({topic["topic"] for topic in found.values()}) == 15

    def test_an_unknown_schedule_is_named(self, store: JobStore) -> None:
        """A change of a schedule that does not exist is refused, with the names of those that do."""
        store.swap_schedule(None, a_schedule())
        with pytest.raises(InvalidInput, match="no schedule is called 'art'") as error:
            store.change_schedule("art", lambda schedule: schedule)
        assert error.value.next_step == "schedules: fun"

    def test_a_clock_that_is_set_back_frees_the_lock(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A process that planned while the clock was ahead does not keep others from planning afterwards."""
        store, now = open_store(clock), clock.now()
        clock.advance(86_400)
        assert store.acquire_lock("schedules", "w-1", 60.0)
        clock.advance(-86_400)
        store.set_clock_back(now)
        store.close()
        assert open_store(clock).acquire_lock("schedules", "w-2", 60.0)

    def test_schedules_outlive_their_handle(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A schedule and its topics are still stored when the store is opened again."""
        store = open_store(clock)
        schedule = a_schedule(topics=1)
        store.swap_schedule(None, schedule, [{"topic": "Tides"}])
        store.close()
        again = open_store(clock)
        assert again.schedule("fun") == schedule
        assert again.schedule_topics(schedule, [0]) == {0: {"topic": "Tides"}}
