"""The log: JSON and terminal output, context fields, and redaction."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import pytest

from tenxsom_flow_engine.errors import StoreBroken
from tenxsom_flow_engine.jobs import EventKind, Failure, Lease, Ticket, lifecycle
from tenxsom_flow_engine.jobs.outcomes import Dead, Held, Outcome, Retry, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.logs import about, handler
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.samples import ALPHA, a_job
from tenxsom_flow_engine.web.trace import trace_fields
from tenxsom_flow_engine.workers.maintenance import log_step, step_log_context

KEY = "user:77-k3y-of-a-service"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Log:
    """The output of the package's log while a test runs."""

    def __init__(self, stream: io.StringIO, *secrets: str, level: str = "INFO") -> None:
        self.stream = stream
        self._level = level
        self._handler = handler(stream, secrets)
        self._logger = logging.getLogger("tenxsom_flow_engine")

    def __enter__(self) -> Log:
        self._logger.addHandler(self._handler)
        self._logger.setLevel(self._level)
        return self

    def __exit__(self, *exception: object) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(logging.NOTSET)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def test_a_line_is_json_that_googles_agent_reads() -> None:
    """Without a terminal, each event is one line of JSON with severity and message, including exceptions."""
    logger = logging.getLogger("tenxsom_flow_engine.x")
    with Log(io.StringIO()) as log:
        logger.info("%d jobs\nin two lines", 3, extra={"queue": "local"})
        try:
            raise ValueError("a defect")
        except ValueError:
            logger.exception("step submit")
    first, second = log.lines()
    assert (first["severity"], first["message"], first["queue"]) == ("INFO", "3 jobs\nin two lines", "local")
    assert list(first)[:3] == ["time", "severity", "message"]
    assert first["time"].endswith("Z")
    assert (second["severity"], second["logger"]) == ("ERROR", "tenxsom_flow_engine.x")
    assert "ValueError: a defect" in second["exception"]
    assert "Traceback" in second["exception"]


REPORTED = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"


def test_only_defects_are_reported() -> None:
    """An unexpected exception has Error Reporting's type; an error of the engine, and a warning, do not."""
    logger = logging.getLogger("tenxsom_flow_engine.x")
    with Log(io.StringIO()) as log:
        for error in (KeyError("a defect"), StoreBroken("damaged"), KeyboardInterrupt()):
            try:
                raise error
            except BaseException:
                logger.exception("step submit")
        logger.error("held")
        logger.warning("later", exc_info=ValueError("expected"))
    assert [line.get("@type") for line in log.lines()] == [REPORTED, None, None, None, None]
    assert "KeyError" in log.lines()[0]["exception"]


ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"TRACEPARENT": f"00-{ID}-{SPAN}-01"}, (ID, SPAN, True)),
        ({"TRACEPARENT": f"00-{ID}-{SPAN}-00"}, (ID, SPAN, False)),
        ({"TRACEPARENT": f"cc-{ID}-{SPAN}-03-more"}, (ID, SPAN, True)),
        ({"X_CLOUD_TRACE_CONTEXT": f"{ID}/{int(SPAN, 16)};o=1"}, (ID, SPAN, True)),
        ({"X_CLOUD_TRACE_CONTEXT": ID.upper()}, (ID, None, False)),
        ({"X_CLOUD_TRACE_CONTEXT": f"{ID}/0"}, (ID, None, False)),
        ({"TRACEPARENT": "nonsense", "X_CLOUD_TRACE_CONTEXT": f"{ID}/7"}, (ID, f"{7:016x}", False)),
        ({"TRACEPARENT": f"ff-{ID}-{SPAN}-01"}, None),
        ({"TRACEPARENT": f"00-{'0' * 32}-{SPAN}-01"}, None),
        ({"X_CLOUD_TRACE_CONTEXT": f"{ID}/{'9' * 20}"}, None),
        ({"X_CLOUD_TRACE_CONTEXT": f"{ID}/7\nforged"}, None),
        ({}, None),
    ],
)
def test_the_trace_of_a_request(headers: dict[str, str], fields: tuple[str, str | None, bool] | None) -> None:
    """The lines of a request have its trace under the names that Cloud Logging reads, from both headers."""
    request = {f"HTTP_{name}": value for name, value in headers.items()}
    with Log(io.StringIO()) as log:
        with about(**trace_fields(request, "p-1")):
            logging.getLogger("tenxsom_flow_engine.x").info("in the request")
        logging.getLogger("tenxsom_flow_engine.x").info("after it")
    first, second = log.lines()
    names = [f"logging.googleapis.com/{name}" for name in ("trace", "spanId", "trace_sampled")]
    trace, span, sampled = fields or (None, None, None)
    assert [first.get(name) for name in names] == [trace and f"projects/p-1/traces/{trace}", span, sampled]
    assert not set(names) & second.keys()
    if trace:
        assert trace_fields(request, "")[names[0]] == trace


