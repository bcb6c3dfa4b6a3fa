"""Signed links: the receiver of a message gets the video of its job without a key, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from flask.testing import FlaskClient
from msgspec.structs import replace

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.events import Endpoint, EndpointKind, signing
from tenxsom_flow_engine.events.links import LIFETIME
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.samples import ALPHA, new
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.api_client import app_of, problem_of
from tests.scripted_parts import Script, open_scripted
from tests.stepping import step_due

PUBLIC = "https://flow.example.com"
VIDEO = tiny_video("9:16", 5)
HOOK = Endpoint(
    id="we_1", kind=EndpointKind.WEBHOOK, url="https://example.org", channel="sea", secret=signing.new_secret()
)


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    """An engine with a webhook of the channel `sea`, and the videos `a` and `b` in it, and `c` in none."""
    service = ScriptedService(clock)
    service.video = VIDEO
    settings = load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_PUBLIC_URL": f"{PUBLIC}/"})
    with open_scripted(settings, clock, Script(), services={ALPHA: service}) as engine:
        engine.gate = OpenGate(clock)
        assert engine.store.swap_endpoint(None, HOOK)
        engine.store.add("local", [*new("a", "b", channel="sea"), *new("c")])
        while engine.store.status_counts().by_status[Status.SUCCEEDED] < 3:
            step_due(engine)
        yield engine


@pytest.fixture
def client(engine: Engine) -> FlaskClient:
    return app_of(engine).test_client()


@pytest.fixture
def link(engine: Engine) -> str:
    """The link to the video `a` in its message, without the host."""
    bodies = [json.loads(one.message.body) for one in engine.store.deliveries("we_1", 10)]
    (href,) = [body["data"]["video"]["href"] for body in bodies if body["data"]["job_id"] == "a"]
    assert isinstance(href, str)
    assert href.startswith(f"{PUBLIC}/api/v1/jobs/a/video?")
    return href.removeprefix(PUBLIC)


def test_a_link_gives_the_video_and_nothing_else(client: FlaskClient, link: str) -> None:
    """A link gives the whole file or a part; for another job, file or address, or changed, it is worth nothing."""
    assert client.get(link, buffered=True).data == VIDEO
    # A platform in front of the server can have checked and kept another token.
    assert client.get(link, buffered=True, headers={"Authorization": "Bearer eyJhbGciOi"}).data == VIDEO
    problem_of(client.get(link, headers={"Authorization": "Bearer tf_0123_x"}), 401)
    part = client.get(link, buffered=True, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.data) == (206, VIDEO[2:6])
    path, _, query = link.partition("?")
    parts = dict(parse_qsl(query))
    for other in (path.replace("/a/", "/b/"), path.replace("/a/", "/c/"), path.replace("/video", "/metadata"),
                  "/api/v1/jobs/a", "/api/v1/jobs", "/api/v1/budgets"):  # fmt: skip
        problem_of(client.get(f"{other}?{query}"), 401)
    for change in (
        {"until": str(int(parts["until"]) + 1)}, {"until": "x"}, {"until": "9" * 40}, {"endpoint": "we_2"},
        {"endpoint": "../x"}, {"endpoint": "é"}, {"signature": ""}, {"signature": "A" * 43}, {"signature": "\ud800é"},
    ):  # fmt: skip
        changed = urlencode(parts | change, errors="surrogatepass")
        problem_of(client.get(f"{path}?{changed}"), 401)


def test_a_link_ends(engine: Engine, client: FlaskClient, link: str, clock: ManualClock) -> None:
    """A link ends with its time, with the secret that signed it, and with its webhook."""
    rotated = replace(HOOK, secret=signing.new_secret(), old_secret=HOOK.secret, old_secret_until=clock.now() + 60)
    assert engine.store.swap_endpoint(HOOK, rotated)
    assert client.get(link, buffered=True).status_code == 200
    clock.advance(61.0)
    problem_of(client.get(link), 401)
    assert engine.store.swap_endpoint(rotated, HOOK)
    assert client.get(link, buffered=True).status_code == 200
    clock.advance(LIFETIME)
    problem_of(client.get(link), 401)
    clock.set(clock.now() - LIFETIME)
    assert engine.store.swap_endpoint(HOOK, None)
    problem_of(client.get(link), 401)
