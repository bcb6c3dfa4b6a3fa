"""Check the guarantees after a run: compare the services' books with the store. Pure, except that it reads videos."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.jobs import FINAL, JobRecord, Status, SubmissionState
from tenxsom_flow_engine.output.media import examine
from tenxsom_flow_engine.rate_limits.windows import Limits
from tenxsom_flow_engine.store.totals import Spent
from tests.contract.limiter_suite import sliding_maximum
from tests.fake_vendors import Bill

#: Seconds by which two timestamps of the same instant can differ after rounding.
ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Capped:
    """A budget, what the services billed for its jobs, and what the store counts, in micro-dollars."""

    scope: str
    limit: int
    billed: int
    reserved: int
    spent: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts about a run."""

    #: Ids of the jobs whose enqueue was confirmed.
    added: Collection[str]
    records: Sequence[JobRecord]
    #: The generations that the services sold.
    books: Sequence[Bill]
    #: When the services received paid creates, by service; those of all services under `global`. Seconds since 1970.
    creates: Mapping[str, Sequence[float]]
    #: When creates were admitted, with the same keys.
    admissions: Mapping[str, Sequence[float]]
    limits: Limits
    #: The store's totals: purchases, and the number of jobs that ended in each status.
    spent: Sequence[Spent]
    ended: Mapping[str, float]
    videos: Path
    #: The budget that was never raised, as it stood while jobs waited for it.
    capped: Capped | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken guarantee."""

    guarantee: str
    reason: str
    jobs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.guarantee}: {self.reason}" + (f" ({', '.join(self.jobs)})" if self.jobs else "")


def judge(evidence: Evidence) -> list[Finding]:
    """Return a finding for each violation of a guarantee."""
    checks: Sequence[Callable[[Evidence], Iterator[Finding]]] = (
        nothing_lost,
        paid_once,
        quotas,
        complete,
        totals,
        never_over_budget,
    )
    return [finding for check in checks for finding in check(evidence)]


def nothing_lost(evidence: Evidence) -> Iterator[Finding]:
    """Check that every added job has one record, final or held, and that the totals count each end once."""
    guarantee = "no job is lost"
    number = Counter(record.job_id for record in evidence.records)
    for job_id in sorted(evidence.added):
        if number[job_id] != 1:
            yield Finding(guarantee, f"job has {number[job_id]} records", (job_id,))
    for record in evidence.records:
        if record.status not in (*FINAL, Status.HELD) or record.due is not None or record.lease is not None:
            yield Finding(guarantee, f"job is still {record.status}: {_last_events(record)}", (record.job_id,))
        if record.status is Status.HELD and record.submission.state is not SubmissionState.UNKNOWN:
            yield Finding(
                guarantee, f"job is held without an unknown submission: {_last_events(record)}", (record.job_id,)
            )
    succeeded = sum(record.status is Status.SUCCEEDED for record in evidence.records)
    if evidence.ended.get("succeeded", 0) != succeeded:
        counted = evidence.ended.get("succeeded", 0)
        yield Finding(guarantee, f"{succeeded} jobs succeeded, but the totals count {counted:g}")


def paid_once(evidence: Evidence) -> Iterator[Finding]:
    """Check that a job was bought again only after a failed render, and that each published video was bought."""
    bills = _by_job(evidence.books)
    for record in evidence.records:
        own = bills.pop(record.job_id, [])
        if sum(not bill.failed for bill in own) > 1:
            sold = ", ".join(f"{bill.id} of {bill.service}" for bill in own)
            yield Finding(
                "pay once", f"job was bought more than once, as {sold}: {_last_events(record)}", (record.job_id,)
            )
        ticket = record.submission.ticket
        if record.status is Status.SUCCEEDED and (ticket is None or not any(_is_of(ticket.id, bill) for bill in own)):
            yield Finding("pay once", "job succeeded with a ticket that is on none of its bills", (record.job_id,))
    for job_id, own in bills.items():
        yield Finding("pay once", f"{len(own)} generations were sold for a job without a record", (job_id,))


def quotas(evidence: Evidence) -> Iterator[Finding]:
    """Check that no window held more creates than its limit, by admissions and by the services' books.

    The store dates admissions, so their windows must hold exactly. A create can be delayed on its way to the service
    while later ones catch up: if no delay is longer than `lag`, creates that arrive within `span - lag` seconds were
    admitted within `span`. So the limit holds for windows of `span - lag` seconds at the service. The lag is measured:
    it is the smallest delay with which each create can be matched to a separate admission. If no such match exists,
    a create was sent without an admission.
    """
    guarantee = "quotas hold"
    for name, windows in evidence.limits.items():
        creates, admissions = sorted(evidence.creates.get(name, ())), sorted(evidence.admissions.get(name, ()))
        slowest = lag(creates, admissions)
        if slowest is None:
            yield Finding(
                guarantee,
                f"{name}: {len(creates)} creates received, not all with one of the {len(admissions)} admissions",
            )
        for window in windows:
            checks = [("admitted", admissions, window.span - ROUNDING)]
            if slowest is not None:
                checks.append(
                    (f"received within {window.span - slowest:.2f} s", creates, window.span - slowest - ROUNDING)
                )
            for event, instants, span in checks:
                most = sliding_maximum(list(instants), span) if span > 0 else 0
                if most > window.limit:
                    yield Finding(guarantee, f"limit of {name} is {window}, but {most} were {event}")


def complete(evidence: Evidence) -> Iterator[Finding]:
    """Check that the video of each succeeded job matches its record, and that all other published videos are complete.

    A job without success can have one: a job that is cancelled during publication keeps its video.
    """
    guarantee = "files appear only complete"
    records = {record.job_id: record for record in evidence.records}
    published = {path.name for path in evidence.videos.iterdir() if not path.name.startswith(".")}
    for job_id in sorted(published - records.keys()):
        yield Finding(guarantee, "a video is published for a job without a record", (job_id,))
    for record in evidence.records:
        fault = ""
        if record.status is Status.SUCCEEDED:
            assert record.result is not None
            fault = _fault(Path(record.result.path), record.result.size, record.result.sha256)
        elif record.job_id in published:
            fault = _fault_of(evidence.videos / record.job_id)
        if fault:
            yield Finding(guarantee, fault, (record.job_id,))


def totals(evidence: Evidence) -> Iterator[Finding]:
    """Check that the store's totals equal the services' bills; a held job can have one bill more than purchases."""
    guarantee = "totals equal the bills"
    bills = _by_job(evidence.books)
    unknown: Counter[str] = Counter()
    for record in evidence.records:
        own, known = bills.get(record.job_id, []), len(record.purchases)
        in_doubt = record.submission.state in (SubmissionState.INTENT, SubmissionState.UNKNOWN)
        if not known <= len(own) <= known + in_doubt:
            yield Finding(
                guarantee, f"job has {known} purchases, but {len(own)} bills: {_last_events(record)}", (record.job_id,)
            )
        for bill in own[known:]:
            unknown[bill.service] += 1
    for service in {bill.service for bill in evidence.books}:
        billed = [bill for bill in evidence.books if bill.service == service]
        spent = [day for day in evidence.spent if day.service == service]
        videos = sum(day.videos for day in spent)
        if videos != len(billed) - unknown[service]:
            yield Finding(guarantee, f"{service} billed {len(billed)} videos, the totals have {videos}")
        for unit in ("usd", "credits"):
            charged = sum(getattr(bill, unit) for bill in billed)
            recorded = sum(getattr(day, unit) for day in spent)
            if charged and not unknown[service] and abs(charged - recorded) > 0.005:
                yield Finding(guarantee, f"{service} billed {charged:.2f} {unit}, the totals have {recorded:.2f}")


def never_over_budget(evidence: Evidence) -> Iterator[Finding]:
    """Check that no bill is above its budget: what was billed is counted, and what is counted is within the limit."""
    guarantee = "no bill above its budget"
    capped = evidence.capped
    if capped is None:
        return
    billed, used, limit = (amount / 1e6 for amount in (capped.billed, capped.reserved + capped.spent, capped.limit))
    if capped.billed > capped.limit:
        yield Finding(guarantee, f"{capped.scope} was billed {billed:.4f} USD, and its budget is {limit:.4f}")
    if capped.reserved + capped.spent > capped.limit:
        yield Finding(guarantee, f"{capped.scope} has used {used:.4f} USD of its budget of {limit:.4f}")
    if capped.billed > capped.reserved + capped.spent:
        yield Finding(guarantee, f"{capped.scope} was billed {billed:.4f} USD, and the store counts {used:.4f}")


def lag(creates: Sequence[float], admissions: Sequence[float]) -> float | None:
    """Return the smallest delay (s) with which each create can follow a separate admission; None if some cannot."""
    if not _paired(creates, admissions, float("inf")):
        return None
    low, high = 0.0, max([0.0, *(create - admissions[0] for create in creates)])
    while high - low > ROUNDING:
        middle = (low + high) / 2
        low, high = (low, middle) if _paired(creates, admissions, middle) else (middle, high)
    return high


def _paired(creates: Sequence[float], admissions: Sequence[float], within: float) -> bool:
    """Return whether each create can follow a separate admission by at most `within` seconds. Both must be sorted."""
    unused = iter(admissions)
    for create in creates:
        # Skipped for good: an admission too old for this create is too old for all later ones.
        admission = next((one for one in unused if one >= create - within - ROUNDING), None)
        if admission is None or admission > create + ROUNDING:
            return False
    return True


def _fault(video: Path, size: int, sha256: str) -> str:
    """Return the fault of a published video, or an empty string."""
    try:
        content = video.read_bytes()
        examine(video)
    except (OSError, OutputError) as error:
        return f"the video cannot be read: {error}"
    actual = (len(content), hashlib.sha256(content).hexdigest())
    return "" if actual == (size, sha256) else "the video differs from the published one"


def _fault_of(folder: Path) -> str:
    """Return the fault of a published folder, judged by its own metadata, or an empty string."""
    try:
        metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
        return _fault(folder / "video.mp4", metadata["size"], metadata["sha256"])
    except (OSError, ValueError, KeyError) as error:
        return f"the metadata cannot be read: {error}"


def _is_of(ticket: str, bill: Bill) -> bool:
    # HeyGen's tickets have the kind of video before the id.
    return ticket == bill.id or ticket.endswith(f"/{bill.id}")


def _by_job(books: Sequence[Bill]) -> dict[str, list[Bill]]:
    found: defaultdict[str, list[Bill]] = defaultdict(list)
    for bill in books:
        found[bill.job_id].append(bill)
    return found


def _last_events(record: JobRecord) -> str:
    return "; ".join(f"{event.what} {event.detail}".strip() for event in record.events[-6:])