def test_a_person_does_not_see_the_trace() -> None:
    """On a terminal, the fields for Cloud Logging are omitted."""
    with Log(Terminal()) as log, about(**trace_fields({"HTTP_TRACEPARENT": f"00-{ID}-{SPAN}-01"}, "p-1")):
        logging.getLogger("tenxsom_flow_engine.x").warning("away")
    assert "googleapis" not in log.stream.getvalue()


def test_a_person_gets_lines_to_read() -> None:
    """On a terminal, a line is readable text."""
    with Log(Terminal()) as log:
        logging.getLogger("tenxsom_flow_engine.x").warning("the store is away", extra={"queue": "local"})
    text = log.stream.getvalue()
    assert "the store is away" in text
    assert "queue" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_text_from_outside_cannot_control_a_terminal(stream: type[io.StringIO]) -> None:
    """No control character of a message, field or exception is written raw, also not of the C1 set of Latin-1."""
    controls = "".join(map(chr, [*range(32), *range(0x7F, 0xA0), 0x202E, 0x2066]))
    logger = logging.getLogger("tenxsom_flow_engine.x")
    with Log(stream()) as log:
        logger.warning("from %s", f"a{controls}b", extra={"forwarded_for": f"c{controls}d", "many": [f"e{controls}f"]})
        try:
            raise ValueError(f"g{controls}h")
        except ValueError:
            logger.exception("step submit")
    written = log.stream.getvalue()
    for one in re.findall(r"(?<=[aceg]).*(?=[bdfh])", written):
        assert not re.search("[\x7f-\x9f\u202e\u2066]", one)
    colours = re.sub(r"\x1b\[[0-9;]*m", "", written) if stream is Terminal else written
    assert not re.search("[\x00-\x08\x0b-\x1f]", colours)
    assert "\\u009b" in written
    if stream is io.StringIO:
        assert log.lines()[0]["forwarded_for"] == f"c{controls}d"


def test_all_lines_of_a_step_say_which() -> None:
    """Every line that any module logs during a step has its job, step and service, but no line after it."""
    record = lifecycle.add(a_job(), queue="local", nonce="n", now=1.0, due=1.0)
    logger = logging.getLogger("tenxsom_flow_engine.services")
    with Log(io.StringIO()) as log:
        with step_log_context(record), about(attempt=2):
            logger.info("asking")
        logger.info("idle")
    inside, after = log.lines()
    assert (inside["job_id"], inside["step"], inside["service"], inside["attempt"]) == ("job-1", "submit", ALPHA, 2)
    assert not {"job_id", "step", "service", "attempt"} & after.keys()


