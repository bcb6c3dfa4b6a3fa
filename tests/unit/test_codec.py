"""The wire format: values survive a round trip, and invalid input is one error that names the field."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import Action, InvalidInput
from tenxsom_flow_engine.jobs import (
    ASPECT_RATIOS,
    STYLES,
    Cost,
    Event,
    Failure,
    JobRecord,
    Lease,
    Purchase,
    Status,
    Submission,
    SubmissionState,
    Ticket,
    Video,
    VideoJob,
    lifecycle,
)
from tenxsom_flow_engine.jobs.codec import decode, decode_delivery, decode_record, encode, to_builtins
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.testing.samples import TICKET, VIDEO, a_job

_job_decoder = msgspec.json.Decoder(VideoJob)


def decode_job(data: bytes | str) -> VideoJob:
    """Decode a job in the same way as one inside another value."""
    return decode(_job_decoder, data)


_instants = st.floats(0, 4e9, allow_nan=False)
_plain = st.characters(exclude_categories=("Cc", "Cf", "Cs"))


def _shows_something(text: str) -> bool:
    return any(unicodedata.category(letter)[0] not in "CZ" for letter in text)


_words = st.text(_plain, max_size=30)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip

_jobs = st.builds(
    VideoJob,
    job_id=st.from_regex(r"[A-Za-z0-9_-]{1,100}", fullmatch=True),
    topic=st.text(_plain, min_size=1, max_size=80).filter(
        lambda text: any(unicodedata.category(letter)[0] not in "CZ" for letter in text)
    ),
    prompt=st.text(st.one_of(_plain, st.sampled_from("\n\t")), max_size=80),
    script=st.text(st.one_of(_plain, st.sampled_from("\n\t")), max_size=80),
    style=st.sampled_from(STYLES),
    duration=st.integers(1, 1800),
    aspect_ratio=st.sampled_from(ASPECT_RATIOS),
    service=st.from_regex(r"[a-z0-9_]{1,40}", fullmatch=True),
    quality=_words,
    channel=st.from_regex(r"[A-Za-z0-9.:@_-]{0,64}", fullmatch=True),
    options=st.dictionaries(_words, st.dictionaries(_words, _json, max_size=3), max_size=2),
    created_at=_instants,
)
_tickets = st.builds(Ticket, id=_words, account=_words, credits=st.none() | _instants)


def _submissions(state: SubmissionState) -> st.SearchStrategy[Submission]:
    """Return the submissions in a state."""
    return st.builds(
        Submission, state=st.just(state), id=_words, intended_at=_instants,
        ticket=_tickets if state is SubmissionState.ACCEPTED else st.none() | _tickets,
        deadline=_instants, over=st.booleans(), failed=st.booleans(),
    )  # fmt: skip


_records = st.builds(
    JobRecord,
    job=_jobs,
    queue=_words,
    nonce=_words,
    seq=st.integers(0, 10**9),
    dispatched=st.booleans(),
    status=st.sampled_from(Status),
    attempts=st.integers(0, 99),
    expiries=st.integers(0, 99),
    service=_words,
    submission=st.sampled_from(SubmissionState).flatmap(_submissions),
    order=_words,
    due=st.none() | _instants,
    lease=st.none() | st.builds(Lease, token=_words, worker=_words, until=_instants),
    progress=st.floats(0, 1),
    result=st.none() | st.builds(Video, path=_words, duration=_instants, width=st.integers(0, 9999),
                                 height=st.integers(0, 9999), size=st.integers(0, 2**40), sha256=_words),
    cost=st.none() | st.builds(Cost, usd=st.none() | _instants, credits=st.none() | _instants, estimated=st.booleans()),
    purchases=st.lists(st.builds(Purchase, submission=_words, service=_words, at=_instants), max_size=2).map(tuple),
    error=st.none() | st.builds(Failure, code=_words, message=_words, next_step=_words,
                                actions=st.lists(st.sampled_from(Action)).map(tuple)),
    events=st.lists(st.builds(Event, at=_instants, what=_words, detail=_words, times=st.integers(1, 99),
                              last_at=_instants, worker=_words), max_size=3).map(tuple),
    added_at=_instants,
    updated_at=_instants,
    finished_at=st.none() | _instants,
)  # fmt: skip


@given(_jobs)
def test_jobs_come_back_as_they_were(job: VideoJob) -> None:
    """Every job survives a round trip, from bytes and from text."""
    assert decode_job(encode(job)) == job
    assert decode_job(encode(job).decode()) == job


@given(_records)
def test_records_come_back_as_they_were(record: JobRecord) -> None:
    """Every record survives a round trip, and `to_builtins` has the same format."""
    assert decode_record(encode(record)) == record
    assert decode_record(json.dumps(to_builtins(record))) == record


def answer(read: Callable[[bytes | str], object], data: bytes | str) -> object:
    """Return the decoded value or the refusal; any other error is raised."""
    try:
        return read(data)
    except InvalidInput as refusal:
        return refusal


def check(answer: object) -> None:
    """A refusal names a field and a reason."""
    if isinstance(answer, InvalidInput):
        assert answer.field
        assert answer.reason
    else:
        assert isinstance(answer, VideoJob | JobRecord)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_bad_input(data: bytes) -> None:
    """Any input gives a value or `InvalidInput`, never another error."""
    check(answer(decode_job, data))
    check(answer(decode_record, data))


WIRE = encode(lifecycle.add(a_job(), queue="q", nonce="n", now=1.0, due=2.0))


@given(st.integers(0, len(WIRE) - 1), st.binary(max_size=3), st.integers(0, 5))
def test_spoiled_wire_format_gives_a_value_or_bad_input(at: int, garbage: bytes, cut: int) -> None:
    """A corrupted record gives a value or `InvalidInput`."""
    check(answer(decode_record, WIRE[:at] + garbage + WIRE[at + cut :]))


@given(_json)
def test_any_json_gives_a_value_or_bad_input(value: Any) -> None:
    """JSON of any shape gives a value or `InvalidInput`."""
    check(answer(decode_job, json.dumps(value)))
    check(answer(decode_job, wire(options=value)))


def test_endless_nesting_is_bad_input() -> None:
    """Deeply nested JSON is invalid input, not a crash."""
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(InvalidInput):
        decode_job('{"v":1,"job_id":"a","topic":"t","created_at":0,"options":{"a":{"x":' + deep + "}}}")


def wire(**changes: Any) -> str:
    """Return the wire format of a job with some fields changed; a field set to `...` is left out."""
    fields = {"v": 1, "job_id": "a", "topic": "t", "created_at": 1.0} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...})


def test_defaults_are_filled_in() -> None:
    """Missing fields have their defaults."""
    assert decode_job(wire()) == VideoJob(job_id="a", topic="t", created_at=1.0)


BAD: list[tuple[str, Any]] = [
    ("job_id", 5), ("job_id", "a b"), ("job_id", ...), ("topic", ""), ("topic", None), ("topic", ...),
    ("topic", "a\u0000"), ("prompt", ["x"]), ("prompt", "\u0007"), ("style", "dull"), ("duration", "5"),
    ("duration", 5.5), ("duration", 0), ("duration", 10**30), ("duration", None), ("aspect_ratio", "1:2"),
    ("aspect_ratio", 9),
    ("service", "No Such"), ("service", {}), ("quality", 720), ("channel", "a b"), ("channel", 1),
    ("options", []), ("options", {"a": 1}), ("created_at", "yesterday"), ("created_at", ...), ("colour", "red"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BAD)
def test_every_bad_field_is_named(field: str, value: Any) -> None:
    """A wrong type, a wrong value or a missing field is refused with the field's name."""
    with pytest.raises(InvalidInput) as refusal:
        decode_job(wire(**{field: value}))
    assert field in str(refusal.value)
    assert refusal.value.reason


