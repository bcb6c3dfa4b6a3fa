"""Derive the verdicts from the report's figures, the most serious first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenxsom_flow_engine.budgets import ALL, to_usd
from tenxsom_flow_engine.budgets.forecast import ALERTS
from tenxsom_flow_engine.clock import CLOCK_TOLERANCE, iso
from tenxsom_flow_engine.errors import Action
from tenxsom_flow_engine.events import EndpointKind
from tenxsom_flow_engine.jobs import PUSHED, Status
from tenxsom_flow_engine.jobs.lifecycle import ways_to_resolve
from tenxsom_flow_engine.rate_limits.windows import parse_windows
from tenxsom_flow_engine.report.model import Report, ServiceFigures, Verdict, WindowFigures, WorkerFigures
from tenxsom_flow_engine.text import ago, clock_lead, duration, plural, rough_duration, usd

OK, NOTICE, PROBLEM = "ok", "notice", "problem"
#: Every code of a verdict; `docs/operations.md` must have a section for each.
CODES = (
    "clock-skew", "disk-full", "videos-spooled", "no-worker", "held", "service-stopped", "failing", "falling-behind",
    "schedule-stuck", "fallback-in-use", "topics-running-out", "endpoint-disabled", "queue-unknown", "queue-paused",
    "budget-spent", "service-paused", "service-closed", "service-full", "service-slow", "budget-used", "expired",
    "jobs-elsewhere", "disk-low", "store-at-risk", "entries-set-aside", "all-is-well",
)  # fmt: skip

#: Seconds after which a waiting due job is a problem: without a live worker, and with one.
NO_WORKER_SECONDS, LATE_SECONDS = 60.0, 600.0
#: A full service whose gate opens within this many seconds is not reported.
SOON = 5.0
#: A service is failing if at least this many of its jobs, and this share of them, failed in 24 hours.
FEW_FAILED, SHARE_FAILED = 3, 0.5
#: A service whose pace is below this is reported as slow.
SLOW_PACE = 0.5
#: Maximum number of jobs that a detail names.
MOST_NAMED = 5

#: Days until the disk is full below which it is a notice.
FEW_DAYS = 7
#: Bytes of free disk space below which it is a notice, and below which it is a problem.
LITTLE_SPACE, LEAST_SPACE = 2 * 10**9, 200 * 10**6

_SPANS = {1.0: "this second", 60.0: "this minute", 3600.0: "this hour", 86400.0: "this day"}


def verdicts(report: Report) -> tuple[Verdict, ...]:
    """Return all verdicts that apply; if there is none, the verdict `all-is-well`."""
    found = [
        *_clock(report),
        *_disks(report),
        *_stuck(report),
        *_fallback(report),
        *_decisions(report),
        *_services(report),
        *_budgets(report),
        *_failing(report),
        *_expired(report),
        *_schedules(report),
        *_endpoints(report),
        *_store(report),
    ]
    found.sort(key=lambda verdict: CODES.index(verdict.code))
    return tuple(found) or (_all_is_well(report),)


def _stuck(report: Report) -> Iterator[Verdict]:
    """Give the reasons why due jobs do not proceed."""
    jobs, workers, queue = report.jobs, report.workers, report.queue
    waiting, pushed = jobs.oldest_due or 0.0, queue.queue_type in PUSHED
    if queue.unknown:
        yield Verdict(
            code="queue-unknown",
            level=NOTICE,
            text="the state of the queue backend is unknown",
            detail=str(queue.unknown),
            actions=queue.unknown.actions,
        )
    if queue.state == "PAUSED":
        text = f"the queue is paused, with {plural(jobs.unfinished, 'unfinished job')}"
        yield Verdict(code="queue-paused", level=NOTICE, text=text, actions=(Action.RESUME_QUEUE,))
    elif not workers.alive and (jobs.oldest_due is not None or (jobs.unfinished and not pushed)):
        late = waiting > NO_WORKER_SECONDS
        if jobs.oldest_due is None:
            work = f"{plural(jobs.unfinished, 'job')} will be due later"
        else:
            work = f"a job has been due for {rough_duration(waiting)}" if late else "a job is due"
        yield Verdict(
            code="no-worker",
            level=PROBLEM if late else NOTICE,
            text=f"{_no_worker(workers)}, and {work}",
            actions=(Action.START_PUSH_WORKER if pushed else Action.START_WORKER,),
        )
    elif waiting > LATE_SECONDS and not _held_back(report):
        text = (
            f"the oldest due job has waited for {rough_duration(waiting)}, with {plural(workers.alive, 'worker')} alive"
        )
        yield Verdict(code="falling-behind", level=PROBLEM, text=text)


def _fallback(report: Report) -> Iterator[Verdict]:
    fallback = report.fallback
    if fallback is not None and fallback.unfinished:
        jobs = plural(fallback.unfinished, "job")
        text = f"Cloud Tasks could not be reached, so the {fallback.queue_type} queue has {jobs}"
        if fallback.alive:
            yield Verdict(code="fallback-in-use", level=NOTICE, text=text)
        else:
            text += ", and no worker pulls from it"
            actions = (Action.START_FALLBACK_WORKER,)
            yield Verdict(
                code="fallback-in-use", level=PROBLEM, text=text, actions=actions, subject=fallback.queue_type
            )


def _clock(report: Report) -> Iterator[Verdict]:
    lead = report.clock_lead
    if abs(lead) > CLOCK_TOLERANCE:
        yield Verdict(
            code="clock-skew",
            level=PROBLEM,
            text=f"the store's clock is {clock_lead(lead)} this machine's, so jobs start at wrong times",
            actions=(Action.REPAIR_CLOCK,) if lead > 0 else (),
        )


def _disks(report: Report) -> Iterator[Verdict]:
    levels = (("disk-full", PROBLEM, 0, LEAST_SPACE), ("disk-low", NOTICE, LEAST_SPACE, LITTLE_SPACE))
    for code, level, least, below in levels:
        found = [f"{disk.free / 1e9:.1f} GB for {disk.place}" for disk in report.disks if least <= disk.free < below]
        if found:
            yield Verdict(code=code, level=level, text=f"little disk space is left: {' and '.join(found)}")
    if report.spooled:
        text = f"{plural(report.spooled, 'video')} on this machine cannot be published: the bucket cannot be used"
        yield Verdict(code="videos-spooled", level=PROBLEM, text=text)
    for disk in report.disks:
        if disk.free >= LITTLE_SPACE and disk.days_left is not None and disk.days_left < FEW_DAYS:
            left = f"{disk.free / 1e9:.1f} GB is left for {disk.place}"
            text = f"{left}, enough for {rough_duration(disk.days_left * 86400)} at this pace"
            yield Verdict(code="disk-low", level=NOTICE, text=text)


def _decisions(report: Report) -> Iterator[Verdict]:
    """Give the verdicts that require a person's decision."""
    if held := report.jobs.by_status.get(Status.HELD, 0):
        need = (
            "needs a decision: it is unknown whether it was"
            if held == 1
            else ("need a decision: it is unknown whether they were")
        )
        yield Verdict(
            code="held",
            level=PROBLEM,
            text=f"{plural(held, 'job')} {need} charged",
            actions=(Action.LIST_HELD, *ways_to_resolve(held=True)),
        )
    if report.rejected_count:
        were = "was" if report.rejected_count == 1 else "were"
        text = f"{plural(report.rejected_count, 'entry', 'entries')} of the legacy list {were} rejected"
        yield Verdict(code="entries-set-aside", level=PROBLEM, text=text)


