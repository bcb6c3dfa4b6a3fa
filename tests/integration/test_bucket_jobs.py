"""Jobs whose videos go to a bucket: their steps, the pages, the API and the commands."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.doctor.run import examine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Transient
from tenxsom_flow_engine.jobs import Cost, EventKind, Status
from tenxsom_flow_engine.services.base import Lost
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.samples import ALPHA, new
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance
from tests.api_client import app_of, problem_of, program
from tests.bucket_servers import SERVERS, BucketServer
from tests.dashboard_client import Visitor
from tests.stepping import step


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[BucketServer]:
    server = SERVERS[request.param]()
    yield server
    server.close()


@pytest.fixture
def environment(server: BucketServer, tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    # The store is not in the home, so that a second machine can share it.
    store = {"TENXSOM_STORE": f"sqlite://{tmp_path}/jobs.sqlite3", "TENXSOM_LIMITS": "global=none"}
    return {"TENXSOM_HOME": str(home), "TENXSOM_QUEUE_TYPE": "local", **store, **server.environment(tmp_path)}


@pytest.fixture
def service() -> ScriptedService:
    service = ScriptedService(ManualClock(), price=Cost(usd=0.5))
    service.video = tiny_video("9:16", 5)
    return service


@pytest.fixture
def machines(environment: dict[str, str], service: ScriptedService, tmp_path: Path) -> Iterator[list[Engine]]:
    """Two machines with the same store, the same bucket, and each its own home."""
    with ExitStack() as stack:
        found: list[Engine] = []
        for name in ("home", "other"):
            settings = load(environment | {"TENXSOM_HOME": str(tmp_path / name)})
            clock = ManualClock(1798113600.0)
            engine = stack.enter_context(
                open_engine(settings, "local", clock=clock, services={ALPHA: service}, gate=OpenGate(clock))
            )
            found.append(engine)
        found[0].store.add("local", new("a", topic="Why the sea is salt", channel="sea"))
        yield found


def test_a_job_waits_for_its_bucket(server: BucketServer, machines: list[Engine], service: ScriptedService) -> None:
    """While the bucket is away the video is fetched once and no attempt is counted; then it is published."""
    engine = machines[0]
    step(engine, 2)
    with server.away():
        record = step(engine, 5)
        assert (record.status, record.attempts, record.error) == (Status.RENDERING, 0, None)
        event = record.events[-1]
        assert (event.what, event.times) == (EventKind.SPOOLED, 5)
        assert "the video waits in the spool of" in event.detail
        calls: list[str] = []
        service.on_call = calls.append
    record = step(engine)
    assert (record.status, calls, len(service.sold)) == (Status.SUCCEEDED, [], 1)
    assert record.result is not None
    assert record.result.path.startswith(f"{engine.output.place}/a/video-")


def test_maintenance_publishes_what_the_vendor_has_deleted(
    server: BucketServer, machines: list[Engine], service: ScriptedService
) -> None:
    """Another machine waits for the one that has the video, although the vendor has lost it, and finds it published."""
    first, second = machines
    step(first, 2)
    with server.away():
        step(first)
    service.checks.extend([Lost("it expired")] * 3)  # type: ignore[list-item]
    record = step(second, 3)
    assert (record.status, record.attempts) == (Status.RENDERING, 0)
    WorkerMaintenance(first, concurrency=1).do_output_chores(0.0)
    assert step(second).status is Status.SUCCEEDED
    assert len(service.sold) == 1


def test_a_video_in_the_spool_of_a_lost_machine_is_given_up(
    server: BucketServer, machines: list[Engine], service: ScriptedService
) -> None:
    """A day after the last sign of the machine that has the video, the answer of the vendor counts."""
    first, second = machines
    step(first, 2)
    with server.away():
        step(first)
    assert isinstance(second.clock, ManualClock)
    second.clock.advance(90_000.0)
    service.checks.append(Lost("it expired"))  # type: ignore[arg-type]
    assert step(second).status is Status.FAILED


def test_a_fault_of_the_vendor_stays_an_attempt(machines: list[Engine], service: ScriptedService) -> None:
    """A download that fails is retried as for a folder."""
    service.fetches.append(Transient(ALPHA, "the download is incomplete"))
    record = step(machines[0], 3)
    assert (record.status, record.attempts) == (Status.RENDERING, 1)
    assert step(machines[0]).status is Status.SUCCEEDED


def test_the_api_redirects_to_the_bucket(machines: list[Engine], server: BucketServer) -> None:
    """Video, thumbnail and captions are at a signed address that needs no key; metadata are sent."""
    engine = machines[0]
    step(engine, 3)
    user = program(engine)
    for kind, mimetype in {"video": "video/mp4", "thumbnail": "image/jpeg", "captions": "application/x-subrip"}.items():
        answer = user.get(f"/jobs/a/{kind}")
        assert (answer.status_code, answer.headers["Location"].startswith(server.url)) == (302, True)
        assert "private" in answer.headers["Cache-Control"]
        linked = requests.get(answer.headers["Location"], timeout=60)
        assert (linked.status_code, linked.headers["Content-Type"]) == (200, mimetype)
    assert user.get("/jobs/a/metadata").get_json()["title"] == "Why the sea is salt"
    assert user.get("/jobs/a").get_json()["links"]["video"] == "/api/v1/jobs/a/video"
    engine.output.remove("a")
    assert problem_of(user.get("/jobs/a/metadata"), 404)


def test_the_dashboard_shows_videos_of_the_bucket(machines: list[Engine], server: BucketServer) -> None:
    """The pages may load from the bucket, and only from there; captions are converted by the process."""
    engine = machines[0]
    step(engine, 3)
    visitor = Visitor.let_in(app_of(engine).test_client())
    page = visitor.client.get("/jobs/a")
    assert '<video class="film"' in page.text
    assert f"{engine.output.place}/a/video-" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert f"img-src 'self' {server.url}; media-src 'self' {server.url};" in policy
    assert visitor.client.get("/jobs/a/video").status_code == 302
    assert visitor.client.get("/jobs/a/captions.vtt").text.startswith("WEBVTT")
    assert "Why the sea is salt" in visitor.client.get("/").text
    engine.output.remove("a")
    assert "was moved or deleted" in visitor.client.get("/jobs/a").text
    assert "/jobs/a/thumbnail" not in visitor.client.get("/").text


def test_pages_do_without_a_bucket_that_is_away(machines: list[Engine], server: BucketServer) -> None:
    """The overview and the page of a job are shown without the videos, and `/ready` is degraded."""
    engine = machines[0]
    step(engine, 3)
    visitor = Visitor.let_in(app_of(engine).test_client())
    with server.away():
        for path in ("/", "/jobs/a"):
            answer = visitor.client.get(path)
            assert answer.status_code == 200, path
        answer = visitor.client.get("/ready")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "degraded")
    assert answer.get_json()["checks"]["output_folder"] == {"ok": False, "code": "output_away"}
    assert visitor.client.get("/ready").get_json()["status"] == "ready"


def test_commands_name_the_video(
    machines: list[Engine], environment: dict[str, str], server: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`open` prints a link, `show` the addresses of the files, and both say so when the video is gone."""
    step(machines[0], 3)
    result = machines[0].store.require("a").result
    assert result is not None

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, list(words), env=environment, standalone_mode=False)
        assert done.exception is None, done.output
        return done.return_value or 0, done.output

    code, link = run("open", "a")
    assert (code, requests.get(link.strip(), timeout=60).content) == (0, tiny_video("9:16", 5))
    assert f"{machines[0].output.place}/a/metadata.json" in run("show", "a")[1]
    assert json.loads(run("show", "a", "--json")[1])["video"]["path"] == result.path
    assert run("status", "--json")[0] == 0
    machines[0].output.remove("a")
    code, text = run("open", "a")
    assert (code, f"the video of job a was moved or deleted: {result.path}" in text) == (1, True)


def test_doctor_examines_the_bucket(environment: dict[str, str], server: BucketServer) -> None:
    """It names the bucket, and signs a link; a bucket that is away is a problem with the next step."""
    texts = [finding.text for finding in examine(environment) if finding.about == "output"]
    place = environment["TENXSOM_OUTPUT_DIR"].partition("?")[0]
    assert texts == [f"videos go to {place}", f"links to {place} can be signed"]
    with server.away():
        (finding,) = [finding for finding in examine(environment) if finding.about == "output"]
    assert (finding.state, finding.code) == ("problem", "output_away")
    assert finding.fix


def test_no_secret_of_the_bucket_is_shown(
    environment: dict[str, str], machines: list[Engine], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither records nor findings nor logs contain the secret of the access key."""
    caplog.set_level(logging.DEBUG)
    step(machines[0], 3)
    shown = [str(finding) for finding in examine(environment)] + [caplog.text, str(machines[0].store.require("a"))]
    assert "secret-of-the-bucket" not in "".join(shown) + repr(load(environment))
