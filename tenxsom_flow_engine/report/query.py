"""Query the report: a few store calls, each answered from counters, totals or an index, however many records exist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, QueueError
from tenxsom_flow_engine.events.incidents import Finding
from tenxsom_flow_engine.generation.slots import UnattendedSlots
from tenxsom_flow_engine.jobs import AUTO, FINAL, PUSHED, Failure, Status
from tenxsom_flow_engine.planning.schedules import runs_out_at, unplanned
from tenxsom_flow_engine.queues.base import QueueStatus, count_alive
from tenxsom_flow_engine.rate_limits.windows import GLOBAL
from tenxsom_flow_engine.report.model import (
    Bar,
    DiskFigures,
    Ended,
    EndpointFigures,
    FallbackFigures,
    JobFigures,
    Making,
    PurchaseTotals,
    QueueFigures,
    Report,
    ScheduleFigures,
    ServiceFigures,
    WindowFigures,
    WorkerFigures,
)
from tenxsom_flow_engine.report.verdicts import OK, verdicts
from tenxsom_flow_engine.store.base import JobStore, LegacyImport
from tenxsom_flow_engine.store.histogram import percentile
from tenxsom_flow_engine.store.totals import (
    BUCKET_PREFIX,
    EVER,
    EXPIRED,
    HOUR,
    RETRIED,
    SECONDS,
    LastError,
    Total,
    hour,
)
from tenxsom_flow_engine.store.values import FORGET_WORKERS_AFTER_SECONDS, IN_PROGRESS, JobFilter, WorkerInfo

#: Seconds.
AN_HOUR, A_DAY = 3600.0, 86400.0
#: Number of hours shown, including the current one.
HOURS = 24
#: Seconds in the spool after which the bucket of a video counts as unusable; an upload takes less.
SPOOLED_SECONDS = 300.0
#: Number of videos whose sizes show the usual one.
LATEST = 20

#: Amounts by name.
_Amounts = Mapping[str, float]


def take_report(engine: Engine, queue: QueueFigures | None = None) -> Report:
    """Query the report. `queue`: recent figures of the queue backend, to spare a remote call. Raises `StoreError`."""
    store = engine.store
    now = store.now()
    # The queue backend can be slow, so its state is read before anything is counted.
    backend = queue or queue_figures(engine)
    start = now // AN_HOUR * AN_HOUR - (HOURS - 1) * AN_HOUR
    by_hour = _grouped(store.totals(HOUR, hour(start)))
    quotas = engine.limiter.get_rate_limit_stats()
    *services, unchosen = _services(engine, quotas["services"], by_hour, now)
    jobs = _jobs(store, by_hour, now)
    report = Report(
        at=now,
        jobs=jobs,
        queue=backend,
        workers=_workers(engine, now),
        services=tuple(services),
        unchosen=unchosen,
        overall=_windows(quotas[GLOBAL]["windows"]),
        advice=store.advice,
        clock_lead=engine.clock_lead,
        budgets=tuple(engine.budgets.uses()),
        schedules=tuple(_schedules(store, now)),
        disabled_endpoints=tuple(
            EndpointFigures(id=one.id, kind=one.kind, url=one.shown_url, why=one.disabled)
            for one in store.endpoints()
            if one.disabled
        ),
        fallback=_fallback(engine),
        other_stores=tuple(engine.other_stores),
        disks=_disks(engine, jobs.day.succeeded),
        spooled=engine.output.waiting(SPOOLED_SECONDS),
        rejected_count=store.rejected_count() if isinstance(store, LegacyImport) else 0,
    )
    return msgspec.structs.replace(report, verdicts=verdicts(report))


def findings(engine: Engine) -> Sequence[Finding]:
    """Return the present verdicts as messages show them, without `all-is-well`. Raises `StoreError`."""
    return [
        Finding(code=one.code, level=one.level, subject=one.subject, text=one.text, see=one.see)
        for one in take_report(engine).verdicts
        if one.level != OK
    ]


def queue_figures(engine: Engine) -> QueueFigures:
    """Return the state of the queue backend, `UNKNOWN` if it cannot be reached. Raises `StoreError`."""
    try:
        return queue_figures_of(engine.queue.status())
    except (QueueError, ConfigurationError) as error:
        return QueueFigures(queue_type=engine.queue.name, state="UNKNOWN", unknown=Failure.of(error))


def queue_figures_of(status: QueueStatus) -> QueueFigures:
    """Convert a queue's status to figures."""
    return QueueFigures(
        queue_type=status.queue_type,
        state="UNKNOWN" if status.unknown else "PAUSED" if status.paused else "RUNNING",
        limits=status.limits,
        set_at_run_time=status.set_at_run_time,
        set_at_backend=status.set_at_backend,
        unknown=status.unknown,
    )