def _services(report: Report) -> Iterator[Verdict]:
    for service in report.services:
        name, opens_in = service.name, service.opens_in
        when = None if opens_in is None else duration(opens_in)
        opens = f", opens in {when}" if when else ""
        match service.state:
            case "paused":
                yield Verdict(
                    code="service-paused",
                    level=NOTICE,
                    text=f"{name} was paused by an operator",
                    detail=service.why,
                    actions=(Action.RESUME_SERVICE,),
                    subject=name,
                )
            case "stopped":
                again = f"; next try in {when}" if when else ""
                yield Verdict(
                    code="service-stopped",
                    level=PROBLEM,
                    text=f"{name} is stopped because of its key, plan or credit{again}",
                    detail=service.why,
                    actions=(Action.RESUME_SERVICE,),
                    subject=name,
                )
            case "closed":
                text = f"{name} is rate-limiting us{opens}"
                yield Verdict(code="service-closed", level=NOTICE, text=text, detail=service.why)
            case "full" if opens_in is None or opens_in >= SOON:
                yield Verdict(
                    code="service-full", level=NOTICE, text=f"{_fullest(service, report)}{opens}", detail=service.why
                )
            case _ if service.slots is not None and service.in_flight >= service.slots and _waiting(report):
                text = f"{name} is full: {service.in_flight} of {service.slots} slots in use"
                detail = occupied_slots(service.ended_in_flight, service.in_doubt, service.unattended_for)
                actions = (Action.LIST_HELD, *ways_to_resolve()) if service.in_doubt else ()
                yield Verdict(code="service-full", level=NOTICE, text=text, detail=detail, actions=actions)
        if service.pace < SLOW_PACE:
            text = f"{name} runs at {service.pace:.0%} of its limits, because it reported busy or answered slowly"
            yield Verdict(code="service-slow", level=NOTICE, text=text)


