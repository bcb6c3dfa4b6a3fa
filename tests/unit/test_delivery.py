"""Pushed deliveries: which one a job accepts, and how the others are refused."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.errors import ActionRefused, InvalidInput, LeasedElsewhere, LeaseLost
from tenxsom_flow_engine.jobs import FINAL, Cost, JobRecord, Lease, Status, Step, Submission, SubmissionState, lifecycle
from tenxsom_flow_engine.jobs.codec import decode_delivery, encode
from tenxsom_flow_engine.jobs.delivery import Delivery, submission_id, task_id
from tenxsom_flow_engine.jobs.lifecycle import MAX_EXPIRIES
from tenxsom_flow_engine.testing.samples import ALPHA, TICKET, a_job
from tests.unit.test_lifecycle import CHANGES, LEASE, NOW, SITUATIONS

PUSHED = {
    name: msgspec.structs.replace(record, queue="cloud_tasks", seq=7, dispatched=True)
    for name, record in SITUATIONS.items()
}
WAITING = {name: record for name, record in PUSHED.items() if record.due is not None}
IN_HAND = {name: record for name, record in PUSHED.items() if record.lease is not None}
OVER = {name: record for name, record in PUSHED.items() if record.due is None and record.lease is None}
A_RECORD = next(iter(WAITING.values()))
MINE = Lease("new", "w-2", NOW + 60)


def receive(record: JobRecord, delivery: Delivery | None = None, *, now: float = NOW) -> JobRecord:
    return lifecycle.receive(record, delivery or Delivery.of(record), "cloud_tasks", MINE, now)


def other(record: JobRecord, **changes: Any) -> Delivery:
    return msgspec.structs.replace(Delivery.of(record), **changes)


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("situation", list(PUSHED))
def test_a_new_delivery_is_not_dispatched_yet(situation: str, change: str) -> None:
    """Every change that leads to a new delivery marks it as not dispatched; no other change does."""
    before = PUSHED[situation]
    try:
        after = CHANGES[change](before)
    except (ActionRefused, LeaseLost):
        return
    renewed = after.due is not None and (before.due is None or after.seq != before.seq)
    assert after.undispatched is renewed
    pulled = CHANGES[change](msgspec.structs.replace(before, queue="local"))
    assert not pulled.undispatched


def test_a_job_of_a_pushed_queue_begins_undispatched() -> None:
    """A new job is marked as not dispatched only for a queue backend that pushes."""
    for queue, dispatched in (("cloud_tasks", False), ("local", True), ("redis", True)):
        assert lifecycle.add(a_job(), queue=queue, nonce="n", now=NOW, due=NOW).dispatched is dispatched


@pytest.mark.parametrize("situation", list(WAITING))
def test_the_delivery_that_a_job_waits_for_takes_it(situation: str) -> None:
    """The expected delivery leases the job, even slightly early, and marks itself as dispatched."""
    record = msgspec.structs.replace(WAITING[situation], due=NOW + 2, dispatched=False)
    after = receive(record)
    assert (after.due, after.seq, after.dispatched) == (None, 7, True)
    assert after.lease == msgspec.structs.replace(MINE, due=NOW + 2, step=record.step)
    assert after.status is (Status.RENDERING if record.submission.ticket else Status.RUNNING)


@pytest.mark.parametrize("situation", list(PUSHED))
def test_other_deliveries_do_nothing(situation: str) -> None:
    """An older delivery, and one of another chain or queue backend, is refused in every situation."""
    record = PUSHED[situation]
    for delivery in (other(record, seq=6), other(record, nonce="m"), other(record, nonce="m", seq=9)):
        with pytest.raises(ActionRefused):
            receive(record, delivery, now=NOW + 99)
    with pytest.raises(ActionRefused):
        receive(msgspec.structs.replace(record, queue="redis"), now=NOW + 99)


@pytest.mark.parametrize("situation", list(OVER))
def test_a_job_that_is_not_waiting_is_not_leased(situation: str) -> None:
    """A final or held job is not leased, not even by the delivery with its current number."""
    for seq in (7, 8):
        with pytest.raises(ActionRefused):
            receive(OVER[situation], other(OVER[situation], seq=seq))


@pytest.mark.parametrize("situation", list(IN_HAND))
def test_a_leased_delivery_is_refused(situation: str) -> None:
    """While another worker holds the lease, the same delivery is refused."""
    for seq in (7, 8):
        with pytest.raises(LeasedElsewhere) as refusal:
            receive(IN_HAND[situation], other(IN_HAND[situation], seq=seq))
        assert refusal.value.worker == "w-1"


@pytest.mark.parametrize("situation", list(IN_HAND))
def test_a_delivery_whose_worker_died_is_taken_over(situation: str) -> None:
    """The same delivery takes over an expired lease, counts the expiry and keeps the submission."""
    before = IN_HAND[situation]
    after = receive(before, now=LEASE.until)
    assert (after.lease_token, after.seq, after.expiries) == (MINE.token, 7, 1)
    assert after.submission == before.submission


def test_a_job_that_kills_its_workers_is_dead() -> None:
    """The tenth consecutive worker that dies during a step makes the job a dead letter."""
    record = msgspec.structs.replace(PUSHED["polling"], expiries=MAX_EXPIRIES - 1)
    after = receive(record, now=LEASE.until)
    assert (after.status, after.lease, after.due, after.submission.ticket) == (Status.FAILED, None, None, TICKET)


@pytest.mark.parametrize("situation", ["queued", "rendering", "running"])
def test_a_store_set_back_to_an_earlier_state_catches_up(situation: str) -> None:
    """A delivery that is ahead of its record restores the lost ticket, so nothing is bought again."""
    paid = other(PUSHED["rendering"], seq=12)
    after = receive(PUSHED[situation], paid, now=LEASE.until)
    assert (after.seq, after.submission.ticket, after.service) == (12, TICKET, ALPHA)
    assert after.status is Status.RENDERING
    for richer in ("rendering", "in-doubt"):
        poorer = receive(PUSHED[richer], other(PUSHED["queued"], seq=12))
        assert (poorer.seq, poorer.submission) == (12, PUSHED[richer].submission)


@pytest.mark.parametrize("situation", list(WAITING))
def test_adoption(situation: str) -> None:
    """A job that is restored from its delivery keeps its submission and its chain."""
    known = msgspec.structs.replace(
        WAITING[situation], attempts=3, max_usd=0.2, cost=Cost(usd=0.14, credits=7.0), start_by=NOW + 60
    )
    delivery = decode_delivery(encode(Delivery.of(known)))
    record = lifecycle.adopt(delivery, "cloud_tasks", NOW + 5)
    assert (record.job, record.nonce, record.seq, record.attempts) == (known.job, known.nonce, 7, 3)
    assert (record.submission, record.service, record.step) == (known.submission, known.service, known.step)
    assert (record.undispatched, record.added_at) == (False, known.added_at)
    assert (record.max_usd, record.cost) == (0.2, Cost(usd=0.14, credits=7.0))
    assert record.start_by == NOW + 60
    assert receive(record, delivery).lease_token == MINE.token


class Delivery02(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="v", tag=1):
    """The delivery of release 0.2, which refuses unknown fields here and in the job, but not in the submission."""

    job: dict[str, Any]
    nonce: str
    seq: int
    service: str = ""
    submission: Submission = Submission()
    attempts: int = 0
    added_at: float


def test_the_last_release_reads_new_deliveries() -> None:
    """Release 0.2 accepts a delivery with terms and a latest start, and ignores them."""
    record = msgspec.structs.replace(PUSHED["rendering"], max_usd=0.2, cost=Cost(usd=0.14), start_by=NOW + 60)
    read = msgspec.json.decode(encode(Delivery.of(record)), type=Delivery02)
    assert (read.nonce, read.seq, read.service) == ("n", 7, ALPHA)
    assert read.submission == record.submission


def test_deliveries_of_the_last_release_are_read() -> None:
    """A delivery of release 0.2 has no terms, and is adopted without a limit."""
    body = (
        b'{"v":1,"job":{"v":1,"job_id":"tides","topic":"How tides work","created_at":1000.0},"nonce":"0123456789ab",'
        b'"seq":3,"service":"alpha","submission":{"state":"accepted","id":"s-1","ticket":{"id":"t-1"}},"added_at":990.0}'
    )
    record = lifecycle.adopt(decode_delivery(body), "cloud_tasks", NOW)
    assert (record.seq, record.submission.id, record.max_usd, record.cost) == (3, "s-1", None, None)


@pytest.mark.parametrize("field", ["max_usd", "usd", "credits"])
@pytest.mark.parametrize("amount", [-0.01, 1e10])
def test_impossible_terms_are_refused(field: str, amount: float) -> None:
    """A delivery with a negative or absurd price is refused, and the error names the field."""
    body = json.loads(encode(Delivery.of(PUSHED["queued"])))
    with pytest.raises(InvalidInput) as refused:
        decode_delivery(json.dumps(body | {"submission": {field: amount}}))
    assert refused.value.field == f"submission.{field}"


@pytest.mark.parametrize("situation", list(WAITING))
def test_adoption_after_an_unanswered_attempt(situation: str) -> None:
    """A job restored after an unanswered attempt counts as possibly bought; a known submission is kept."""
    known = WAITING[situation]
    record = lifecycle.adopt(Delivery.of(known), "cloud_tasks", NOW + 5, previous_attempt_unanswered=True)
    assert record.step is not Step.SUBMIT
    if known.submission.state is not SubmissionState.NONE:
        assert (record.submission, record.service) == (known.submission, known.service)
        return
    # The lost attempt used this id for its create.
    assert (record.submission.state, record.submission.id) == (SubmissionState.INTENT, submission_id(known))
    assert (record.submission.intended_at, record.submission.first_intended_at) == (NOW + 5, known.added_at)
    assert record.service in (known.service, known.job.service)
    record = msgspec.structs.replace(record, service="")
    with pytest.raises(ActionRefused, match="not yet known whether and where"):
        lifecycle.move(record, "cloud_tasks", "redis", NOW + 5)


def test_a_mark_that_comes_late_changes_nothing() -> None:
    """Marking a delivery as dispatched has no effect on other deliveries."""
    record = msgspec.structs.replace(PUSHED["queued"], dispatched=False)
    assert lifecycle.dispatched(record, 6) == record
    assert lifecycle.dispatched(record, 7) == msgspec.structs.replace(record, dispatched=True)


@pytest.mark.parametrize("situation", list(PUSHED))
def test_delivered_again(situation: str) -> None:
    """A lost delivery is replaced by the next one; a job that is not waiting or has a newer delivery is refused."""
    record = PUSHED[situation]
    with pytest.raises(ActionRefused):
        lifecycle.redispatch(record, 6, LEASE.until)
    if record.due is None and record.lease is None:
        with pytest.raises(ActionRefused):
            lifecycle.redispatch(record, 7, LEASE.until)
        return
    after = lifecycle.redispatch(record, 7, LEASE.until)
    assert (after.seq, after.lease, after.undispatched) == (8, None, True)
    assert after.due is not None
    assert after.due >= LEASE.until
    assert after.submission == record.submission


@pytest.mark.parametrize("situation", list(PUSHED))
def test_moving(situation: str) -> None:
    """A waiting job can move to another queue backend; then deliveries of the old backend are refused."""
    record = PUSHED[situation]
    if record.due is None:
        with pytest.raises(ActionRefused):
            lifecycle.move(record, "cloud_tasks", "redis", NOW)
        return
    there = lifecycle.move(record, "cloud_tasks", "redis", NOW)
    assert (there.queue, there.due, there.status, there.submission) == (
        "redis", record.due, record.status, record.submission
    )  # fmt: skip
    assert not there.undispatched
    with pytest.raises(ActionRefused):
        receive(there, Delivery.of(record))
    back = lifecycle.move(there, "redis", "cloud_tasks", NOW)
    assert (back.undispatched, back.due) == (True, record.due)
    with pytest.raises(ActionRefused):
        receive(back, Delivery.of(record))
    with pytest.raises(ActionRefused):
        lifecycle.move(there, "cloud_tasks", "redis", NOW)
    assert there.status not in FINAL


@given(
    job_id=st.from_regex(r"[A-Za-z0-9_-]{1,100}", fullmatch=True),
    nonce=st.from_regex(r"[a-f0-9]{16}", fullmatch=True),
    seq=st.integers(0, 2**53 - 1),
)
def test_a_tasks_name(job_id: str, nonce: str, seq: int) -> None:
    """Task names are valid at Cloud Tasks, deterministic, and different for each delivery."""
    record = msgspec.structs.replace(PUSHED["queued"], job=a_job(job_id), nonce=nonce, seq=seq)
    name = task_id(record)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,500}", name)
    assert name == task_id(msgspec.structs.replace(record, status=Status.RENDERING))
    following = task_id(msgspec.structs.replace(record, seq=seq + 1))
    assert following != name
    assert following[:8] != name[:8]  # sequential names are slow


@pytest.mark.parametrize(
    ("field", "value"),
    [("nonce", ""), ("nonce", "a/b"), ("nonce", "n" * 65), ("seq", -1), ("seq", 2**53), ("service", "a b"),
     ("surprise", 1), ("v", 2), ("job", {"v": 1, "job_id": "../x", "topic": "x", "created_at": 1})],
)  # fmt: skip
def test_a_bad_delivery_is_refused_by_name(field: str, value: Any) -> None:
    """A posted delivery is validated strictly: a wrong or unknown field, or another version, is an error."""
    good = json.loads(encode(Delivery.of(PUSHED["queued"])))
    assert decode_delivery(json.dumps(good)) == Delivery.of(PUSHED["queued"])
    with pytest.raises(InvalidInput):
        decode_delivery(json.dumps(good | {field: value}))


def test_every_situation_is_seen() -> None:
    """The tables above contain waiting, leased and finished jobs with every kind of submission."""
    assert WAITING.keys() | IN_HAND.keys() | OVER.keys() == PUSHED.keys()
    assert {record.submission.state for record in PUSHED.values()} == set(SubmissionState)


@pytest.mark.parametrize("number", ["-1", "-1e300", "1e300", "253402300800", "1e999"])
@pytest.mark.parametrize(
    "field",
    ["added_at", "job.created_at", "submission.intended_at", "submission.first_intended_at", "submission.deadline"],
)
def test_an_impossible_instant_is_refused(field: str, number: str) -> None:
    """A delivery whose instants no date can express is refused, and the error names the field."""
    body = json.loads(
        encode(
            Delivery.of(
                msgspec.structs.replace(
                    A_RECORD,
                    submission=Submission(
                        state=SubmissionState.INTENT, id="s", intended_at=1.0, first_intended_at=1.0, deadline=1.0
                    ),
                )
            )
        )
    )
    *path, name = field.split(".")
    inner = body
    for part in path:
        inner = inner[part]
    inner[name] = "HERE"
    with pytest.raises(InvalidInput) as refused:
        decode_delivery(json.dumps(body).replace('"HERE"', number))
    assert number == "1e999" or field == refused.value.field


@pytest.mark.parametrize("name", ["seq", "attempts"])
@pytest.mark.parametrize("number", [-1, 2**53 - 1])
def test_an_impossible_count_is_refused(name: str, number: int) -> None:
    """A delivery whose counts could not be increased is refused before its step begins."""
    body = json.loads(encode(Delivery.of(A_RECORD))) | {name: number}
    with pytest.raises(InvalidInput) as refused:
        decode_delivery(json.dumps(body))
    assert refused.value.field == name


@pytest.mark.parametrize("instant", [-1e300, -1.0, 1e300, float("inf"), float("-inf")])
def test_an_impossible_instant_can_be_shown(instant: float) -> None:
    """Writing an instant never fails, so one bad record cannot make a page unavailable."""
    assert iso(instant)[:4] in ("1970", "9998")
