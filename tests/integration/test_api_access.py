"""Access to the HTTP API: keys, scopes, channels, rates, origins, and no sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import session
from flask.sessions import NullSession

from tenxsom_flow_engine.api import keys
from tenxsom_flow_engine.api.access import BURST, PER_SECOND, Rates, TooManyRequests
from tenxsom_flow_engine.api.blueprint import ROUTES
from tenxsom_flow_engine.api.keys import USE_INTERVAL, Scope
from tenxsom_flow_engine.budgets import parse_budget
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import new
from tenxsom_flow_engine.web.app import worker_app
from tenxsom_flow_engine.web.auth import anybody
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.api_client import Program, app_of, problem_of, program
from tests.dashboard_client import TOKEN, Visitor
from tests.scripted_parts import Script, open_scripted


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    with open_scripted(load({"TENXSOM_HOME": str(tmp_path)}), clock, Script()) as engine:
        yield engine


def every_route(program: Program) -> dict[int, list[str]]:
    """Send a request to each route; return the routes by the status of the answer."""
    found: dict[int, list[str]] = {}
    for route in ROUTES:
        path = route.path.replace("{job_id}", "other").replace("{scope}", "all").replace("{service}", "draft")
        body = {"json": route.example or {}} if route.body else {}
        answer = program.send(route.method, path, key="k", **body)
        found.setdefault(answer.status_code, []).append(route.name)
    return found


def test_a_request_needs_a_valid_key(engine: Engine, clock: ManualClock) -> None:
    """Without a key, and with a forged, expired or revoked one, every route answers 401 and does nothing."""
    valid = program(engine)
    text, key = keys.create(engine.store, tuple(Scope))
    expiring, _ = keys.create(engine.store, tuple(Scope), seconds=60.0)
    keys.revoke(engine.store, key.key_id)
    clock.advance(60.0)
    forged = [
        valid.token[:-1] + ("A" if valid.token[-1] != "A" else "B"),
        valid.token.rpartition("_")[0] + "_",
        valid.token.upper(),
        f"tf_{'0' * 12}_{valid.token.rpartition('_')[2]}",
        "tf_", "tf_é_é", "x" * 5000,
    ]  # fmt: skip
    for token in ("", *forged, expiring, text):
        answer = Program(valid.client, token).get("/jobs")
        assert problem_of(answer, 401)["code"] == "unauthenticated"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert set(every_route(Program(valid.client, expiring))) == {401}
    assert problem_of(valid.client.get("/api/v1/jobs", headers={"Authorization": f"Basic {valid.token}"}), 401)
    assert valid.get("/jobs").status_code == 200


def test_the_admin_token_may_do_everything(engine: Engine) -> None:
    """The admin token needs no key; guesses of it are limited like logins, and then refused with the time to wait."""
    client = app_of(engine).test_client()
    assert Program(client, TOKEN).get("/jobs").status_code == 200
    answers = [Program(client, f"guess-{number}").get("/jobs") for number in range(20)]
    assert {answer.status_code for answer in answers} == {401, 429}
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert problem_of(answers[-1], 429)["code"] == "too_many_requests"


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_allows_its_routes_only(engine: Engine, scope: Scope) -> None:
    """A key with one scope gets 403 from every route of another one, and from none of its own."""
    found = every_route(program(engine, scope))
    others = {route.name for route in ROUTES if route.scope is not scope}
    # Messages have what the scope `read` shows.
    assert set(found[403]) == others | ({"post_webhooks"} if scope is Scope.OPERATE else set())
    assert 401 not in found


def test_a_key_of_a_channel_sees_and_uses_only_that(engine: Engine) -> None:
    """Jobs of other channels do not exist for it; its own jobs get its channel; it changes nothing that others use."""
    engine.store.add("local", new("other", "mine-too", channel="other"))
    engine.store.add("local", new("mine", channel="fun"))
    mine = program(engine, channel="fun")
    assert [job["job_id"] for job in mine.get("/jobs").get_json()["jobs"]] == ["mine"]
    assert mine.get("/jobs/mine").status_code == 200
    for path in ("/jobs/other", "/jobs/other/video"):
        assert problem_of(mine.get(path), 404)
    for action in ("retry", "cancel", "run-now", "edit"):
        fields = {"topic": "Changed"} if action == "edit" else {}
        assert problem_of(mine.post(f"/jobs/other/{action}", fields), 404)["code"] == "job_not_found"
    assert problem_of(mine.get("/jobs?channel=other"), 403)
    assert problem_of(mine.post("/jobs", {"topic": "a", "channel": "other"}, key="a"), 403)
    assert problem_of(mine.post("/plans", [{"topic": "a"}, {"topic": "a", "channel": "other"}]), 403)
    (added,) = mine.post("/jobs", {"topic": "a", "service": "draft"}, key="b").get_json()["job_ids"]
    assert engine.store.require(added).job.channel == "fun"
    changes: list[tuple[str, str, dict[str, str] | None]] = [
        ("PUT", "/budgets/all", {"limits": "1/d"}), ("PUT", "/budgets/channel:fun", {"limits": "1/d"}),
        ("PUT", "/limits/draft", {"limits": "1/s"}), ("DELETE", "/limits/draft", None),
        ("POST", "/queue/pause", None), ("POST", "/services/draft/pause", {}),
    ]  # fmt: skip
    for method, path, body in changes:
        assert problem_of(mine.send(method, path, json=body) if body else mine.send(method, path), 403)
    assert (engine.paused, dict(engine.store.budgets())) == (False, {})
    assert "mine-too" not in mine.get("/queue").text + mine.get("/limits").text


def test_a_key_with_a_budget_buys_within_it_only(engine: Engine) -> None:
    """Its jobs and schedules are charged to it, so it cannot buy for those of others, raise its budget or resolve."""
    scopes = (Scope.READ, Scope.ADD, Scope.OPERATE)
    user, operator = program(engine, *scopes, budget="5/d", channel="fun"), program(engine)
    engine.add(new("other", channel="fun"))
    assert user.post("/jobs", {"topic": "a", "job_id": "own"}).status_code == 201
    payer = engine.store.require("own").job.key_id
    assert [one["scope"] for one in user.get("/budgets").get_json()["budgets"]] == [f"key:{payer}"]
    schedule = {"channel": "fun", "daily_count": 1, "videos_per_hour": "1", "topics": ["a", "b", "c"]}
    assert user.send("PUT", "/schedules/mine", json=schedule).status_code == 200
    planned = engine.store.require_schedule("mine").pending or ()
    records = engine.store.get_each([one.job_id for one in planned])
    assert {record.job.key_id for record in records} <= {payer}
    added = user.post("/schedules/mine/run-now", key="r").get_json()["job_ids"]
    assert [engine.store.require(job_id).job.key_id for job_id in added] == [payer]
    assert operator.send("PUT", "/schedules/theirs", json=schedule).status_code == 200
    for name in ("own", "other"):
        engine.cancel(name)
    assert user.post("/jobs/own/retry").status_code == 200
    for path, body in (
        ("/jobs/other/retry", None),
        ("/jobs/other/edit", {"topic": "b", "at": "2040-01-01T00:00:00Z"}),  # it would wait again
        ("/jobs/other/run-now", None),
        ("/schedules/theirs/run-now", None),
        ("/schedules/theirs/resume", None),
        ("/schedules/theirs/topics", {"topics": ["d"]}),
        ("/jobs/own/resolve", {"give_up": True}),
    ):
        assert problem_of(user.post(path, body), 403)["code"] == "forbidden"
    both = program(engine, *Scope)
    engine.store.set_budget("key:" + both.token.split("_")[1], parse_budget("all", "5/d"))
    assert problem_of(both.send("PUT", "/budgets/all", json={"limits": "9/d"}), 403)
    assert problem_of(both.send("PUT", "/channels/fun", json={"defaults": {"duration": 60}}), 403)
    assert problem_of(both.send("DELETE", "/channels/fun"), 403)
    with pytest.raises(InvalidInput, match="money"):
        keys.create(engine.store, tuple(Scope), budget="5/d")


def test_a_plan_is_for_the_key_that_made_it(engine: Engine) -> None:
    """Another key cannot add a plan."""
    token = program(engine).post("/plans", {"topic": "a", "service": "draft"}).get_json()["plan"]
    assert problem_of(program(engine).post("/jobs", {"plan": token}), 404)["code"] == "plan_not_found"


def test_a_key_is_stored_hashed_with_its_last_use(engine: Engine, clock: ManualClock) -> None:
    """The store has no text of a key; its last use is recorded, to the minute."""
    user = program(engine)
    assert user.token not in "".join(engine.store.memos(keys.KIND).values())
    assert user.token.rpartition("_")[2] not in "".join(engine.store.memos(keys.KIND).values())
    assert keys.list_keys(engine.store)[0].last_used_at is None
    first = clock.now()
    for _ in range(2):
        user.get("/jobs")
        assert keys.list_keys(engine.store)[0].last_used_at == first
        clock.advance(USE_INTERVAL / 2)
    user.get("/jobs")
    assert keys.list_keys(engine.store)[0].last_used_at == first + USE_INTERVAL


def test_a_revoked_key_stays_revoked(engine: Engine) -> None:
    """Revoking twice changes nothing, and the list shows the key as revoked."""
    _, key = keys.create(engine.store, (Scope.READ,))
    assert keys.revoke(engine.store, key.key_id) == keys.revoke(engine.store, key.key_id)
    assert keys.list_keys(engine.store)[0].revoked_at is not None
    with pytest.raises(InvalidInput, match="no key has the id"):
        keys.revoke(engine.store, "unknown")


def test_a_key_has_a_rate() -> None:
    """A key can send a burst, and then a number of requests per second; others are not affected."""
    clock = ManualClock()
    rates = Rates(clock.now)
    for _ in range(BURST):
        rates.count("a")
    with pytest.raises(TooManyRequests) as refusal:
        rates.count("a")
    assert 0 < refusal.value.wait <= 1 / PER_SECOND
    rates.count("b")
    clock.advance(1.0)
    for _ in range(int(PER_SECOND)):
        rates.count("a")
    with pytest.raises(TooManyRequests):
        rates.count("a")


def test_scripts_of_other_origins_need_a_setting(engine: Engine) -> None:
    """No answer allows another origin, unless a setting names it; then a browser may send keys and bodies."""
    origin = {"Origin": "https://app.example.org"}
    assert "Access-Control-Allow-Origin" not in program(engine).get("/jobs", headers=origin).headers
    client = app_of(engine, ["https://app.example.org"]).test_client()
    asked = client.options("/api/v1/jobs", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert "Idempotency-Key" in asked.headers["Access-Control-Allow-Headers"]
    for headers, allowed in ((origin, origin["Origin"]), ({"Origin": "https://evil.example"}, None), ({}, None)):
        answer = Program(client, TOKEN).get("/jobs", headers=headers)
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_session_of_the_dashboard_is_no_access(engine: Engine) -> None:
    """The cookie of a browser that is logged in does not open the API, and the API sets no cookie."""
    visitor = Visitor.let_in(app_of(engine).test_client())
    assert problem_of(visitor.client.get("/api/v1/jobs"), 401)
    answer = Program(visitor.client, TOKEN).get("/jobs")
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)


def test_a_worker_serves_the_api_too(engine: Engine) -> None:
    """A web worker has the same routes; its deliveries and the API open no session, even for a browser's cookie."""
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    app = worker_app(parts, anybody, concurrency=1, admin=TOKEN)
    visitor = Visitor.let_in(app.test_client())
    assert Program(visitor.client, TOKEN).get("/jobs").status_code == 200
    cookie = {"Cookie": f"flow={visitor.client.get_cookie('flow').value}"}  # type: ignore[union-attr]
    for path, opened in (("/process", False), ("/api/v1/jobs", False), ("/jobs", True)):
        with app.test_request_context(path, headers=cookie):
            assert (not isinstance(session._get_current_object(), NullSession)) is opened  # type: ignore[attr-defined]
            assert ("since" in session) is opened


@pytest.mark.parametrize("text", ["", "root", "read,root", ","])
def test_unknown_scopes_are_refused(text: str) -> None:
    """A scope that does not exist is named, with those that do."""
    with pytest.raises(InvalidInput, match="read, add, operate, money"):
        keys.parse_scopes(text)
