"""The judge of `make chaos` finds each broken guarantee, and no other."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from chaos.judge import Capped, Evidence, judge, lag
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


def succeeded(job_id: str, ticket: str, videos: Path, *, bought: int = 1) -> JobRecord:
    """Return the record of a succeeded job, with its video on disk."""
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
def evidence(tmp_path: Path) -> Evidence:
    """Evidence without a violation: a succeeded job, one that succeeded after a failed render, and a held one."""
    held = JobRecord(
        job=a_job("c"), queue="local", nonce="n", status=Status.HELD, service=SERVICE,
        submission=Submission(state=SubmissionState.UNKNOWN, id="c"), error=Failure("submission_unknown", "?"),
        added_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return Evidence(
        added=["a", "b", "c"],
        records=[succeeded("a", "1", tmp_path), succeeded("b", "videos/3", tmp_path, bought=2), held],
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


@pytest.mark.parametrize(
    ("billed", "reserved", "spent", "reasons"),
    [
        (900, 100, 800, []),
        (1001, 101, 900, ["was billed", "has used"]),
        (0, 1, 1000, ["has used"]),
        (950, 100, 800, ["the store counts"]),
    ],
)
def test_no_bill_is_above_its_budget(
    evidence: Evidence, billed: int, reserved: int, spent: int, reasons: list[str]
) -> None:
    """Bills, and what the store counts, are within the budget, and each bill is counted."""
    found = judge(replace(evidence, capped=Capped("channel:capped", 1000, billed, reserved, spent)))
    assert {finding.guarantee for finding in found} == ({"no bill above its budget"} if reasons else set())
    assert all(reason in str(finding) for reason, finding in zip(reasons, found, strict=True))


def test_no_violation(evidence: Evidence) -> None:
    """There is no finding when every guarantee held, also if a held job has a bill or a video without a purchase."""
    assert judge(evidence) == []
    unknown = Bill(SERVICE, "4", "c", 0.5, 0.0, failed=False)
    assert judge(replace(evidence, books=[*evidence.books, unknown])) == []
    assert judge(with_folder(evidence, "c")) == []


def with_record(evidence: Evidence, number: int, **changes: object) -> Evidence:
    records = list(evidence.records)
    records[number] = msgspec.structs.replace(records[number], **changes)
    return replace(evidence, records=records)


def with_video(evidence: Evidence, content: bytes) -> Evidence:
    result = evidence.records[0].result
    assert result is not None
    Path(result.path).write_bytes(content)
    return evidence


def with_folder(evidence: Evidence, name: str, **changes: object) -> Evidence:
    """Publish a copy of the first job's video under another name, with changed metadata."""
    result = evidence.records[0].result
    assert result is not None
    shutil.copytree(Path(result.path).parent, evidence.videos / name)
    metadata = {"size": result.size, "sha256": result.sha256} | changes
    (evidence.videos / name / "metadata.json").write_text(json.dumps(metadata))
    return evidence


def bought_again(evidence: Evidence, **changes: object) -> Evidence:
    """Buy the first job once more."""
    bill = replace(evidence.books[0], id="9", **changes)  # type: ignore[arg-type]
    spent = [replace(evidence.spent[0], videos=4, usd=2.0)]
    purchases = (*evidence.records[0].purchases, Purchase("9", SERVICE, NOW, Cost(usd=0.5)))
    return with_record(replace(evidence, books=[*evidence.books, bill], spent=spent), 0, purchases=purchases)