def test_a_finished_step_is_one_rich_line() -> None:
    """The line of a step has its outcome, its duration and when the next step is due."""
    record = lifecycle.add(a_job(channel="fun"), queue="local", nonce="n", now=1.0, due=1.0)
    leased = lifecycle.take(record, Lease("t", "w", 60.0), 2.0)
    intended = lifecycle.intend(leased, "t", 3.0, Intent(submission_id="s", service=ALPHA, lifetime=99.0))
    bought = lifecycle.accept(intended, 4.0, Receipt(submission_id="s", ticket=Ticket("t-1"), lifetime=99.0))
    after = lifecycle.settle(bought, "t", Wait(10.0, ALPHA, kind=EventKind.SUBMITTED), 5.0)
    with Log(io.StringIO()) as log:
        log_step(leased, after, 0.25)
    (line,) = log.lines()
    assert line["message"] == "submit of job-1: submitted: alpha"
    fields = {
        name: line[name] for name in ("job_id", "step", "service", "status", "took_ms", "ticket", "channel", "due")
    }
    assert fields == {
        "job_id": "job-1", "step": "submit", "service": ALPHA, "status": "rendering", "took_ms": 250, "ticket": "t-1",
        "channel": "fun", "due": "1970-01-01T00:00:10.000Z",
    }  # fmt: skip
    assert "error" not in line


FAILURE = Failure("rejected", "alpha: the prompt was refused")


@pytest.mark.parametrize(
    ("outcome", "severity"),
    [
        (Wait(10.0, progress=0.5, kind=EventKind.RENDERING), "DEBUG"),
        (Wait(10.0, "paused", worked=False), "INFO"),
        (Wait(10.0, rendered=True), "INFO"),
        (Retry(10.0, FAILURE), "WARNING"),
        (Dead(FAILURE), "ERROR"),
        (Held(FAILURE), "ERROR"),
    ],
)
def test_the_level_of_a_step_says_who_should_read_it(outcome: Outcome, severity: str) -> None:
    """A poll is DEBUG, another step INFO, a retry WARNING, a failed or held job ERROR with its code."""
    record = lifecycle.add(a_job(), queue="local", nonce="n", now=1.0, due=1.0)
    leased = lifecycle.take(record, Lease("t", "w", 60.0), 2.0)
    intended = lifecycle.intend(leased, "t", 3.0, Intent(submission_id="s", service=ALPHA, lifetime=99.0))
    after = lifecycle.settle(intended, "t", outcome, 5.0)
    with Log(io.StringIO(), level="DEBUG") as log:
        log_step(intended, after, 0.25)
    (line,) = log.lines()
    assert line["severity"] == severity
    assert line.get("error") == (FAILURE.code if severity in ("WARNING", "ERROR") else None)


def test_a_line_of_a_terminal_stays_short() -> None:
    """On a terminal a long value keeps its end, other fields are left out, and a long message is wrapped in full."""
    folder = "/var/lib/tenxsom-flow-engine/drafts/a-lighthouse-in-a-storm-seen-from-the-sea-977dbb5732.703efc3576b0.0"
    fields = {"ticket": folder, "status": "rendering", "progress": 0.25, "channel": "c" * 64, "queue": "local"}
    message = "saving the ticket of a job failed and will be retried: " + "the disk is full; " * 30 + "free some space"
    with Log(Terminal()) as log:
        logging.getLogger("tenxsom_flow_engine.x").info("poll of %s: rendering", "j" * 60, extra=fields)
        logging.getLogger("tenxsom_flow_engine.x").warning("%s", message)
    text = click.unstyle(log.stream.getvalue())
    assert max(map(len, text.splitlines())) < 160
    assert "977dbb5732.703efc3576b0.0"[-23:] in text
    assert folder not in text
    assert " ".join(text.split()).count("the disk is full;") == 30
    assert text.endswith("free some space\n")
    with Log(io.StringIO()) as log:
        logging.getLogger("tenxsom_flow_engine.x").info("poll", extra=fields)
    assert log.lines()[0]["ticket"] == folder


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"the key {KEY} is wrong", KEY),
        ("Authorization: Bearer eyJhbGciOi.J9.abc", "eyJhbGciOi.J9.abc"),
        ("redis://flow:p4ss-word@cache:6379/0 is away", "p4ss-word"),
        ("GET https://files.test/v.mp4?x=1&X-Goog-Signature=abcdef123 failed", "abcdef123"),
        ("GET https://files.test/v.mp4?token=abcdef123&x=1", "abcdef123"),
        (f"GET https://files.test/{quote(KEY, safe='')}/v.mp4", quote(KEY, safe="")),
    ],
)
def test_secrets_are_masked(stream: type[io.StringIO], text: str, secret: str) -> None:
    """Known keys, and texts that look like a token, password or signature, are masked in messages and exceptions."""
    logger = logging.getLogger("tenxsom_flow_engine.x")
    with Log(stream(), KEY) as log, about(bound=text):
        logger.warning("%s", text, extra={"field": text})
        try:
            raise ValueError(text)
        except ValueError:
            logger.exception("a defect")
    written = log.stream.getvalue()
    assert secret not in written
    assert "***" in written


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_secrets_within_values_are_masked(stream: type[io.StringIO]) -> None:
    """A secret is masked in lists, mappings, errors and paths too."""
    values = {"many": [KEY], "deep": {"x": ({"y": KEY},)}, "error": ValueError(KEY), "path": Path("/tmp") / KEY}
    with Log(stream(), KEY) as log:
        logging.getLogger("tenxsom_flow_engine.x").warning("a message", extra=values)
    assert KEY not in log.stream.getvalue()
    assert log.stream.getvalue().count("***") == len(values)


