"""The services of an engine, depending on its settings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenxsom_flow_engine.composition import Overrides, open_engine, open_queue, open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Status, Submission, SubmissionState, Ticket, VideoJob
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.rate_limits.base import Admission, Closed
from tenxsom_flow_engine.services.heygen.fake import AVATAR, KEY, FakeHeyGen
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import new_record
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.samples import a_job
from tenxsom_flow_engine.timings import Timings

JOB = VideoJob(job_id="tides", topic="How tides work", service="pixverse", duration=18, created_at=1.0)


def test_a_token_switches_pixverse_on(tmp_path: Path) -> None:
    """With a token, jobs for PixVerse are fitted and priced, with notes; without one, they are refused."""
    home = {"TENXSOM_HOME": str(tmp_path)}
    with open_engine(load(home | {"USEAPI_TOKEN": "user:1-abc", "USEAPI_PIXVERSE_SLOTS": "7"}), "local") as engine:
        prepared = engine.prepare(JOB)
        assert engine.slots["pixverse"] == 7
    assert prepared.service == "pixverse"
    assert prepared.new.job.duration == 15
    assert prepared.new.cost is not None
    assert prepared.new.cost.credits == 105.0
    assert prepared.notes == ("duration 15 instead of 18, which pixverse does not support",)
    with open_engine(load(home), "local") as engine, pytest.raises(InvalidInput, match="pixverse is not configured"):
        engine.prepare(JOB)


def test_a_long_script_without_a_reported_duration_is_published(tmp_path: Path) -> None:
    """A paid video with the length of its script is published, although its job has the default duration."""
    with FakeHeyGen() as heygen:
        heygen.tells_length = False
        environment = {
            "TENXSOM_HOME": str(tmp_path), "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true",
            "HEYGEN_API_KEY": KEY, "HEYGEN_BASE_URL": heygen.url, "HEYGEN_AVATAR_ID": AVATAR,
            "CLOUD_TASKS_MAX_DISPATCHES": "500",
        }  # fmt: skip
        at_once = Overrides(timings=Timings(max_poll_interval=0.0))
        with open_engine(load(environment), "local", overrides=at_once) as engine:
            options = {"heygen": {"script": "Tides rise. " * 50}}
            job = VideoJob(job_id="spoken", topic="Tides", options=options, created_at=engine.store.now())
            engine.queue.enqueue([engine.prepare(job).new])
            assert isinstance(engine.queue, PullsJobs)
            for _ in ("submit", "poll", "fetch"):
                (claimed,) = engine.queue.claim("w", 1, engine.slots, auto_services=engine.auto_services).records
                record = engine.step(claimed)
    assert (record.status, record.error) == (Status.SUCCEEDED, None)
    assert record.result is not None
    assert record.result.duration == pytest.approx(40.0, abs=0.5)


KEYS = {
    "USEAPI_TOKEN": "user:1-abc", "LTX_API_KEY": "ltx-abc", "HEYGEN_API_KEY": "hg-abc",
    "CLOUD_TASKS_MAX_DISPATCHES": "500",
}  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)} | KEYS), "local") as engine:
        yield engine


def test_keys_switch_services_on(engine: Engine) -> None:
    """Each key switches its service on, with the slots that its vendor allows; `auto` then no longer makes drafts."""
    assert engine.auto_services == {"pixverse", "ltx_studio", "heygen"}
    assert {name: engine.slots[name] for name in engine.auto_services} == {"pixverse": 5, "ltx_studio": 2, "heygen": 10}
    assert engine.limiter.services[:3] == ("pixverse", "ltx_studio", "heygen")


#: Fields of a job, and the service that `auto` plans it with.
PLANS: list[tuple[dict[str, Any], str]] = [
    ({}, "pixverse"),
    ({"duration": 21, "quality": "1080p"}, "ltx_studio"),
    ({"duration": 18, "aspect_ratio": "1:1"}, "pixverse"),
    ({"quality": "4k", "duration": 10}, "ltx_studio"),
    ({"duration": 60}, "heygen"),
    ({"service": "ltx_studio"}, "ltx_studio"),
]


@pytest.mark.parametrize(("fields", "service"), PLANS)
def test_a_job_is_planned(engine: Engine, fields: dict[str, Any], service: str) -> None:
    """A job is planned with its service, or with the cheapest one that can make it, and has an estimated price."""
    prepared = engine.prepare(VideoJob(job_id="tides", topic="How tides work", created_at=1.0, **fields))
    assert prepared.service == service
    assert prepared.new.cost is not None


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"duration": 60, "aspect_ratio": "1:1"}, [
        "pixverse: duration: pixverse supports 1 to 15 seconds, not 60",
        "ltx_studio: duration: ltx_studio supports 6, 8, 10, 12, 14, 16, 18, 20 seconds, not 60",
        "heygen: aspect_ratio: heygen supports 9:16, 16:9, not 1:1",
    ]),
    ({"options": {"pixverse": {"model": "v9"}, "ltx_studio": {"seed": 1}, "heygen": {"script": "Hi."}}}, [
        "pixverse: options.pixverse.model: unknown model 'v9'",
        "ltx_studio: options.ltx_studio: Object contains unknown field `seed`",
        "heygen: options.heygen.avatar_id: a script needs an avatar",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "reasons"), REFUSED)
def test_a_job_that_no_service_can_make_is_refused(engine: Engine, fields: dict[str, Any], reasons: list[str]) -> None:
    """The refusal when the job is added has the reason of each configured service; drafts are no fallback."""
    with pytest.raises(InvalidInput) as refusal:
        engine.prepare(VideoJob(job_id="tides", topic="How tides work", created_at=1.0, **fields))
    for reason in reasons:
        assert reason in refusal.value.reason
    assert "draft" not in refusal.value.reason


def test_enqueueing_loads_no_http_library(tmp_path: Path) -> None:
    """A process that only adds jobs does not import HTTP or video libraries."""
    program = (
        "import sys\n"
        "from tenxsom_flow_engine.composition import open_engine\n"
        "from tenxsom_flow_engine.jobs import VideoJob\n"
        "from tenxsom_flow_engine.settings import load\n"
        f"settings = load({{'TENXSOM_HOME': {str(tmp_path)!r}, **{KEYS!r}}})\n"
        "with open_engine(settings, 'local') as engine:\n"
        "    engine.prepare(VideoJob(job_id='a', topic='a', created_at=1.0))\n"
        "print(sorted({'requests', 'urllib3', 'av'} & sys.modules.keys()))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_engine_makes_its_own_limiter(tmp_path: Path) -> None:
    """Without a limiter, the engine keeps the ledger of the rate limits in its store; a gate does not replace it."""
    settings = load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_LIMITS": "draft=1/h"})
    with closing(open_store(settings, "local")) as store:
        queue = open_queue(settings, "local", store)
        engine = Engine(settings, store=store, queue=queue, services={}, gate=OpenGate(ManualClock()))
        assert isinstance(engine.limiter.ask("draft", "a"), Admission)
        again = Engine(settings, store=store, queue=queue, services={})
        assert isinstance(again.gate.ask("draft", "b"), Closed)


HOSTILE_TICKETS = (
    "", ".", "..", "../victim", "/etc", "a/../../b", "../../v1/webhook.delete", "x?admin=1", "x#y", "a\nb", "a b", "é",
    "videos/../..", "video-agents/../../v1/x", "//host/x", "%2e%2e", "x" * 600,
)  # fmt: skip


@pytest.mark.parametrize("ticket", HOSTILE_TICKETS)
def test_a_ticket_that_is_no_id_is_refused(engine: Engine, ticket: str) -> None:
    """No service uses a ticket that leaves its folder or its part of the vendor's addresses."""
    for service in engine.services.values():
        with pytest.raises(InvalidInput) as refused:
            service.check_ticket(Ticket(ticket))
        assert refused.value.field == "ticket"