LOST, ONCE, QUOTAS, COMPLETE, TOTALS = (
    "no job is lost", "pay once", "quotas hold", "files appear only complete", "totals equal the bills"
)  # fmt: skip
#: By violation: a change of the evidence, the guarantee that it breaks, and the jobs in the finding.
VIOLATIONS: dict[str, tuple[Callable[[Evidence], Evidence], str, tuple[str, ...]]] = {
    "a record is gone": (lambda e: replace(e, added=[*e.added, "d"]), LOST, ("d",)),
    "a job has two records": (lambda e: replace(e, records=[*e.records, e.records[2]]), LOST, ("c",)),
    "a job is never finished": (lambda e: with_record(e, 2, status=Status.QUEUED, due=NOW), LOST, ("c",)),
    "a final job is due": (lambda e: with_record(e, 0, due=NOW), LOST, ("a",)),
    "a final job is leased": (lambda e: with_record(e, 0, lease=Lease("t", "w", NOW)), LOST, ("a",)),
    "a job is held without an unknown submission": (lambda e: with_record(e, 2, submission=Submission()), LOST, ("c",)),
    "an end was counted twice": (lambda e: replace(e, ended={"succeeded": 3}), LOST, ()),
    "a job was bought twice": (bought_again, ONCE, ("a",)),
    "a video was not bought": (lambda e: replace(e, books=e.books[1:]), ONCE, ("a",)),
    "a job has the ticket of another": (
        lambda e: with_record(e, 0, submission=msgspec.structs.replace(e.records[0].submission, ticket=Ticket("3"))),
        ONCE, ("a",)),
    "a generation was sold for an unknown job": (
        lambda e: replace(e, books=[*e.books, replace(e.books[0], job_id="z")]), ONCE, ("z",)),
    "too many creates were admitted": (
        lambda e: replace(e, admissions={SERVICE: [NOW, NOW + 0.5, NOW + 9.5]}), QUOTAS, ()),
    "a create was not admitted": (
        lambda e: replace(e, admissions={SERVICE: [NOW, NOW + 10.0, NOW + 20.0]}), QUOTAS, ()),
    "too many creates were received at once": (
        lambda e: replace(e, creates={SERVICE: [NOW + 1.0] * 3}, admissions={SERVICE: [NOW, NOW + 0.5, NOW + 0.9]}),
        QUOTAS, ()),
    "a video is truncated": (lambda e: with_video(e, tiny_video("9:16", 1)[:-900]), COMPLETE, ("a",)),
    "a video is the wrong one": (lambda e: with_video(e, tiny_video("9:16", 2)), COMPLETE, ("a",)),
    "a video belongs to no job": (lambda e: with_folder(e, "z"), COMPLETE, ("z",)),
    "a video of a held job is incomplete": (lambda e: with_folder(e, "c", size=7), COMPLETE, ("c",)),
    "a purchase is not recorded": (lambda e: with_record(e, 0, purchases=()), TOTALS, ("a",)),
    "a video is not in the totals": (lambda e: replace(e, spent=[replace(e.spent[0], videos=2)]), TOTALS, ()),
    "a price is wrong in the totals": (lambda e: replace(e, spent=[replace(e.spent[0], usd=1.4)]), TOTALS, ()),
}  # fmt: skip


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_is_found(evidence: Evidence, violation: str) -> None:
    """Each violation of a guarantee is found, with the job that it concerns."""
    damage, guarantee, jobs = VIOLATIONS[violation]
    findings = judge(damage(evidence))
    assert (guarantee, jobs) in {(finding.guarantee, finding.jobs) for finding in findings}


def test_paid_again_after_a_failed_render(evidence: Evidence) -> None:
    """A second purchase is right only after a render that the service reported as failed."""
    assert judge(bought_again(evidence, failed=True)) == []
    assert ONCE in {finding.guarantee for finding in judge(bought_again(evidence))}


def test_the_lag_is_the_smallest_possible() -> None:
    """Each create is matched to a separate, earlier admission; admissions without a create do not count."""
    assert lag([], [1.0]) == 0.0
    assert lag([2.1, 2.2], [1.0, 2.0]) == pytest.approx(1.1, abs=0.01)
    assert lag([5.0], [1.0, 4.5, 6.0]) == pytest.approx(0.5, abs=0.01)
    assert lag([1.0], [2.0]) is None
    assert lag([3.0, 3.0], [2.0]) is None
