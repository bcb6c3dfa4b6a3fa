"""Signed links to videos, as messages about events contain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.events.links import LIFETIME
from tenxsom_flow_engine.jobs import Status, Video
from tenxsom_flow_engine.jobs.outcomes import Done
from tenxsom_flow_engine.operations.endpoints import add_webhook
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, new
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.contract.store_suite.shared import accept, finished, intend, settle, take
from tests.dashboard_client import TOKEN

ADDRESS = "https://flow.example.org"


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    environment = {
        "TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local", "CLOUD_TASKS_WORKER_URL": ADDRESS,
        "TENXSOM_ADMIN_TOKEN": TOKEN,
    }  # fmt: skip
    with open_engine(load(environment), clock=clock, services={}) as engine:
        yield engine


@pytest.fixture
def client(engine: Engine) -> FlaskClient:
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    return dashboard_app(parts, queue_type="local", admin=TOKEN, hosts=["flow.example.org"]).test_client()


@pytest.fixture
def link(engine: Engine) -> str:
    """The path of the link in the message about a job with a video."""
    endpoint = add_webhook(engine, "https://example.org/")
    folder = engine.output.root / "a"
    folder.mkdir(parents=True)
    (folder / "video.mp4").write_bytes(b"film" * 100)
    video = Video(path=str(folder / "video.mp4"), duration=5.0, width=72, height=128, size=400, sha256="00" * 32)
    engine.store.add(QUEUE, new("a"))
    settle(engine.store, accept(engine.store, intend(engine.store, take(engine.store, only="a"))), Done(video))
    href: str = json.loads(engine.store.deliveries(endpoint.id, 1)[0].message.body)["data"]["video"]["href"]
    assert href.startswith(f"{ADDRESS}/videos/a?")
    return href.removeprefix(ADDRESS)


def test_a_signed_link_leads_to_the_video(client: FlaskClient, link: str) -> None:
    """The link needs no key and no login, and serves ranges."""
    with client.get(link) as answer:
        assert (answer.status_code, answer.data) == (200, b"film" * 100)
    with client.get(link, headers={"Range": "bytes=0-3"}) as answer:
        assert (answer.status_code, answer.data) == (206, b"film")


def test_a_link_is_valid_for_some_days(client: FlaskClient, link: str, clock: ManualClock) -> None:
    """It is valid for a week after the event, and no longer."""
    clock.advance(LIFETIME - 10)
    with client.get(link) as answer:
        assert answer.status_code == 200
    clock.advance(20)
    assert client.get(link).status_code == 403


def test_a_changed_link_is_refused(client: FlaskClient, link: str, engine: Engine) -> None:
    """Another job, a later end, another signature and missing parts are refused."""
    finished(engine.store, "b", Status.SUCCEEDED)
    until = int(re.findall(r"until=(\d+)", link)[0])
    for changed in (
        link.replace("/videos/a", "/videos/b"), link.replace(str(until), str(until + 1)),
        link.replace(str(until), f"+{until}"), link.replace(str(until), "9" * 5000), link[:-1],
        link[:-1] + ("0" if link[-1] != "0" else "1"), link + "é", "/videos/a", "/videos/a?until=&signature=",
    ):  # fmt: skip
        assert client.get(changed).status_code == 403, changed