@pytest.mark.parametrize("form", ["%s", "a %d b", "%(no)s"])
def test_each_event_is_a_line_whatever_it_holds(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file name that is not UTF-8 stays readable; an event that cannot be formatted is replaced by its location."""
    # pytest adds a handler to the root logger, which raises.
    monkeypatch.setattr(logging.getLogger("tenxsom_flow_engine"), "propagate", False)
    with Log(io.StringIO(), KEY) as log:
        logging.getLogger("tenxsom_flow_engine.x").warning(form, f"{KEY} caf\udce9")
    (line,) = log.lines()
    if form == "%s":
        assert line["message"] == "*** caf\\udce9"
    else:
        assert (line["severity"], line["logger"]) == ("ERROR", "tenxsom_flow_engine.x")
        assert "could not be written" in line["message"]
    assert capsys.readouterr().err == ""
    assert KEY not in log.stream.getvalue()


def test_a_short_secret_is_not_searched_for() -> None:
    """A key shorter than six characters is not masked, because it would match in ordinary words."""
    with Log(io.StringIO(), "queue") as log:
        logging.getLogger("tenxsom_flow_engine.x").warning("the queue is paused")
    assert log.lines()[0]["message"] == "the queue is paused"


def test_addresses_without_secrets_stay_whole() -> None:
    """Text that is not secret stays unchanged."""
    text = "GET https://api.test:8080/v2/videos?limit=40&offset=0 as mail user@host.test"
    with Log(io.StringIO(), KEY) as log:
        logging.getLogger("tenxsom_flow_engine.x").warning(text)
    assert log.lines()[0]["message"] == text


def test_the_settings_know_their_secrets() -> None:
    """Every configured key and password is passed to the log."""
    settings = load(
        {
            "REDIS_URL": "redis://:p4ss%2Fword@h/0",
            "USEAPI_TOKEN": KEY,
            "LTX_API_KEY": "ltxv_1234567",
            "HEYGEN_API_KEY": "hg-1",
        }
    )
    assert settings.secrets == {"p4ss%2Fword", "p4ss/word", KEY, "ltxv_1234567", "hg-1"}
    assert load({}).secrets == frozenset()


def test_a_plain_sentence_about_a_token_stays_whole() -> None:
    """The words "bearer token" are not a secret."""
    with Log(io.StringIO()) as log:
        logging.getLogger("tenxsom_flow_engine.x").warning("the request carries no bearer token (create tasks)")
    assert log.lines()[0]["message"] == "the request carries no bearer token (create tasks)"
