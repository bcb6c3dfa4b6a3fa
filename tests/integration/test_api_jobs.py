"""Following and operating jobs through the HTTP API."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.api.blueprint import ROUTES
from tenxsom_flow_engine.api.jobs import UNDER_WAY
from tenxsom_flow_engine.api.polling import LongPolls
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, StoreUnavailable, Uncertain
from tenxsom_flow_engine.jobs import Cost, EventKind, Status
from tenxsom_flow_engine.services.base import Failed
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.samples import ALPHA, new
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.web.file_streaming import STREAMS
from tests.api_client import Program, app_of, problem_of, program
from tests.contract.store_suite.shared import STUCK, race
from tests.scripted_parts import Script, open_scripted
from tests.stepping import step


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1798113600.0)  # 2026-12-24T12:00:00Z


@pytest.fixture
def service(clock: ManualClock) -> ScriptedService:
    service = ScriptedService(clock, price=Cost(usd=0.5))
    service.video = tiny_video("9:16", 5)
    return service


@pytest.fixture
def script() -> Script:
    """Scripted replacements for calls of the engine's queue and store."""
    return Script()


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, service: ScriptedService, script: Script) -> Iterator[Engine]:
    settings = load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_LIMITS": "global=none"})
    with open_scripted(settings, clock, script, services={ALPHA: service}) as engine:
        engine.gate = OpenGate(clock)
        engine.store.add("local", new("a", topic="Why the sea is salt", channel="sea"))
        yield engine


@pytest.fixture
def user(engine: Engine) -> Program:
    return program(engine)


def hold(engine: Engine, service: ScriptedService) -> None:
    """Let the job's create end with an unknown outcome."""
    service.creates.append(Uncertain(ALPHA, "the connection broke"))
    while step(engine).status is not Status.HELD:
        pass


def status(engine: Engine) -> Status:
    return engine.store.require("a").status


def test_a_job_is_shown(user: Program, engine: Engine) -> None:
    """A job has its fields, its cost, its timeline and, with a video, the addresses of its files."""
    found = user.get("/jobs/a").get_json()
    assert (found["status"], found["channel"], found["topic"]) == ("queued", "sea", "Why the sea is salt")
    assert (found["video"], found["links"]) == (None, {"self": "/api/v1/jobs/a"})
    step(engine, 3)
    found = user.get("/jobs/a").get_json()
    assert (found["status"], found["cost"]["usd"]) == ("succeeded", 0.5)
    assert found["links"]["video"] == "/api/v1/jobs/a/video"
    assert (found["video"]["duration"], len(found["purchases"])) == (5.0, 1)
    assert next(event["what"] for event in found["events"]) == "added"
    assert engine.output.place not in str(found)


def test_jobs_are_listed_page_by_page(user: Program, engine: Engine) -> None:
    """A list is filtered, and its cursor leads through all of it."""
    engine.store.add("local", new(*(f"j{number}" for number in range(5)), channel="other"))
    first = user.get("/jobs?limit=4").get_json()
    rest = user.get(f"/jobs?limit=4&cursor={first['next']}").get_json()
    assert [job["job_id"] for job in first["jobs"] + rest["jobs"]] == ["j4", "j3", "j2", "j1", "j0", "a"]
    assert rest["next"] is None
    for query, number in (
        ("channel=sea", 1), ("channel=sea&service=alpha", 1), ("service=beta", 0), ("status=queued", 6),
        ("status=failed,held&status=succeeded", 0), ("text=SALT", 6), ("since=2026-12-24T12:00:01Z", 0),
        ("since=2026-12-24T13:00:00%2B01:00&until=2027-01-01T00:00:00Z", 6),
    ):  # fmt: skip
        assert len(user.get(f"/jobs?{query}").get_json()["jobs"]) == number, query


@pytest.mark.parametrize(
    ("query", "field"),
    [("state=failed", "state"), ("status=gone", "status"), ("limit=0", "limit"), ("limit=201", "limit"),
     ("limit=4&limit=5", "limit"), ("since=yesterday", "since"), ("since=2026-12-24", "since"), ("cursor=x", "cursor")],
)  # fmt: skip
def test_an_invalid_parameter_is_named(user: Program, query: str, field: str) -> None:
    """An unknown parameter, or an invalid value of one, is a 400 that names it."""
    assert field in problem_of(user.get(f"/jobs?{query}"), 400)["field"]


def test_unknown_addresses_and_methods(user: Program) -> None:
    """An unknown address is a 404, and a wrong method a 405, as problems."""
    assert problem_of(user.get("/jobs/unknown"), 404)["actions"] == ["list_jobs"]
    for path in ("/job", "/jobs/a/unknown", "/", "/jobs/a/video/b"):
        assert problem_of(user.get(path), 404)
    refused = user.send("DELETE", "/jobs")
    assert problem_of(refused, 405)["code"] == "method_not_allowed"
    assert "POST" in refused.headers["Allow"]