def occupied_slots(ended: int, in_doubt: Sequence[str], seconds: float) -> str:
    """Describe the slots that no worker frees; empty if there are none."""
    parts = []
    if ended:
        verb = "occupies its slot" if ended == 1 else "occupy their slots"
        parts.append(f"{plural(ended, 'generation')} of cancelled or failed jobs still {verb}")
    if in_doubt:
        more = f" and {len(in_doubt) - MOST_NAMED:,} more" if len(in_doubt) > MOST_NAMED else ""
        slots = "a slot" if len(in_doubt) == 1 else "slots"
        named = ", ".join(in_doubt[:MOST_NAMED])
        parts.append(f"{slots} occupied by purchases of unknown outcome until they are resolved: {named}{more}")
    return "; ".join([*parts, f"all free in {rough_duration(seconds)} at the latest"]) if parts else ""


def _budgets(report: Report) -> Iterator[Verdict]:
    for use in report.budgets:
        if use.share >= ALERTS[1]:
            spent, reserved = usd(to_usd(use.amounts.spent)), usd(to_usd(use.amounts.reserved))
            left = f"{usd(use.free)} left until {use.resets}"
            budget = f"the budget {use.public_name}"
            used = f"{budget} is spent" if use.spent else f"{use.share * 100:.0f} % of {budget} is used"
            yield Verdict(
                code="budget-spent" if use.spent else "budget-used",
                level=NOTICE,
                text=f"{used}: {left}",
                detail=f"{use.name}: {spent} spent, {reserved} reserved",
            )


def _failing(report: Report) -> Iterator[Verdict]:
    for service in (*report.services, report.unchosen):
        failed, ended = service.day.failed, service.day.failed + service.day.succeeded
        if failed >= FEW_FAILED and failed >= SHARE_FAILED * ended:
            last = service.last_failure
            why = f", last with {last.code}" if last else ""
            text = f"{service.name}: {failed} of {ended} jobs failed in 24 hours{why}"
            detail = f"{last.message} (job {last.job_id})" if last else ""
            yield Verdict(code="failing", level=PROBLEM, text=text, detail=detail, actions=(Action.LIST_FAILED,))


def _expired(report: Report) -> Iterator[Verdict]:
    if report.jobs.expired:
        text = f"{plural(report.jobs.expired, 'job')} expired in 24 hours: they bought nothing by their latest start"
        yield Verdict(code="expired", level=NOTICE, text=text, actions=(Action.LIST_CANCELLED,))


