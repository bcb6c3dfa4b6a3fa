"""Adding jobs through the HTTP API: once for each request, exactly as planned, and refused with all places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.api import keys, once
from tenxsom_flow_engine.api.adding import LATE_SECONDS
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.types import MOST_JOBS
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import StoreUnavailable
from tenxsom_flow_engine.jobs import Cost, JobRecord
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.api_client import Program, app_of, problem_of, program
from tests.contract.store_suite.shared import race
from tests.scripted_parts import Script, open_scripted

DAY = 86400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1798113600.0)  # 2026-12-24T12:00:00Z


@pytest.fixture
def script() -> Script:
    """Scripted replacements for calls of the engine's queue and store."""
    return Script()


@pytest.fixture
def service(clock: ManualClock) -> ScriptedService:
    return ScriptedService(clock, price=Cost(usd=0.5))


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, script: Script, service: ScriptedService) -> Iterator[Engine]:
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    with open_scripted(settings, clock, script, services={service.name: service}) as engine:
        yield engine


@pytest.fixture
def user(engine: Engine) -> Program:
    return program(engine)


def jobs(engine: Engine) -> list[JobRecord]:
    """Return all jobs, oldest first."""
    return list(reversed(engine.store.page(JobFilter(), limit=10_000).records))


def test_a_job_is_added_once(user: Program, engine: Engine) -> None:
    """The first request is a 201 with the address of the job; the same one again a 200 with the same answer."""
    body = {"topic": "How tides work", "style": "retro", "channel": "sea", "at": "2026-12-24T18:00:00+01:00"}
    first, again = (user.post("/jobs", body, key="a") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    (record,) = jobs(engine)
    assert first.get_json() == {"job_ids": [record.job_id], "added": 1, "known": 0}
    assert first.headers["Location"] == f"/api/v1/jobs/{record.job_id}"
    assert (record.job.style, record.job.channel, record.due) == ("retro", "sea", 1798131600.0)
    assert again.headers["Idempotency-Replayed"] == "true"


def test_the_form_of_json_does_not_matter(user: Program, engine: Engine) -> None:
    """Blanks and the order of fields do not make another request."""
    for text in ('{"topic": "a", "duration": 8}', '{ "duration":8,\n"topic":"a" }'):
        assert user.send("POST", "/jobs", key="a", data=text, content_type="application/json").status_code < 300
    assert len(jobs(engine)) == 1


def test_another_request_with_the_same_key_is_refused(user: Program, engine: Engine) -> None:
    """A key stands for one body and one address, for each caller; nothing is added for another."""
    user.post("/jobs", {"topic": "a"}, key="a")
    assert problem_of(user.post("/jobs", {"topic": "b"}, key="a"), 422)["code"] == "idempotency_key_reused"
    assert problem_of(user.post("/plans", {"topic": "a"}, key="a"), 422)
    (record,) = jobs(engine)
    assert problem_of(user.post(f"/jobs/{record.job_id}/cancel", key="a"), 422)
    assert program(engine).post("/jobs", {"topic": "b"}, key="a").status_code == 201
    assert len(jobs(engine)) == 2


def test_a_key_is_kept_for_a_day(user: Program, engine: Engine, clock: ManualClock) -> None:
    """After a day, the same request still adds nothing twice, and another body is a new request."""
    user.post("/jobs", {"topic": "a"}, key="a")
    clock.advance(once.KEEP)
    again = user.post("/jobs", {"topic": "a"}, key="a")
    assert (again.status_code, again.get_json()["known"]) == (200, 1)
    clock.advance(once.KEEP)
    assert user.post("/jobs", {"topic": "b"}, key="a").status_code == 201
    assert len(jobs(engine)) == 2


def test_a_job_id_replaces_the_key(user: Program, engine: Engine) -> None:
    """Without a key every job needs an id; the id is added once, and another body under it is refused."""
    assert problem_of(user.post("/jobs", {"topic": "a"}), 400)["code"] == "idempotency_key_missing"
    assert problem_of(user.post("/jobs", [{"topic": "a", "job_id": "a"}, {"topic": "b"}]), 400)
    assert user.post("/jobs", {"topic": "a", "job_id": "a"}).status_code == 201
    assert user.post("/jobs", {"topic": "a", "job_id": "a"}).status_code == 200
    assert problem_of(user.post("/jobs", {"topic": "b", "job_id": "a"}), 422)
    answer = user.post("/jobs", [{"topic": "a", "job_id": "a"}, {"topic": "b", "job_id": "b"}])
    assert answer.get_json() == {"job_ids": ["a", "b"], "added": 1, "known": 1}
    assert [record.job.topic for record in jobs(engine)] == ["a", "b"]


def test_concurrent_requests_add_once(engine: Engine) -> None:
    """Of concurrent requests with one key, one is a 201, all have the same answer, and each job is added once."""
    text, _ = keys.create(engine.store, tuple(Scope))
    app = app_of(engine)
    body = [{"topic": f"topic {number}"} for number in range(20)]
    answers = race(8, lambda index: Program(app.test_client(), text).post("/jobs", body, key="a"))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 7}
    assert len({answer.text for answer in answers}) == 1
    assert len(jobs(engine)) == 20