@pytest.mark.parametrize(("field", "value"), [pair for pair in BAD if pair[1] is not ... and pair[0] != "colour"])
def test_the_field_is_a_fact_of_the_error(field: str, value: Any) -> None:
    """The error has the field's name as an attribute."""
    with pytest.raises(InvalidInput) as refusal:
        decode_job(wire(**{field: value}))
    assert refusal.value.field.partition("[")[0] == field


def test_a_bad_field_deep_in_a_record_is_named() -> None:
    """The error contains the path of the invalid value in a record."""
    plain = to_builtins(lifecycle.add(a_job(), queue="q", nonce="n", now=1.0, due=2.0))
    for path, value in (
        ("job.topic", 5),
        ("job.topic", ""),
        ("status", "lost"),
        ("events", 7),
        ("lease", {"token": 1}),
    ):
        spoiled = json.loads(json.dumps(plain))
        where = spoiled
        *above, last = path.split(".")
        for name in above:
            where = where[name]
        where[last] = value
        with pytest.raises(InvalidInput) as refusal:
            decode_record(json.dumps(spoiled))
        assert last in str(refusal.value)


def test_an_accepted_submission_needs_a_ticket() -> None:
    """A record or delivery that counts as accepted but has no ticket is refused when it is decoded."""
    record = lifecycle.add(a_job(), queue="q", nonce="n", now=1.0, due=2.0)
    for value, read in ((record, decode_record), (Delivery.of(record), decode_delivery)):
        spoiled = json.loads(encode(value)) | {"submission": {"state": "accepted", "id": "s-1"}}
        with pytest.raises(InvalidInput, match="accepted but has no ticket"):
            read(json.dumps(spoiled))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_version(version: Any) -> None:
    """An unknown version is refused with an error about the version."""
    record = to_builtins(lifecycle.add(a_job(), queue="q", nonce="n", now=1.0, due=2.0)) | {"v": version}
    for read, text in ((decode_job, wire(v=version)), (decode_record, json.dumps(record))):
        with pytest.raises(InvalidInput) as refusal:
            read(text)
        assert refusal.value.field == "v"