def _schedules(report: Report) -> Iterator[Verdict]:
    for one in report.schedules:
        if one.problem:
            yield Verdict(
                code="schedule-stuck",
                level=PROBLEM,
                text="the next slots of a schedule cannot be planned",
                detail=f"{one.name}: {one.problem}",
                actions=(Action.SHOW_SCHEDULE,),
                subject=one.name,
            )
        left = one.topics_left
        if left is not None and left < one.slots:
            first = "" if one.runs_out_at is None else f": the slot of {iso(one.runs_out_at)} is the first without one"
            have = f"{plural(left, 'topic')} left, but {plural(one.slots, 'slot')} a day" if left else "no topics left"
            yield Verdict(
                code="topics-running-out",
                level=NOTICE if left else PROBLEM,
                text=f"a schedule has {have}",
                detail=f"{one.name}{first}",
                actions=(Action.ADD_TOPICS,),
                subject=one.name,
            )


def _endpoints(report: Report) -> Iterator[Verdict]:
    actions = {EndpointKind.WEBHOOK: (Action.ENABLE_WEBHOOK,), EndpointKind.ALERT: (Action.ENABLE_ALERT,)}
    for one in report.disabled_endpoints:
        name = "the command for finished videos" if one.kind is EndpointKind.COMMAND else f"a {one.kind.value}"
        yield Verdict(
            code="endpoint-disabled",
            level=PROBLEM,
            text=f"{name} is disabled, so nothing is sent to it",
            detail=f"{one.id} ({one.url}): {one.why}",
            actions=actions.get(one.kind, ()),
            subject=one.id,
        )


def _store(report: Report) -> Iterator[Verdict]:
    for other in report.other_stores:
        jobs, are = plural(other.unfinished, "unfinished job"), "is" if other.unfinished == 1 else "are"
        yield Verdict(
            code="jobs-elsewhere",
            level=NOTICE,
            text=f"{jobs} of this home {are} in a store that the {report.queue.queue_type} queue does not use",
            detail=other.place,
            actions=(Action.LIST_OTHER_QUEUE,),
            subject=other.queue_type,
        )
    if report.advice:
        text = "recently added jobs could be lost if the store's machine crashes"
        yield Verdict(code="store-at-risk", level=NOTICE, text=text, detail=str(report.advice))


def _all_is_well(report: Report) -> Verdict:
    alive, unfinished = report.workers.alive, plural(report.jobs.unfinished, "unfinished job")
    # Without a worker, this is a queue that has nothing to do, or one that pushes and has nothing to do yet.
    text = f"all is well: {plural(alive, 'worker')} alive, {unfinished}" if alive else f"nothing is due: {unfinished}"
    return Verdict(code="all-is-well", level=OK, text=text)


def _no_worker(workers: WorkerFigures) -> str:
    """Say since when no worker is alive."""
    if workers.seen is None:
        return "no worker was alive in the last 24 hours"
    if workers.ended:
        return f"the last worker ended {ago(workers.seen)}"
    return f"no worker has been alive for {rough_duration(workers.seen)}"


def _fullest(service: ServiceFigures, report: Report) -> str:
    """Describe the window that opens last."""
    limits: list[tuple[str, WindowFigures]] = [(service.name, window) for window in service.windows]
    limits += [("all services together", window) for window in report.overall]
    owner, window = max(limits, key=lambda pair: pair[1].frees_in)
    seconds = parse_windows(window.name)[0].span
    return f"{owner} {window.used} of {window.limit_at_pace} {_SPANS.get(seconds, f'in {rough_duration(seconds)}')}"


def _held_back(report: Report) -> bool:
    """Return whether a gate or a budget explains why due jobs wait."""
    return any(map(_blocked, report.services)) or any(use.spent for use in report.budgets if use.budget.scope == ALL)


def _blocked(service: ServiceFigures) -> bool:
    return service.state != "open" or (service.slots is not None and service.in_flight >= service.slots)


def _waiting(report: Report) -> bool:
    return report.jobs.by_status.get(Status.QUEUED, 0) > 0