def test_a_delivered_ticket_touches_no_other_folder(tmp_path: Path) -> None:
    """Neither the steps nor the cancellation of a delivered draft read or change a folder that is not a draft's."""
    home = tmp_path / "home"
    victim = tmp_path / ".drafts" / "victim"
    (victim / "files").mkdir(parents=True)
    for name in ("files/kept", "done", "progress", "errors", "notes.txt"):
        (victim / name).write_text("mine")
    before = sorted((path, path.read_text()) for path in victim.rglob("*") if path.is_file())
    with open_engine(load({"TENXSOM_HOME": str(home), "CLOUD_TASKS_MAX_DISPATCHES": "500"}), "local") as engine:
        assert isinstance(engine.queue, PullsJobs)
        now = engine.store.now()
        for number, ticket in enumerate((str(victim), f"../../../{victim.name}", str(victim / "files"), ".")):
            record = new_record("local", NewJob(a_job(f"job-{number}", service="draft"), None), now)
            submission = Submission(state=SubmissionState.ACCEPTED, id="s", ticket=Ticket(ticket), deadline=now + 600)
            engine.store.adopt(
                msgspec.structs.replace(record, service="draft", submission=submission, status=Status.RENDERING)
            )
            for claimed in engine.queue.claim("w", 1, engine.slots, auto_services=engine.auto_services).records:
                assert engine.step(claimed).status is Status.FAILED
            engine.store.adopt(
                msgspec.structs.replace(
                    record,
                    job=a_job(f"stop-{number}"), service="draft", submission=submission, status=Status.RENDERING,
                )
            )  # fmt: skip
            assert engine.cancel(f"stop-{number}").status is Status.CANCELLED
    assert sorted((path, path.read_text()) for path in victim.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("-inf")]}])
def test_options_that_json_cannot_express_are_refused(engine: Engine, value: Any) -> None:
    """NaN and infinity in options are refused, because JSON would store them as null."""
    with pytest.raises(InvalidInput) as refused:
        engine.prepare(VideoJob(job_id="j", topic="Tides", options={"pixverse": {"seed": value}}, created_at=1.0))
    assert refused.value.field == "options"