@pytest.mark.parametrize("text", ["", "{", "[1,2", "nonsense", '{"v":1,}', "\ufeff{}", '"text"', "null", "[]"])
def test_text_that_is_not_an_object(text: str) -> None:
    """Text that is not a JSON object is refused."""
    for read in (decode_job, decode_record):
        with pytest.raises(InvalidInput):
            read(text)


def test_the_format_of_version_one() -> None:
    """Every later release can decode the output of version 1: this text must never need a change."""
    text = (
        '{"v":1,"job":{"v":1,"job_id":"a-1","topic":"The sea","service":"alpha","created_at":1800000000.0},'
        '"queue":"local","nonce":"0123456789abcdef","seq":3,"status":"rendering","service":"alpha",'
        '"submission":{"state":"accepted","id":"a-1.0123456789abcdef.0","intended_at":1800000001.0,'
        '"ticket":{"id":"t-1"},"deadline":1800003601.0},"due":1800000011.0,"progress":0.5,'
        '"events":[{"at":1800000000.0,"what":"added"}],"added_at":1800000000.0,"updated_at":1800000001.0}'
    )
    record = decode_record(text)
    assert (record.job_id, record.seq, record.status) == ("a-1", 3, Status.RENDERING)
    assert record.submission.ticket == TICKET
    assert encode(record).decode() == text


def test_a_job_that_cannot_be_encoded_is_refused() -> None:
    """A job that could not be decoded again is refused when it is made."""
    for created_at in (float("nan"), float("inf")):
        with pytest.raises(InvalidInput):
            a_job(created_at=created_at)


def test_a_record_with_everything() -> None:
    """A record with every field set survives a round trip."""
    record = msgspec.structs.replace(
        lifecycle.add(a_job(), queue="q", nonce="n", now=1.0, due=2.0),
        lease=Lease("t", "w", 5.0), result=VIDEO, cost=Cost(usd=1.0), error=Failure("c", "m", "n"),
        submission=Submission(state=SubmissionState.ACCEPTED, id="s", ticket=TICKET, deadline=9.0, over=True),
        dispatched=False,
    )  # fmt: skip
    assert decode_record(encode(record)) == record