def test_concurrent_requests_with_other_bodies_are_refused(engine: Engine) -> None:
    """Of concurrent requests with one key and different bodies, one is carried out and the others are a 422."""
    text, _ = keys.create(engine.store, tuple(Scope))
    app = app_of(engine)
    answers = race(8, lambda index: Program(app.test_client(), text).post("/jobs", {"topic": f"t {index}"}, key="a"))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: 7}
    assert len(jobs(engine)) == 1


@pytest.mark.parametrize("added", [True, False])
def test_an_interrupted_request_is_completed(
    user: Program, engine: Engine, script: Script, service: ScriptedService, clock: ManualClock, added: bool
) -> None:
    """If the store fails before or after the jobs are added, the repeated request adds what is missing."""

    def fail(real: Callable[..., Any], *arguments: Any) -> Any:
        if added:
            real(*arguments)
        raise StoreUnavailable("redis://secret-host is away")

    body = [{"topic": "a"}, {"topic": "b", "at": "2026-12-24T13:00:00Z"}]
    script.instead["enqueue"] = fail
    answer = user.post("/jobs", body, key="a")
    assert "secret-host" not in problem_of(answer, 503)["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    del script.instead["enqueue"]
    clock.advance(2 * 3600.0)  # the time of the second job has passed, but it was not when it was ordered
    assert problem_of(user.post("/jobs", [{"topic": "a"}], key="a"), 422)
    answer = user.post("/jobs", body, key="a")
    assert (answer.status_code, answer.get_json()["added"]) == (201, 2)
    assert [record.job_id for record in jobs(engine)] == answer.get_json()["job_ids"]
    assert user.post("/jobs", body, key="a").get_json() == answer.get_json()


def test_invalid_jobs_are_named_together(user: Program, engine: Engine, service: ScriptedService) -> None:
    """Every invalid job of a list is named with its field and line, and nothing is added."""
    body = b"""[
  {"topic": "fine"},
  {"topic": "a", "durations": 5},
  {"topic": "a", "duration": "5"},
  {"topic": "\xe2\x80\xae"}, {"topic": "a", "at": "2026-12-24T10:00:00Z"},
  {"topic": "a", "service": "unknown"}
]"""
    answer = user.send("POST", "/jobs", key="a", data=body, content_type="application/json")
    found = problem_of(answer, 400)
    assert [(one["field"], one["line"]) for one in found["errors"]] == [("[1].durations", 3), ("[2].duration", 4)]
    assert (found["field"], found["line"], found["code"]) == ("[1].durations", 3, "invalid_input")
    body = b"\n".join(line for line in body.split(b"\n") if b"duration" not in line)
    found = problem_of(user.send("POST", "/jobs", key="a", data=body, content_type="application/json"), 400)
    assert [(one["field"], one["line"]) for one in found["errors"]] == [
        ("[1].topic", 3), ("[2].at", 3), ("[3].service", 4)
    ]  # fmt: skip
    assert jobs(engine) == []
    assert user.post("/jobs", {"topic": "fine"}, key="a").status_code == 201


@pytest.mark.parametrize(
    ("body", "field", "line"),
    [
        (b"", "body", 1), (b"{", "body", 1), (b'{"topic":\n\n"a",}', "body", 3), (b"\xff\xfe", "body", 1),
        (b"7", "body", 0),
        (b"[]", "body", 0), (b"{}", "topic", 0), (b'{"topic": null}', "topic", 0), (b'{"topic": ""}', "topic", 0),
        (b'{"topic": "a", "topics": 1}', "topics", 0), (b'{"topic": "a", "job_id": "a b"}', "job_id", 0),
        (b'{"topic": "a", "options": {"draft": 3}}', "options", 0), (b'{"plan": "x"}', "plan", 0),
        (b'{"plan": "plan_00000000000000000000000000000000", "topic": "a"}', "topic", 0),
        (b'{"topic": "a", "at": "2026-12-24T18:00"}', "at", 0),
        (b'{"topic": "a", "at": "9999-12-31T23:59:59Z"}', "at", 0),
        (b'{"topic": "a", "at": "0001-01-01T00:00:00+23:59"}', "at", 0),
        (b'{"topic": "a", "at": "2026-12-25T00:00:00Z", "start_by": "2026-12-24T18:00:00Z"}', "start_by", 0),
        (b"[" * 100_000, "body", None), (b'{"topic": "\\ud800"}', None, None), (b'["a"]', "[0]", 1),
    ],
)  # fmt: skip
def test_an_invalid_body_is_refused(user: Program, engine: Engine, body: bytes, field: str | None, line: int) -> None:
    """Whatever is wrong with a body, the answer is a 400 that names the place."""
    answer = user.send("POST", "/jobs", key="a", data=body, content_type="application/json")
    found = problem_of(answer, 400)
    assert field in (None, found["field"])
    assert line in (None, found.get("line", 0))
    assert jobs(engine) == []


def test_lists_have_a_maximum(user: Program, engine: Engine) -> None:
    """The longest list is added; a longer one, and a body that is too large, are refused as a whole."""
    body = [{"topic": f"topic {number}"} for number in range(MOST_JOBS)]
    found = problem_of(user.post("/jobs", [*body, body[0]], key="a"), 400)
    assert "at most 5,000" in found["detail"]
    assert problem_of(user.post("/jobs", [{"topic": "a", "prompt": "x" * 10_000}] * 200, key="a"), 413)
    assert jobs(engine) == []
    assert user.post("/jobs", body, key="a").get_json()["added"] == MOST_JOBS


def test_an_id_is_given_once(user: Program) -> None:
    """Two jobs of a list cannot have the same id."""
    found = problem_of(user.post("/jobs", [{"topic": "a", "job_id": "a"}, {"topic": "b", "job_id": "a"}]), 400)
    assert found["errors"][0]["field"] == "[1].job_id"


@pytest.mark.parametrize("key", ["", " a", "a b", "é", "a" * 256])
def test_an_invalid_key_is_refused(user: Program, key: str) -> None:
    """An idempotency key is 1 to 255 visible characters."""
    answer = user.post("/jobs", {"topic": "a"}, headers={"Idempotency-Key": key})
    assert problem_of(answer, 400)["code"] in ("invalid_input", "idempotency_key_missing")


def test_a_body_must_be_declared_as_json(user: Program) -> None:
    """A form that a page of another site could send is refused."""
    assert problem_of(user.send("POST", "/jobs", key="a", data=b"{}", content_type="text/plain"), 415)


def test_a_plan_shows_what_adding_would_do(user: Program, engine: Engine) -> None:
    """A plan has the price, adjustments, duplicates, known jobs and budgets that are too small, and adds nothing."""
    user.post("/jobs", {"topic": "known", "job_id": "known"})
    user.send("PUT", "/budgets/all", json={"limits": "1/d"})
    body = [{"topic": "a"}, {"topic": "b"}, {"topic": " a "}, {"topic": "known", "job_id": "known"}, {"topic": "c"}]
    plan = user.post("/plans", body).get_json()
    assert (plan["new"], plan["known"], plan["duplicates"]) == (4, 1, 1)
    assert plan["price"] == {"usd": 2.0, "highest_usd": 2.0, "unknown": 0}
    assert [job["duplicate_of"] for job in plan["jobs"]] == [None, None, 0, None, None]
    assert [job["known"] for job in plan["jobs"]] == [False, False, False, True, False]
    assert {job["usd"] for job in plan["jobs"]} == {0.5}
    (over,) = plan["over_budget"]
    assert (over["scope"], over["jobs"]) == ("all", 2)
    assert "would wait" in over["detail"]
    assert len(jobs(engine)) == 1


def test_a_plan_is_added_exactly(user: Program, engine: Engine, clock: ManualClock) -> None:
    """The token of a plan adds its jobs, once."""
    plan = user.post("/plans", [{"topic": "a"}, {"topic": "b", "at": "2026-12-25T00:00:00Z"}]).get_json()
    clock.advance(3600.0)
    first, again = (user.post("/jobs", {"plan": plan["plan"]}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert [record.job_id for record in jobs(engine)] == [job["job_id"] for job in plan["jobs"]]
    assert user.post("/jobs", {"plan": plan["plan"]}, key="other").get_json()["added"] == 0


def test_a_plan_can_be_repeated(user: Program) -> None:
    """With a key, the same plan is returned."""
    first, again = (user.post("/plans", {"topic": "a"}, key="a") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert problem_of(user.post("/plans", {"topic": "b"}, key="a"), 422)


def test_a_changed_plan_is_refused(user: Program, engine: Engine, service: ScriptedService, clock: ManualClock) -> None:
    """If the price has changed or a start has passed, nothing is added; a plan ends after a day."""
    plan = user.post("/plans", {"topic": "a"}).get_json()["plan"]
    service.price = Cost(usd=0.6)
    found = problem_of(user.post("/jobs", {"plan": plan}), 409)
    assert (found["code"], "price" in found["detail"]) == ("plan_changed", True)
    plan = user.post("/plans", {"topic": "a", "at": "2026-12-24T13:00:00Z"}).get_json()["plan"]
    clock.advance(3600.0 + LATE_SECONDS + 1.0)
    assert problem_of(user.post("/jobs", {"plan": plan}), 409)["code"] == "plan_changed"
    plan = user.post("/plans", {"topic": "a"}).get_json()["plan"]
    clock.advance(DAY)
    assert problem_of(user.post("/jobs", {"plan": plan}), 404)["code"] == "plan_not_found"
    assert jobs(engine) == []