def _grouped(sums: Iterable[Total]) -> Mapping[tuple[str, str], dict[str, float]]:
    """Group totals by period and service."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for one in sums:
        found[one.period, one.service][one.name] = one.amount
    return found


def _added(many: Iterable[_Amounts]) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for amounts in many:
        for name, amount in amounts.items():
            total[name] += amount
    return total


def _jobs(store: JobStore, by_hour: Mapping[tuple[str, str], _Amounts], now: float) -> JobFigures:
    counts = store.status_counts()
    current = now // AN_HOUR * AN_HOUR
    starts = [current - back * AN_HOUR for back in reversed(range(HOURS))]
    amounts = {at: _added(sums for (period, _), sums in by_hour.items() if period == hour(at)) for at in starts}
    before, running = (amounts[at].get("succeeded", 0.0) for at in starts[-2:])
    today = _added(amounts[at] for at in starts if at >= now // A_DAY * A_DAY)
    midnight = now // A_DAY * A_DAY + A_DAY
    in_progress = sum(counts.by_status.get(status, 0) for status in IN_PROGRESS)
    return JobFigures(
        by_status=counts.by_status,
        unfinished=counts.unfinished,
        oldest_due=None if counts.oldest_due is None else max(0.0, now - counts.oldest_due),
        today=_ended(today),
        day=_ended(day := _added(amounts.values())),
        expired=int(day.get(EXPIRED, 0) - day.get(f"{RETRIED}{EXPIRED}", 0)),
        planned_today=int(sum(_now_in(today, status) for status in FINAL))
        + in_progress
        + store.scheduled_before(midnight),
        hours=tuple(Bar(at=at, ended=_ended(amounts[at])) for at in starts),
        throughput=running + before * (1 - (now - current) / AN_HOUR),
        bought_today=_bought(today),
    )


def known_workers(engine: Engine) -> list[tuple[WorkerInfo, str]]:
    """Return the workers of the last 24 hours with their state, `alive`, `lost` or `ended`, in that order."""
    now, states = engine.store.now(), ("alive", "lost", "ended")
    found = [
        (one, "ended" if one.ended else "alive" if one.last_heartbeat_at >= now - engine.queue.lease else "lost")
        for one in engine.store.workers(within=FORGET_WORKERS_AFTER_SECONDS)
    ]
    return sorted(found, key=lambda pair: (states.index(pair[1]), -pair[0].last_heartbeat_at, pair[0].id))


def _workers(engine: Engine, now: float) -> WorkerFigures:
    known = engine.store.workers(within=FORGET_WORKERS_AFTER_SECONDS)
    alive = [one for one in known if not one.ended and one.last_heartbeat_at >= now - engine.queue.lease]
    latest = max(known, key=lambda worker: worker.last_heartbeat_at, default=None)
    return WorkerFigures(
        alive=len(alive),
        concurrency=sum(worker.concurrency for worker in alive),
        steps=sum(worker.steps for worker in alive),
        uptime=max((now - worker.started_at for worker in alive), default=None),
        seen=max(0.0, now - latest.last_heartbeat_at) if latest else None,
        ended=latest is not None and latest.ended,
    )


def _services(
    engine: Engine, quotas: Mapping[str, Mapping[str, Any]], by_hour: Mapping[tuple[str, str], _Amounts], now: float
) -> list[ServiceFigures]:
    """Return the figures of each service; the last entry covers jobs for which no service was chosen."""
    ever = _grouped(engine.store.totals(EVER))
    errors = engine.store.last_errors()
    slots = engine.slots
    sold = [service for _, service in ever]
    names = [name for name in dict.fromkeys((*slots, *quotas, *sorted(sold))) if name != AUTO]
    midnight = hour(now // A_DAY * A_DAY)
    found = []
    for name in (*names, AUTO):
        day = _added(sums for (_, service), sums in by_hour.items() if service == name)
        today = _added(sums for (at, service), sums in by_hour.items() if service == name and at >= midnight)
        total = ever.get(("", name), {})
        in_flight = engine.store.in_flight(name)
        unattended = engine.unattended_slots(name) if in_flight else UnattendedSlots()
        found.append(
            ServiceFigures(
                name=name,
                **_gate(quotas.get(name)),
                in_flight=in_flight,
                ended_in_flight=len(unattended.ended),
                in_doubt=unattended.in_doubt,
                unattended_for=max(0.0, unattended.until - now),
                slots=slots.get(name),
                day=_ended(day),
                making=_making(day),
                bought_today=_bought(today),
                last_error=errors.get(name),
                last_failure=_failure(engine.store, errors.get(name)),
                ended={status.value: int(total.get(status.value, 0)) for status in Status if status in FINAL},
                made=_making(total),
                bought=_bought(total),
            )
        )
    return found


def _failure(store: JobStore, error: LastError | None) -> LastError | None:
    """Return an error if its job has failed; a retry or a held job has an error too."""
    record = store.get(error.job_id) if error else None
    return error if record is not None and record.status is Status.FAILED else None


def _schedules(store: JobStore, now: float) -> Iterator[ScheduleFigures]:
    for one in store.schedules():
        if not one.paused:
            left = one.topics_left
            slots = unplanned(one, max(now, one.planned_until), A_DAY) if left is not None else 0
            yield ScheduleFigures(
                name=one.name,
                topics_left=left,
                slots=slots,
                # Finding a day that is far off would take long.
                runs_out_at=runs_out_at(one, now) if left is not None and left < slots else None,
                problem=one.problem,
            )


def _fallback(engine: Engine) -> FallbackFigures | None:
    name = engine.settings.fallback
    if not name or engine.queue.name not in (*PUSHED, name):
        return None
    return FallbackFigures(
        queue_type=name,
        unfinished=engine.store.status_counts(name).unfinished,
        alive=count_alive(engine.store, name, engine.queue.lease),
    )


def _disks(engine: Engine, made: int) -> tuple[DiskFigures, ...]:
    """Return the file systems of videos and records; `made` is the number of videos of the last 24 hours."""
    free = {"videos": engine.output.free_space(), "records": engine.store.free_space()}
    size = _usual_size(engine) if made and engine.output.local and not engine.settings.keep_videos.limited else 0.0
    return tuple(
        DiskFigures(place=place, free=space, days_left=space / (made * size) if size and place == "videos" else None)
        for place, space in free.items()
        if space is not None
    )


def _usual_size(engine: Engine) -> float:
    """Return the mean size in bytes of the latest videos."""
    latest = engine.store.page(JobFilter(statuses=(Status.SUCCEEDED,)), limit=LATEST).records
    sizes = [record.result.size for record in latest if record.result]
    return sum(sizes) / len(sizes) if sizes else 0.0


def _gate(quota: Mapping[str, Any] | None) -> dict[str, Any]:
    if quota is None:
        return {}
    return {
        "state": quota["state"],
        "why": quota["why"] or "",
        "opens_in": quota["opens_in"],
        "pace": quota["pace"],
        "windows": _windows(quota["windows"]),
    }


def _windows(windows: Iterable[Mapping[str, Any]]) -> tuple[WindowFigures, ...]:
    return tuple(
        WindowFigures(
            name=window["window"],
            used=window["used"],
            limit=window["limit"],
            limit_at_pace=window["limit_at_pace"],
            frees_in=window["frees_in"] or 0.0,
        )
        for window in windows
    )


def _ended(amounts: _Amounts) -> Ended:
    return Ended(succeeded=_now_in(amounts, Status.SUCCEEDED), failed=_now_in(amounts, Status.FAILED))


def _now_in(amounts: _Amounts, status: Status) -> int:
    """Return the number of jobs that ended with a status and still have it."""
    return int(amounts.get(status.value, 0) - amounts.get(f"{RETRIED}{status.value}", 0))


def _bought(amounts: _Amounts) -> PurchaseTotals:
    return PurchaseTotals(
        videos=int(amounts.get("videos", 0)),
        usd=round(amounts.get("usd", 0.0), 6),
        credits=round(amounts.get("credits", 0.0), 6),
        unpriced=int(amounts.get("unpriced", 0)),
    )


def _making(amounts: _Amounts) -> Making:
    sizes = {
        int(name[1:]): amount for name, amount in amounts.items() if name[0] == BUCKET_PREFIX and name[1:].isdigit()
    }
    return Making(
        videos=int(sum(sizes.values())),
        seconds=amounts.get(SECONDS, 0.0),
        sizes=sizes,
        p50=percentile(sizes, 0.5),
        p95=percentile(sizes, 0.95),
    )
