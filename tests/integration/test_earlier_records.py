"""Records of release 0.1, which stored sentences instead of facts, can be read and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenxsom_flow_engine.cli.advice import advise
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action
from tenxsom_flow_engine.jobs import EventKind, Failure, Status
from tenxsom_flow_engine.jobs.codec import decode_record, encode
from tenxsom_flow_engine.jobs.remedies import failure_of
from tenxsom_flow_engine.report.operator_json import describe_queue
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.dashboard.timeline import timeline
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.dashboard_client import TOKEN, Visitor

#: A job that was bought and rendered and failed during the download, as commit 8f2af24 wrote it.
WRITTEN = (
    b'{"v":1,"job":{"v":1,"job_id":"tides","topic":"How tides work","service":"alpha","channel":"sea",'
    b'"created_at":1000.0},"queue":"local","nonce":"0123456789ab","seq":7,"status":"failed","attempts":1,'
    b'"service":"alpha","submission":{"state":"accepted","id":"s-1","token":"l1","intended_at":1010.5,'
    b'"first_intended_at":1010.5,"prompt":"Tides, vertical","ticket":{"id":"t-1"},"deadline":1612.0,"over":true},'
    b'"order":"{\\"prompt\\":\\"Tides, vertical\\"}","progress":1.0,"cost":{"usd":0.14},'
    b'"purchases":[{"submission":"s-1","service":"alpha","at":1012.0,"cost":{"usd":0.14}}],"error":{"code":"transient",'
    b'"message":"alpha: the connection broke (12 attempts)",'
    b'"next_step":"when that is mended: run_flow_enhanced.py retry tides"},"events":[{"at":1000.0,"what":"added"},'
    b'{"at":1010.5,"what":"submitting","detail":"alpha","worker":"w-1"},'
    b'{"at":1012.0,"what":"accepted","detail":"ticket t-1"},'
    b'{"at":1012.0,"what":"waiting","detail":"submitted to alpha"},'
    b'{"at":1021.0,"what":"waiting","detail":"rendering","times":3,"last_at":1041.0},'
    b'{"at":1051.0,"what":"waiting","detail":"rendered"},'
    b'{"at":1053.0,"what":"fault","detail":"alpha: the connection broke","worker":"w-1"},'
    b'{"at":1061.0,"what":"failed","detail":"alpha: the connection broke (12 attempts)","worker":"w-1"}],'
    b'"added_at":1000.0,"updated_at":1061.0,"finished_at":1061.0}'
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "local") as engine:
        assert engine.store.adopt(decode_record(WRITTEN))
        yield engine


def test_a_record_round_trips() -> None:
    """Decoding and encoding such a record gives the same bytes."""
    assert encode(decode_record(WRITTEN)) == WRITTEN


def test_its_timeline_has_the_current_texts() -> None:
    """The timeline of such a record looks like that of a current one."""
    lines = timeline(decode_record(WRITTEN))
    assert [(line.what, line.detail, line.kind) for line in lines] == [
        ("Added", "", ""),
        ("Order sent", "alpha", ""),
        ("Order accepted", "ticket t-1", "ok"),
        ("Rendering", "", ""),
        ("Rendered", "", ""),
        ("Error, will be retried", "alpha: the connection broke", "bad"),
        ("Failed", "alpha: the connection broke (12 attempts)", "bad"),
    ]
    assert [line.event.times for line in lines if line.polls] == [3]


def test_a_kind_of_another_release_is_shown() -> None:
    """An event of an unknown kind is shown with the name in the record."""
    record = decode_record(WRITTEN.replace(b'"what":"fault"', b'"what":"dreamed of"'))
    assert timeline(record)[-2].what == "Dreamed of"


def test_the_command_line_shows_it(engine: Engine, tmp_path: Path) -> None:
    """`show` prints the events, the error and one command for its remedy, as text and as JSON."""

    def show(*options: str) -> str:
        environment = {"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local"}
        done = CliRunner().invoke(cli, ["show", "tides", *options], env=environment, standalone_mode=False)
        assert done.exception is None
        return done.stdout

    text = show()
    for words in (
        "alpha: the connection broke (12 attempts) [transient]",
        "submitted: alpha",
        "rendering  (x3",
    ):
        assert words in text
    assert text.count("retry tides") == 1
    shown = json.loads(show("--json"))
    assert shown["error"] == {
        "code": "transient",
        "message": "alpha: the connection broke (12 attempts)",
        "next_step": "retry it with: cli retry tides",
        "actions": ["retry"],
    }
    assert [event["what"] for event in shown["events"]] == [
        "added", "submitting", "accepted", "submitted", "rendering", "rendered", "fault", "failed"
    ]  # fmt: skip
    assert [event["detail"] for event in shown["events"][3:6]] == ["alpha", None, None]


RESOLVE = "if it was not bought: run_flow_enhanced.py jobs resolve tides --resubmit; if it was: "


@pytest.mark.parametrize(
    ("status", "state", "code", "stored", "next_step", "actions"),
    [
        ("held", "unknown", "submission_unknown", f"look for it at alpha; {RESOLVE}…", "look for it at alpha",
         ["resubmit", "confirm_purchase", "give_up"]),
        ("failed", "unknown", "given_up", f"look at the bill of alpha; if you find out: {RESOLVE}…",
         "look at the bill of alpha", ["resubmit", "confirm_purchase"]),
        ("failed", "none", "worker_lost",
         "find out why in the worker's log, then: run_flow_enhanced.py retry tides",
         "find out why in the worker's log", ["retry"]),
        ("failed", "accepted", "generation_failed",
         "change the prompt; then order it anew with: run_flow_enhanced.py retry tides",
         "change the prompt", ["edit", "retry"]),
        ("failed", "none", "rejected", "shorten the topic", "shorten the topic", ["edit", "retry"]),
    ],
)  # fmt: skip
def test_stored_commands_become_actions(
    status: str, state: str, code: str, stored: str, next_step: str, actions: list[str]
) -> None:
    """The actions follow from the status, the purchase and the code; the commands are cut off the next step."""
    fields = json.loads(WRITTEN)
    fields["status"], fields["error"] = status, {"code": code, "message": "alpha: it failed", "next_step": stored}
    fields["submission"]["state"] = state
    record = decode_record(json.dumps(fields).encode())
    assert failure_of(record) == Failure(code, "alpha: it failed", next_step, tuple(map(Action, actions)))


def test_the_status_shows_the_actions_of_held_jobs(tmp_path: Path) -> None:
    """`status` lists the derived actions of a held job, and each command once."""
    fields = json.loads(WRITTEN)
    del fields["finished_at"]
    fields["status"], fields["submission"]["state"] = "held", "unknown"
    fields["error"] = {"code": "submission_unknown", "message": "it is not known",
                       "next_step": f"look for it at alpha; {RESOLVE}…"}  # fmt: skip
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "local") as engine:
        assert engine.store.adopt(decode_record(json.dumps(fields).encode()))
        shown = describe_queue(engine, advise)
    assert shown["held_actions"] == {"tides": ["resubmit", "confirm_purchase", "give_up"]}
    assert shown["held"]["tides"].startswith("look for it at alpha; ")
    assert shown["held"]["tides"].count("--resubmit") == 1


def test_the_dashboard_shows_it_and_retries_it(engine: Engine) -> None:
    """The page shows timeline, error and a link to its remedy, and a retry continues from the ticket."""
    runtime = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    visitor = Visitor.let_in(dashboard_app(runtime, queue_type="local", admin=TOKEN).test_client())
    page = visitor.client.get("/jobs/tides").text
    for words in (
        "Rendering",
        "Rendered",
        "the connection broke (12 attempts)",
        'href="/jobs/tides#retry"',
        'id="retry"',
    ):
        assert words in page
    assert "run_flow_enhanced.py" not in page
    visitor.post("/jobs/tides/retry", page=page)
    record = engine.store.require("tides")
    assert record.status is Status.RENDERING
    assert record.events[-1].what == EventKind.RETRIED
