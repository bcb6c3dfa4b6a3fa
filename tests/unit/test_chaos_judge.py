"""The judge of `make chaos`: that it finds each broken promise, and none where all were kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from chaos.judge import Evidence, judge, lag
from tenxsom_flow_engine.jobs import (
    Cost,
    Failure,
    JobRecord,
    Lease,
    Purchase,
    Status,
    Submission,
    SubmissionState,
    Ticket,
    Video,
)
from tenxsom_flow_engine.rate_limits.windows import parse_limits
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.store.totals import Spent
from tenxsom_flow_engine.testing.samples import a_job
from tests.fake_vendors import Bill

NOW = 1_800_000_000.0
SERVICE = "heygen"


def made(job_id: str, ticket: str, videos: Path, *, bought: int = 1) -> JobRecord:
    """Return the record of a job that was made, with its video on disk."""
    folder = videos / job_id
    folder.mkdir(parents=True)
    content = tiny_video("9:16", 1)
    (folder / "video.mp4").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return JobRecord(
        job=a_job(job_id), queue="local", nonce="n", status=Status.SUCCEEDED, service=SERVICE,
        submission=Submission(state=SubmissionState.ACCEPTED, id=job_id, ticket=Ticket(ticket), over=True),
        purchases=tuple(Purchase(f"{job_id}.{n}", SERVICE, NOW, Cost(usd=0.5)) for n in range(bought)),
        result=Video(str(folder / "video.mp4"), 1.0, 54, 96, len(content), sha256),
        added_at=NOW, updated_at=NOW,
    )  # fmt: skip


@pytest.fixture
def kept(tmp_path: Path) -> Evidence:
    """Three jobs of which all is well: one was made, one was made after a failed render, of one nobody knows."""
    held = JobRecord(
        job=a_job("c"), queue="local", nonce="n", status=Status.HELD, service=SERVICE,
        submission=Submission(state=SubmissionState.UNKNOWN, id="c"), error=Failure("submission_unknown", "?"),
        added_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return Evidence(
        added=["a", "b", "c"],
        records=[made("a", "1", tmp_path), made("b", "videos/3", tmp_path, bought=2), held],
        books=[
            Bill(SERVICE, "1", "a", 0.5, 0.0, failed=False),
            Bill(SERVICE, "2", "b", 0.5, 0.0, failed=True),
            Bill(SERVICE, "3", "b", 0.5, 0.0, failed=False),
        ],
        creates={SERVICE: [NOW + 0.2, NOW + 1.0, NOW + 10.5]},
        admissions={SERVICE: [NOW, NOW + 0.5, NOW + 10.0, NOW + 20.0]},
        limits=parse_limits(f"{SERVICE}=2/10s"),
        spent=[Spent("2027-01-15", SERVICE, 3, 1.5, 0.0, 0)],
        ended={"succeeded": 2, "failed": 1},
        videos=tmp_path,
    )


def test_all_is_well(kept: Evidence) -> None:
    """Where all promises were kept nothing is found; a held job may have a bill that nobody knows of yet."""
    assert judge(kept) == []
    unknown = Bill(SERVICE, "4", "c", 0.5, 0.0, failed=False)
    assert judge(replace(kept, books=[*kept.books, unknown])) == []
    assert judge(with_folder(kept, "c")) == []


def with_record(evidence: Evidence, number: int, **changes: object) -> Evidence:
    records = list(evidence.records)
    records[number] = msgspec.structs.replace(records[number], **changes)
    return replace(evidence, records=records)


def with_video(evidence: Evidence, content: bytes) -> Evidence:
    result = evidence.records[0].result
    assert result is not None
    Path(result.path).write_bytes(content)
    return evidence


def with_folder(evidence: Evidence, name: str, **told: object) -> Evidence:
    """Publish the first job's video under another name, with what is told of it."""
    result = evidence.records[0].result
    assert result is not None
    shutil.copytree(Path(result.path).parent, evidence.videos / name)
    told = {"size": result.size, "sha256": result.sha256} | told
    (evidence.videos / name / "metadata.json").write_text(json.dumps(told))
    return evidence


def again(evidence: Evidence, **changes: object) -> Evidence:
    """Have the first job bought once more."""
    bill = replace(evidence.books[0], id="9", **changes)  # type: ignore[arg-type]
    spent = [replace(evidence.spent[0], videos=4, usd=2.0)]
    purchases = (*evidence.records[0].purchases, Purchase("9", SERVICE, NOW, Cost(usd=0.5)))
    return with_record(replace(evidence, books=[*evidence.books, bill], spent=spent), 0, purchases=purchases)


