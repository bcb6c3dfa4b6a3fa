"""Channels and schedules through the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.api_client import Program, problem_of, program
from tests.scripted_parts import Script, open_scripted

SCHEDULE = {"channel": "fun", "daily_count": 4, "videos_per_hour": "1", "start": "18:00"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    with open_scripted(settings, ManualClock(1798113600.0), Script()) as engine:  # 2026-12-24T12:00:00Z
        yield engine


@pytest.fixture
def api(engine: Engine) -> Program:
    return program(engine)


def test_a_channel_is_set_paused_and_removed(api: Program, engine: Engine) -> None:
    """Settings are replaced as a whole, the pause stays, and the channel is listed."""
    body = {"weight": 2, "limits": "20/d, 4/h", "slots": 2, "defaults": {"style": "retro"}}
    answer = api.send("PUT", "/channels/fun", json=body).get_json()
    assert (answer["weight"], answer["limits"], answer["slots"]) == (2, "4/h 20/d", 2)
    assert api.post("/channels/fun/pause", {"why": "holiday"}).get_json()["paused"]
    assert api.send("PUT", "/channels/fun", json={}).get_json()["why"] == "holiday"
    assert engine.store.channel("fun") == Channel(paused=True, why="holiday")
    assert not api.post("/channels/fun/resume").get_json()["paused"]
    assert [one["channel"] for one in api.get("/channels").get_json()["channels"]] == ["fun"]
    assert api.send("DELETE", "/channels/fun").status_code == 200
    assert api.get("/channels").get_json() == {"channels": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"weight": 0}, "weight"),
        ({"slots": "two"}, "slots"),
        ({"limits": "fast"}, "limits"),
        ({"defaults": {"topic": "x"}}, "topic"),
        ({"defaults": {"service": "nosuch"}}, "service"),
        ({"wight": 2}, "wight"),
    ],
)
def test_wrong_settings_are_refused_by_name(api: Program, engine: Engine, body: dict[str, Any], field: str) -> None:
    """A wrong value and an unknown field are 400 with the field, and nothing is stored."""
    assert field in api.send("PUT", "/channels/fun", json=body).text
    assert problem_of(api.send("PUT", "/channels/fun", json=body), 400)
    assert engine.store.channels() == {}


def test_the_key_of_a_channel(engine: Engine) -> None:
    """A key of one channel sees and pauses its own, changes no share, and sees no foreign schedule."""
    own = program(engine, channel="fun")
    engine.store.set_channel("other", lambda present: Channel(weight=2))
    assert [one["channel"] for one in own.get("/channels").get_json()["channels"]] == ["fun"]
    assert own.post("/channels/fun/pause").status_code == 200
    problem_of(own.get("/channels/other"), 403)
    problem_of(own.send("PUT", "/channels/fun", json={"weight": 9}), 403)
    assert program(engine).send("PUT", "/schedules/news", json=SCHEDULE | {"channel": "other"}).status_code == 200
    problem_of(own.get("/schedules/news"), 404)
    problem_of(own.send("PUT", "/schedules/mine", json=SCHEDULE | {"channel": "other"}), 403)
    assert own.get("/schedules").get_json() == {"schedules": []}


def test_jobs_get_the_defaults_of_their_channel(api: Program, engine: Engine) -> None:
    """A job gets its channel's values for fields that the request omits, and its priority."""
    api.send("PUT", "/channels/fun", json={"defaults": {"style": "retro", "duration": 9}})
    answer = api.post("/jobs", {"topic": "Tides", "channel": "fun", "style": "cinematic", "priority": 7}, key="1")
    job = engine.store.require(answer.get_json()["job_ids"][0]).job
    assert (job.style, job.duration, job.priority) == ("cinematic", 9, 7)


def test_a_schedule_is_kept_once(api: Program, engine: Engine) -> None:
    """The same schedule again changes nothing, another one of that name is refused, and its slots are planned."""
    body = SCHEDULE | {"topics": ["A", {"topic": "B", "style": "retro"}, "C", "D", "E"]}
    first = api.send("PUT", "/schedules/evening", json=body).get_json()
    assert (first["topics_left"], first["state"]) == (1, "active")
    assert api.send("PUT", "/schedules/evening", json=body).get_json()["created_at"] == first["created_at"]
    problem_of(api.send("PUT", "/schedules/evening", json=body | {"daily_count": 3}), 409)
    assert engine.store.status_counts().by_status[Status.SCHEDULED] == 4
    assert api.post("/schedules/evening/pause", {"why": "x"}).get_json()["state"] == "paused"
    assert api.post("/schedules/evening/resume").get_json()["state"] == "active"
    removed = api.send("DELETE", "/schedules/evening?cancel_planned=true").get_json()
    assert removed == {"removed": "evening", "cancelled": 4}
    problem_of(api.get("/schedules/evening"), 404)


def test_topics_and_jobs_are_added_once(api: Program, engine: Engine) -> None:
    """With an idempotency key, topics are appended once and one job is added; another body is refused."""
    api.send("PUT", "/schedules/evening", json=SCHEDULE | {"topics": ["A", "B", "C", "D", "E"]})
    for _ in range(2):
        answer = api.post("/schedules/evening/topics", {"topics": ["F", "G"]}, key="add")
        assert answer.get_json()["topics_left"] == 3
    problem_of(api.post("/schedules/evening/topics", {"topics": ["H"]}, key="add"), 422)
    jobs = [api.post("/schedules/evening/run-now", key="now").get_json()["job_ids"] for _ in range(2)]
    assert jobs[0] == jobs[1]
    assert engine.store.require(jobs[0][0]).job.topic == "E"
    assert engine.store.require_schedule("evening").topics_left == 2


@pytest.mark.parametrize(
    "change",
    [{"timezone": "Moon/Base"}, {"days": "funday"}, {"videos_per_hour": "x"}, {"start": "25:00"}, {"topics": []},
     {"topics": [{"title": "A"}]}, {"repeat": True}, {"service": "nosuch"}, {"daily_count": 0}],
)  # fmt: skip
def test_a_wrong_schedule_is_refused(api: Program, engine: Engine, change: dict[str, Any]) -> None:
    """A wrong value is 400, and nothing is kept."""
    problem_of(api.send("PUT", "/schedules/evening", json=SCHEDULE | change), 400)
    assert engine.store.schedules() == []


def test_numbers_name_channels_only_with_a_key(api: Program, engine: Engine) -> None:
    """`/stats` and `/metrics` have the channels that a key may see; without a valid one they have none."""
    for name in ("fun", "other"):
        engine.store.set_channel(name, lambda present: Channel(weight=2))
    own = program(engine, channel="fun")
    adding = program(engine, Scope.ADD)
    for sender, names in ((api, ["fun", "other"]), (own, ["fun"]), (adding, None)):
        headers = {"Authorization": f"Bearer {sender.token}"}
        found = sender.client.get("/stats", headers=headers).get_json().get("channels")
        assert (found and [one["channel"] for one in found]) == names
        metrics = sender.client.get("/metrics", headers=headers).text
        assert [name for name in ("fun", "other") if f'channel_paused{{channel="{name}"}}' in metrics] == (names or [])
    for headers in ({}, {"Authorization": "Bearer eyJhbGciOi"}, {"Authorization": "Bearer tf_nosuch"}):
        answer = api.client.get("/stats", headers=headers)
        assert (answer.status_code, "channels" in answer.get_json()) == (200, False)
    assert [one["channel"] for one in own.get("/stats").get_json()["channels"]] == ["fun"]