def test_a_request_waits_for_a_job(user: Program, engine: Engine, service: ScriptedService) -> None:
    """A request that waits is answered when the job is finished, also by another process."""
    answers: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: answers.append(user.get("/jobs/a?wait=60").get_json()))
    waiting.start()
    step(engine, 3)
    waiting.join(STUCK)
    assert [answer["status"] for answer in answers] == ["succeeded"]
    assert user.get("/jobs/a?wait=60").get_json()["status"] == "succeeded"


@pytest.mark.parametrize("seconds", ["0", "0.01", "-0"])
def test_a_wait_ends(user: Program, seconds: str) -> None:
    """After its seconds, a request is answered with the present state."""
    assert user.get(f"/jobs/a?wait={seconds}").get_json()["status"] == "queued"
    for wrong in ("61", "nan", "-1", "x"):
        assert problem_of(user.get(f"/jobs/a?wait={wrong}"), 400)["field"] == "wait"


def test_waits_are_bounded(engine: Engine) -> None:
    """If all places are taken, a wait returns at once, and says so; a process that stops ends its waits."""
    stop = threading.Event()
    polls = LongPolls(stop.is_set, places=1)
    record = engine.store.require("a")
    first = threading.Thread(target=lambda: polls.follow(engine.store, record, STUCK))
    first.start()
    while polls.follow(engine.store, record, 0.01)[1]:
        pass
    assert polls.follow(engine.store, record, STUCK)[1] is False
    stop.set()
    first.join(STUCK)
    assert not first.is_alive()


