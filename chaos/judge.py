"""Which promises a storm broke, by the services' own books and what the store says. Pure, but for reading videos."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.jobs import FINAL, JobRecord, Status, SubmissionState
from tenxsom_flow_engine.output.media import inspect
from tenxsom_flow_engine.rate_limits.windows import Limits
from tenxsom_flow_engine.store.totals import Spent
from tests.contract.limiter_suite import sliding_maximum
from tests.fake_vendors import Bill

#: Seconds that two readings of one machine's clock may differ by, after rounding.
ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is judged."""

    #: The ids of the jobs whose adding was confirmed.
    added: Collection[str]
    records: Sequence[JobRecord]
    #: What the services sold.
    books: Sequence[Bill]
    #: When paid creates came to the services, by service; of all together under `global`.
    creates: Mapping[str, Sequence[float]]
    #: When the quota gate let creates pass, in the same way.
    admissions: Mapping[str, Sequence[float]]
    limits: Limits
    #: What the store has summed up: what was bought, and how many jobs ended in each status.
    spent: Sequence[Spent]
    ended: Mapping[str, float]
    videos: Path


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken."""

    promise: str
    what: str
    jobs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}" + (f" ({', '.join(self.jobs)})" if self.jobs else "")


def judge(evidence: Evidence) -> list[Finding]:
    """Return every promise that was broken, and how."""
    checks: Sequence[Callable[[Evidence], Iterator[Finding]]] = (nothing_lost, paid_once, quotas, whole, costs)
    return [finding for check in checks for finding in check(evidence)]


def nothing_lost(evidence: Evidence) -> Iterator[Finding]:
    """Every job that was added is final or held, once, and the sums have counted each end once."""
    promise = "no job is lost"
    times = Counter(record.job_id for record in evidence.records)
    for job_id in sorted(evidence.added):
        if times[job_id] != 1:
            yield Finding(promise, f"it has {times[job_id]} records", (job_id,))
    for record in evidence.records:
        if record.status not in (*FINAL, Status.HELD) or record.due is not None or record.lease is not None:
            yield Finding(promise, f"it stays {record.status}: {_story(record)}", (record.job_id,))
        if record.status is Status.HELD and record.submission.state is not SubmissionState.UNKNOWN:
            yield Finding(promise, f"it is held, and nobody can resolve it: {_story(record)}", (record.job_id,))
    succeeded = sum(record.status is Status.SUCCEEDED for record in evidence.records)
    if evidence.ended.get("succeeded", 0) != succeeded:
        counted = evidence.ended.get("succeeded", 0)
        yield Finding(promise, f"{succeeded} jobs succeeded, and {counted:g} such ends were counted")


def paid_once(evidence: Evidence) -> Iterator[Finding]:
    """A job is bought again only when the service said that the render failed; a published one was bought."""
    bills = _by_job(evidence.books)
    for record in evidence.records:
        own = bills.pop(record.job_id, [])
        if sum(not bill.failed for bill in own) > 1:
            sold = ", ".join(f"{bill.id} of {bill.service}" for bill in own)
            yield Finding("pay once", f"it was bought more than once, as {sold}: {_story(record)}", (record.job_id,))
        ticket = record.submission.ticket
        if record.status is Status.SUCCEEDED and (ticket is None or not any(_is_of(ticket.id, bill) for bill in own)):
            yield Finding("pay once", "its video is of no generation that was sold for it", (record.job_id,))
    for job_id, own in bills.items():
        yield Finding("pay once", f"{len(own)} generations were sold for a job that nobody knows", (job_id,))


def quotas(evidence: Evidence) -> Iterator[Finding]:
    """No window of a limit ever held more creates than it allows: where they were let pass, and where they came.

    An admission is dated by the store, so its windows hold exactly. On the way to the service a create may dawdle, and
    others catch up with it: if none takes longer than the lag, whatever comes within `span - lag` seconds was let pass
    within `span`. So that is what the services' own books are held to, by brute force. The lag is not assumed, but
    found: the least with which each create can be given an admission of its own. If there is none, one came unadmitted.
    """
    promise = "quotas hold"
    for name, windows in evidence.limits.items():
        creates, admissions = sorted(evidence.creates.get(name, ())), sorted(evidence.admissions.get(name, ()))
        slowest = lag(creates, admissions)
        if slowest is None:
            yield Finding(promise, f"{name}: of {len(creates)} creates not all were admitted ({len(admissions)} were)")
        for window in windows:
            looks = [("let pass", admissions, window.span - ROUNDING)]
            if slowest is not None:
                looks.append((f"came within {window.span - slowest:.2f} s", creates, window.span - slowest - ROUNDING))
            for what, instants, span in looks:
                most = sliding_maximum(list(instants), span) if span > 0 else 0
                if most > window.limit:
                    yield Finding(promise, f"{name} allows {window}, and {most} {what}")


def whole(evidence: Evidence) -> Iterator[Finding]:
    """Each video that a job succeeded with is as its record says; whatever else is published is whole too.

    A job may be cancelled while its video appears: that stays.
    """
    promise = "files appear only whole"
    records = {record.job_id: record for record in evidence.records}
    shown = {path.name for path in evidence.videos.iterdir() if not path.name.startswith(".")}
    for job_id in sorted(shown - records.keys()):
        yield Finding(promise, "something is published for it, and nobody knows it", (job_id,))
    for record in evidence.records:
        fault = ""
        if record.status is Status.SUCCEEDED:
            assert record.result is not None
            fault = _fault(Path(record.result.path), record.result.size, record.result.sha256)
        elif record.job_id in shown:
            fault = _fault_of(evidence.videos / record.job_id)
        if fault:
            yield Finding(promise, fault, (record.job_id,))


def costs(evidence: Evidence) -> Iterator[Finding]:
    """The store's sums are the services' bills; a job that waits for a person may have a bill that nobody knows."""
    promise = "sums are the bills"
    bills = _by_job(evidence.books)
    unknown: Counter[str] = Counter()
    for record in evidence.records:
        own, known = bills.get(record.job_id, []), len(record.purchases)
        in_doubt = record.submission.state in (SubmissionState.INTENT, SubmissionState.UNKNOWN)
        if not known <= len(own) <= known + in_doubt:
            yield Finding(promise, f"{known} purchases, {len(own)} bills: {_story(record)}", (record.job_id,))
        for bill in own[known:]:
            unknown[bill.service] += 1
    for service in {bill.service for bill in evidence.books}:
        billed = [bill for bill in evidence.books if bill.service == service]
        spent = [day for day in evidence.spent if day.service == service]
        videos = sum(day.videos for day in spent)
        if videos != len(billed) - unknown[service]:
            yield Finding(promise, f"{service} billed {len(billed)} videos, {videos} were summed up")
        for unit in ("usd", "credits"):
            bill_of = sum(getattr(bill, unit) for bill in billed)
            summed = sum(getattr(day, unit) for day in spent)
            if bill_of and not unknown[service] and abs(bill_of - summed) > 0.005:
                yield Finding(promise, f"{service} billed {bill_of:.2f} {unit}, {summed:.2f} were summed up")


def lag(creates: Sequence[float], admissions: Sequence[float]) -> float | None:
    """Return the least seconds within which each create can have come after an admission of its own; None: never."""
    if not _paired(creates, admissions, float("inf")):
        return None
    low, high = 0.0, max([0.0, *(create - admissions[0] for create in creates)])
    while high - low > ROUNDING:
        middle = (low + high) / 2
        low, high = (low, middle) if _paired(creates, admissions, middle) else (middle, high)
    return high


def _paired(creates: Sequence[float], admissions: Sequence[float], within: float) -> bool:
    """Tell whether each create can be given an admission of its own, at most so many seconds before it."""
    waiting = iter(admissions)
    for create in creates:
        # Whatever is too old for this one is so for those that follow.
        admission = next((one for one in waiting if one >= create - within - ROUNDING), None)
        if admission is None or admission > create + ROUNDING:
            return False
    return True


def _fault(video: Path, size: int, sha256: str) -> str:
    """Return what is wrong with a published video, or nothing."""
    try:
        content = video.read_bytes()
        inspect(video)
    except (OSError, OutputError) as error:
        return f"its video cannot be read: {error}"
    told = (len(content), hashlib.sha256(content).hexdigest())
    return "" if told == (size, sha256) else "its video is another than was published"


def _fault_of(folder: Path) -> str:
    """Return what is wrong with a published folder by what it says of itself, or nothing."""
    try:
        told = json.loads((folder / "metadata.json").read_text("utf-8"))
        return _fault(folder / "video.mp4", told["size"], told["sha256"])
    except (OSError, ValueError, KeyError) as error:
        return f"what is published cannot be read: {error}"


def _is_of(ticket: str, bill: Bill) -> bool:
    # HeyGen's tickets name the way as well.
    return ticket == bill.id or ticket.endswith(f"/{bill.id}")


def _by_job(books: Sequence[Bill]) -> dict[str, list[Bill]]:
    found: defaultdict[str, list[Bill]] = defaultdict(list)
    for bill in books:
        found[bill.job_id].append(bill)
    return found


def _story(record: JobRecord) -> str:
    """Tell the last events of a job."""
    return "; ".join(f"{event.what} {event.detail}".strip() for event in record.events[-6:])
