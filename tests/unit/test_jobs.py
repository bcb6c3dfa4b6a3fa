"""Jobs are valid by construction; statuses, steps and lanes follow from the record."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput, LeaseLost
from tenxsom_flow_engine.jobs import (
    AUTO,
    FINAL,
    TRANSITIONS,
    Lease,
    Status,
    Step,
    Submission,
    SubmissionState,
    check_job_id,
    lifecycle,
    new_job_id,
)
from tenxsom_flow_engine.testing.samples import ALPHA, TICKET, a_job

GOOD: list[tuple[str, Any]] = [
    ("job_id", "a"),
    ("job_id", "A-z_0" * 20),
    ("topic", "x" * 500),
    ("topic", "Ünïcödé 海 🌊 \u200d"),
    ("script", ""),
    ("script", "Two.\nLines." + "x" * 9000),
    ("prompt", ""),
    ("prompt", "two\nlines\tand a tab" + "x" * 9000),
    ("duration", 1),
    ("duration", 1800),
    ("aspect_ratio", "21:9"),
    ("service", "auto"),
    ("service", "ltx_studio"),
    ("quality", "1080p"),
    ("channel", "Ocean.facts:de@2-1_x"),
    ("channel", ""),
    ("options", {"alpha": {"seed": 1, "style": None}}),
]

BAD: list[tuple[str, Any]] = [
    ("job_id", ""),
    ("job_id", "x" * 101),
    ("job_id", "../etc/passwd"),
    ("job_id", "a b"),
    ("job_id", "a\n"),
    ("job_id", "é"),
    ("topic", ""),
    ("topic", "  \u3000 "),
    ("topic", "x" * 501),
    ("topic", "two\nlines"),
    ("topic", "nul\x00"),
    ("topic", "half \ud800 pair"),
    ("script", "x" * 10_001),
    ("script", "bell\x07"),
    ("prompt", "x" * 10_001),
    ("prompt", "bell\x07"),
    ("prompt", "cr\r\n"),
    ("duration", 0),
    ("duration", -5),
    ("duration", 1801),
    ("aspect_ratio", "9x16"),
    ("aspect_ratio", ""),
    ("service", ""),
    ("service", "Pix Verse"),
    ("service", "#ticket"),
    ("quality", "x" * 41),
    ("quality", "7\x0020p"),
    ("channel", "a b"),
    ("channel", "x" * 65),
    ("channel", "a\n"),
]


@pytest.mark.parametrize(("field", "value"), GOOD)
def test_good_values(field: str, value: Any) -> None:
    """Valid values are kept unchanged."""
    assert getattr(a_job(**{field: value}), field) == value


@pytest.mark.parametrize(("field", "value"), BAD)
def test_bad_values(field: str, value: Any) -> None:
    """An invalid value is refused with an error that names the field."""
    with pytest.raises(InvalidInput) as refusal:
        a_job(**{field: value})
    assert refusal.value.field == field
    assert str(refusal.value).startswith(f"{field}: ")


def test_a_refusal_does_not_repeat_endless_input() -> None:
    """The error message stays short for a long invalid value."""
    with pytest.raises(InvalidInput) as refusal:
        check_job_id("/" * 100_000)
    assert len(str(refusal.value)) < 300


def test_a_job_cannot_be_changed() -> None:
    """A job is immutable."""
    with pytest.raises(AttributeError):
        a_job().topic = ""  # type: ignore[misc]


@given(st.text(max_size=600))
def test_ids_of_any_topic(topic: str) -> None:
    """An id made from any topic is valid, also as a file name."""
    job_id = new_job_id(topic)
    check_job_id(job_id)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", job_id)


def test_ids_are_recognisable_and_differ() -> None:
    """An id contains words of the topic, and two jobs with the same topic have different ids."""
    first, second = new_job_id("Why the Sea is Salt?"), new_job_id("Why the Sea is Salt?")
    assert first.startswith("why-the-sea-is-salt-")
    assert first != second
    assert new_job_id("海").startswith("video-")


def test_every_status_has_its_transitions() -> None:
    """The table of transitions covers every status, and no status leads to itself."""
    assert set(TRANSITIONS) == set(Status)
    assert all(status not in after for status, after in TRANSITIONS.items())


def test_final_statuses() -> None:
    """Only a retry by hand leaves a final status, and nothing leaves `succeeded`."""
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED} == FINAL
    assert TRANSITIONS[Status.SUCCEEDED] == frozenset()
    for status in (Status.FAILED, Status.CANCELLED):
        assert TRANSITIONS[status] == {Status.QUEUED, Status.SCHEDULED, Status.RENDERING}


def test_every_status_can_end() -> None:
    """Every status that is not final can reach a final one."""
    ending = set(FINAL)
    for _ in Status:
        ending |= {status for status, after in TRANSITIONS.items() if after & ending}
    assert ending == set(Status)


RECORD = lifecycle.add(a_job(), queue="q", nonce="n", now=100.0, due=100.0)
STATES = [
    (Submission(), Step.SUBMIT, False),
    (Submission(state=SubmissionState.INTENT), Step.LOOKUP, True),
    (Submission(state=SubmissionState.UNKNOWN), Step.LOOKUP, True),
    (Submission(state=SubmissionState.ACCEPTED, ticket=TICKET), Step.POLL, True),
    (Submission(state=SubmissionState.ACCEPTED, ticket=TICKET, over=True), Step.FETCH, False),
]


@pytest.mark.parametrize(("submission", "step", "holds"), STATES)
def test_step_lane_and_slot_follow_from_the_submission(submission: Submission, step: Step, holds: bool) -> None:
    """The next step, the lane and the slot follow from the state of the submission."""
    record = msgspec.structs.replace(RECORD, submission=submission, service=ALPHA)
    assert (record.step, record.holds_slot) == (step, holds)
    assert (record.lane == ALPHA) is (step is Step.SUBMIT)


def test_the_lane_of_an_open_job() -> None:
    """An `auto` job is in the `auto` lane until a service is chosen."""
    record = lifecycle.add(a_job(service=AUTO), queue="q", nonce="n", now=100.0, due=100.0)
    assert record.lane == AUTO
    assert msgspec.structs.replace(record, service=ALPHA).lane == ALPHA


def test_time_makes_a_scheduled_job_a_queued_one() -> None:
    """A scheduled job is shown as queued from its due time on."""
    record = lifecycle.add(a_job(), queue="q", nonce="n", now=100.0, due=200.0)
    assert [record.status_at(now) for now in (100.0, 199.9, 200.0)] == [
        Status.SCHEDULED, Status.SCHEDULED, Status.QUEUED,
    ]  # fmt: skip


def test_the_token_of_a_job_without_a_lease() -> None:
    """The lease token of a job that is not leased raises `LeaseLost`."""
    with pytest.raises(LeaseLost):
        _ = RECORD.lease_token
    assert msgspec.structs.replace(RECORD, lease=Lease("t", "w", 1.0)).lease_token == "t"