def test_files_are_sent_in_parts(user: Program, engine: Engine) -> None:
    """The files of a job are sent, whole or in ranges; without a video, and for a wrong range, there is a problem."""
    assert problem_of(user.get("/jobs/a/video"), 404)
    step(engine, 3)
    result = engine.store.require("a").result
    assert result
    content = Path(result.path).read_bytes()
    assert user.get("/jobs/a/video").data == content
    part = user.get("/jobs/a/video", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.data) == (206, content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    outside = user.get("/jobs/a/video", headers={"Range": f"bytes={len(content)}-"})
    assert problem_of(outside, 416)
    assert outside.headers["Content-Range"] == f"bytes */{len(content)}"
    assert user.get("/jobs/a/metadata").get_json()["title"] == "Why the sea is salt"
    assert user.get("/jobs/a/thumbnail").mimetype == "image/jpeg"
    assert user.get("/jobs/a/captions").status_code == 200
    assert "attachment" in user.get("/jobs/a/video?download=true").headers["Content-Disposition"]
    os.unlink(result.path)
    assert problem_of(user.get("/jobs/a/video"), 404)


def test_video_streams_are_bounded(user: Program, engine: Engine) -> None:
    """Beyond the maximum of videos that a process sends, the answer is a problem with the time to wait."""
    step(engine, 3)
    open_ones = [user.get("/jobs/a/video", buffered=False) for _ in range(STREAMS)]
    answer = user.get("/jobs/a/video")
    assert problem_of(answer, 503)["code"] == "files_busy"
    assert int(answer.headers["Retry-After"]) > 0
    for one in open_ones:
        one.close()


def test_a_job_is_cancelled_edited_and_retried(user: Program, engine: Engine) -> None:
    """Actions change the job as the command line does, and are refused with the reason if they make no sense."""
    assert user.post("/jobs/a/edit", {"topic": "New", "at": "2026-12-25T00:00:00Z"}).get_json()["status"] == "scheduled"
    assert engine.store.require("a").job.topic == "New"
    assert user.post("/jobs/a/run-now").get_json()["status"] == "queued"
    assert user.post("/jobs/a/cancel", {}).get_json()["status"] == "cancelled"
    assert problem_of(user.post("/jobs/a/cancel"), 409)["code"] == "action_refused"
    found = user.post("/jobs/a/retry", {"script": "The sea is salt."}).get_json()
    assert (found["status"], found["script"]) == ("queued", "The sea is salt.")
    for body in ({}, {"at": "2026-12-24T10:00:00Z"}, {"duration": 0}, {"channel": "x"}, {"service": "unknown"}):
        assert problem_of(user.post("/jobs/a/edit", body), 400)


def test_a_held_job_is_resolved(user: Program, engine: Engine, service: ScriptedService) -> None:
    """A held job names its remedies; one decision at a time is accepted."""
    hold(engine, service)
    assert Action.CONFIRM_PURCHASE in user.get("/jobs/a?wait=60").get_json()["error"]["actions"]
    for body in ({}, {"resubmit": True, "give_up": True}, {"give_up": True, "account": "x"}, {"ticket": ""}):
        assert problem_of(user.post("/jobs/a/resolve", body), 400)
    assert user.post("/jobs/a/resolve", {"give_up": True}).get_json()["status"] == "failed"
    found = user.post("/jobs/a/resolve", {"ticket": "t-7", "force": True}).get_json()
    assert (found["status"], found["submission"]["ticket"]) == ("rendering", "t-7")


def fail(engine: Engine, service: ScriptedService) -> None:
    """Let the job's generation fail."""
    service.checks.append(Failed("generation_failed", "moderation"))
    while step(engine).status is not Status.FAILED:
        pass


def test_an_action_with_a_key_is_done_once(user: Program, engine: Engine, service: ScriptedService) -> None:
    """A retry whose answer was lost and that is repeated after the job has failed again retries nothing."""
    fail(engine, service)
    first = user.post("/jobs/a/retry", key="r")
    fail(engine, service)
    again = user.post("/jobs/a/retry", key="r")
    assert (again.status_code, again.get_json()) == (200, first.get_json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert status(engine) is Status.FAILED
    assert user.post("/jobs/a/retry", key="s").get_json()["status"] == "queued"
    assert problem_of(user.post("/jobs/a/retry", {"topic": "b"}, key="s"), 422)


def test_concurrent_repetitions_of_an_action_act_once(engine: Engine, service: ScriptedService) -> None:
    """Of concurrent retries with one key, one retries; the others get its answer, or are told that it is under way."""
    fail(engine, service)
    user = program(engine)
    app = app_of(engine)  # one for all threads: CPython 3.11 cannot parse its routes in several threads at once
    answers = race(8, lambda index: Program(app.test_client(), user.token).post("/jobs/a/retry", key="r"))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {answer.get_json()["code"] for answer in answers if answer.status_code == 409} <= {"request_in_progress"}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1
    assert [event.what for event in engine.store.require("a").events].count(EventKind.RETRIED) == 1


def test_a_refused_action_can_be_repeated(user: Program, engine: Engine, service: ScriptedService) -> None:
    """A refusal is not remembered: the same request succeeds when the job allows it."""
    assert problem_of(user.post("/jobs/a/retry", key="r"), 409)
    fail(engine, service)
    assert user.post("/jobs/a/retry", key="r").get_json()["status"] == "queued"


@pytest.mark.parametrize("done", [True, False])
def test_an_interrupted_action_is_not_done_twice(
    user: Program, engine: Engine, service: ScriptedService, script: Script, clock: ManualClock, done: bool
) -> None:
    """Whether an interrupted retry was done is found out by the job; while it can be under way, a repetition waits."""

    def break_off(real: Callable[..., Any], *arguments: Any) -> Any:
        if done:
            real(*arguments)
        raise StoreUnavailable("it is away")

    fail(engine, service)
    script.instead["retry"] = break_off
    assert problem_of(user.post("/jobs/a/retry", key="r"), 503)
    del script.instead["retry"]
    found = user.post("/jobs/a/retry", key="r")
    assert problem_of(found, 409)["code"] == "request_in_progress"
    assert int(found.headers["Retry-After"]) == 1
    clock.advance(UNDER_WAY)
    found = user.post("/jobs/a/retry", key="r")
    if done:
        assert problem_of(found, 409)["code"] == "request_interrupted"
    else:
        assert found.status_code == 200
    assert status(engine) is Status.QUEUED


def test_budgets_and_limits_are_changed(user: Program, engine: Engine) -> None:
    """Budgets and limits are set and removed for all workers; invalid ones are refused with the reason."""
    assert user.send("PUT", "/budgets/all", json={"limits": "10/d Europe/Berlin"}).get_json()["budgets"][0]["limit"]
    assert engine.store.budgets()["all"].text == "10/d Europe/Berlin"
    assert user.get("/budgets").get_json()["budgets"][0]["timezone"] == "Europe/Berlin"
    for path, limits in (("all", "10/x"), ("all", "x"), ("nothing", "10/d"), ("channel:", "1/d")):
        assert problem_of(user.send("PUT", f"/budgets/{path}", json={"limits": limits}), 400)
    assert user.send("DELETE", "/budgets/all").get_json() == {"budgets": []}
    found = user.send("PUT", "/limits/alpha", json={"limits": "1/s"}).get_json()
    assert found["services"]["alpha"]["windows"][0]["window"] == "1/s"
    assert problem_of(user.send("PUT", "/limits/unknown", json={"limits": "1/s"}), 400)
    assert "alpha" not in user.send("DELETE", "/limits/alpha").get_json()["services"]


def test_the_queue_and_services_are_paused(user: Program, engine: Engine) -> None:
    """The queue and a service are paused and resumed, and show it."""
    assert user.post("/queue/pause").get_json()["state"] == "PAUSED"
    assert user.post("/queue/resume").get_json()["state"] == "RUNNING"
    user.post("/services/alpha/pause", {"why": "holidays"})
    assert user.get("/services/alpha").get_json()["state"] == "paused"
    user.post("/services/alpha/resume")
    assert user.get("/services/alpha").get_json()["state"] == "open"
    assert user.get("/stats").get_json()["jobs"]["queued"] == 1
    assert problem_of(user.get("/services/unknown"), 404)


def test_each_route_has_its_own_name() -> None:
    """No two routes have the same name or the same address and method."""
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