LOST, ONCE, QUOTAS, WHOLE, SUMS = (
    "no job is lost", "pay once", "quotas hold", "files appear only whole", "sums are the bills"
)  # fmt: skip
#: What was done to the evidence, which promise that breaks, and of which jobs.
BROKEN: dict[str, tuple[Callable[[Evidence], Evidence], str, tuple[str, ...]]] = {
    "a record is gone": (lambda e: replace(e, added=[*e.added, "d"]), LOST, ("d",)),
    "a job has two records": (lambda e: replace(e, records=[*e.records, e.records[2]]), LOST, ("c",)),
    "a job waits for ever": (lambda e: with_record(e, 2, status=Status.QUEUED, due=NOW), LOST, ("c",)),
    "a final job is due": (lambda e: with_record(e, 0, due=NOW), LOST, ("a",)),
    "a final job is leased": (lambda e: with_record(e, 0, lease=Lease("t", "w", NOW)), LOST, ("a",)),
    "a job is held for nothing": (lambda e: with_record(e, 2, submission=Submission()), LOST, ("c",)),
    "an end was counted twice": (lambda e: replace(e, ended={"succeeded": 3}), LOST, ()),
    "a job was bought twice": (again, ONCE, ("a",)),
    "nothing was bought": (lambda e: replace(e, books=e.books[1:]), ONCE, ("a",)),
    "another's ticket": (
        lambda e: with_record(e, 0, submission=msgspec.structs.replace(e.records[0].submission, ticket=Ticket("3"))),
        ONCE, ("a",)),
    "sold for a stranger": (lambda e: replace(e, books=[*e.books, replace(e.books[0], job_id="z")]), ONCE, ("z",)),
    "too many let pass": (lambda e: replace(e, admissions={SERVICE: [NOW, NOW + 0.5, NOW + 9.5]}), QUOTAS, ()),
    "one came unadmitted": (lambda e: replace(e, admissions={SERVICE: [NOW, NOW + 10.0, NOW + 20.0]}), QUOTAS, ()),
    "all came at once": (
        lambda e: replace(e, creates={SERVICE: [NOW + 1.0] * 3}, admissions={SERVICE: [NOW, NOW + 0.5, NOW + 0.9]}),
        QUOTAS, ()),
    "a video is cut": (lambda e: with_video(e, tiny_video("9:16", 1)[:-900]), WHOLE, ("a",)),
    "a video is another": (lambda e: with_video(e, tiny_video("9:16", 2)), WHOLE, ("a",)),
    "a video of nobody": (lambda e: with_folder(e, "z"), WHOLE, ("z",)),
    "a video that was not whole": (lambda e: with_folder(e, "c", size=7), WHOLE, ("c",)),
    "a purchase is not known": (lambda e: with_record(e, 0, purchases=()), SUMS, ("a",)),
    "a video was not summed up": (lambda e: replace(e, spent=[replace(e.spent[0], videos=2)]), SUMS, ()),
    "a price is wrong": (lambda e: replace(e, spent=[replace(e.spent[0], usd=1.4)]), SUMS, ()),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_found(kept: Evidence, what: str) -> None:
    """Each way to break a promise is found, and said of the job that it befell."""
    spoil, promise, jobs = BROKEN[what]
    findings = judge(spoil(kept))
    assert (promise, jobs) in {(finding.promise, finding.jobs) for finding in findings}


def test_paid_again_after_a_failed_render(kept: Evidence) -> None:
    """Buying anew is right only for a render of which the service itself said that it failed."""
    assert judge(again(kept, failed=True)) == []
    assert ONCE in {finding.promise for finding in judge(again(kept))}


def test_the_lag_is_the_least_that_explains_all() -> None:
    """Each create is given an admission of its own before it; those that led to none do not count."""
    assert lag([], [1.0]) == 0.0
    assert lag([2.1, 2.2], [1.0, 2.0]) == pytest.approx(1.1, abs=0.01)
    assert lag([5.0], [1.0, 4.5, 6.0]) == pytest.approx(0.5, abs=0.01)
    assert lag([1.0], [2.0]) is None
    assert lag([3.0, 3.0], [2.0]) is None
