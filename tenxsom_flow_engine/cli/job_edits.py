"""`edit`, `run-now` and `reschedule`: change a job that has bought nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import next_step
from tenxsom_flow_engine.cli.console import Exit, confirm, info, problem
from tenxsom_flow_engine.cli.exit_codes import USAGE
from tenxsom_flow_engine.cli.job_actions import at_price
from tenxsom_flow_engine.cli.job_names import the_job
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.errors import ActionRefused, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.jobs import JobRecord
    from tenxsom_flow_engine.jobs.outcomes import Times
    from tenxsom_flow_engine.planning.plan import Price

_at = click.option(
    "--at", type=options.Instant(), help="Start at: 2026-12-24T18:00, by default in this machine's zone."
)
_start_by = click.option(
    "--start-by", type=options.StartBy(), metavar="TIME",
    help="New latest start, as a time after it is due: 6h; never removes it.",
)  # fmt: skip


@click.command()
@options.job_argument
@options.job_changes
@_at
@_start_by
@options.yes
@options.queue_type
def edit(
    job_id: str,
    script: str | None,
    to_service: str | None,
    at: float | None,
    start_by: float | None,
    yes: bool,
    queue_type: str | None,
    **fields: Any,
) -> None:
    """Change a job that has bought nothing.

    A waiting job keeps its place and its times, unless --at or --start-by changes them. A failed or cancelled job is
    changed and stays as it is, or with --at is retried then. Asks with the price if that changes.
    """
    from tenxsom_flow_engine.jobs.scripts import with_script

    changes = options.changed(fields, to_service)
    if not changes and script is None and at is None and start_by is None:
        raise click.UsageError("pass at least one change, such as --prompt TEXT")
    with session(queue_type) as engine:
        record = the_job(engine.store, job_id)
        job_id = record.job_id
        if at is None and start_by is not None and record.due is None and _unbought(record):
            raise click.UsageError("a failed or cancelled job has no latest start; pass --at too")
        if script is not None:
            changes |= with_script(record.job.options, script)
        times = _times(engine, record, at, start_by)
        before, after = _price_before(record), _price(engine, record, changes)
        dearer = str(before) != str(after) or (times is not None and record.due is None)
        if not yes and not after.free and dearer and _unbought(record):
            change = f"change job {job_id}, which then buys its video {at_price(after)}"
            confirm(f"{change}?", f"this would {change}; pass --yes to confirm")
        after_record = _checked(lambda: engine.edit(job_id, changes, times))
        _report(engine, after_record, "is changed" if changes else "is rescheduled", after)


@click.command("run-now")
@options.job_argument
@options.yes
@options.queue_type
def run_now(job_id: str, yes: bool, queue_type: str | None) -> None:
    """Start a waiting job now, instead of at its time. Limits and budgets still apply."""
    with session(queue_type) as engine:
        record = the_job(engine.store, job_id)
        job_id = record.job_id
        price = _price(engine, record, {})
        if not yes and not price.free and record.due is not None and _unbought(record):
            start = f"start job {job_id} now, and buy its video {at_price(price)}"
            confirm(f"{start}?", f"this would {start}; pass --yes to confirm")
        _report(engine, _checked(lambda: engine.run_now(job_id)), "starts now", price)


@click.command()
@options.job_argument
@_at
@options.delay
@_start_by
@options.yes
@options.queue_type
def reschedule(
    job_id: str, at: float | None, delay: float | None, start_by: float | None, yes: bool, queue_type: str | None
) -> None:
    """Start a job that has bought nothing at another time.

    A failed or cancelled job, also one that expired, is retried then.
    """
    if (at is None) == (delay is None):
        raise click.UsageError("pass either --at or --delay")
    with session(queue_type) as engine:
        record = the_job(engine.store, job_id)
        job_id = record.job_id
        due = at if delay is None else engine.store.now() + delay
        price = _price(engine, record, {})
        if not yes and not price.free and record.due is None and _unbought(record):
            again = f"retry job {job_id} then, and buy its video {at_price(price)}"
            confirm(f"{again}?", f"this would {again}; pass --yes to confirm")
        times = _times(engine, record, due, start_by)
        assert times is not None
        _report(engine, _checked(lambda: engine.reschedule(job_id, times)), "is rescheduled", price)


def _times(engine: Engine, record: JobRecord, at: float | None, start_by: float | None) -> Times | None:
    """Return the new times of a job; `start_by` is in seconds after it is due. Raises `InvalidInput`."""
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs.outcomes import Times
    from tenxsom_flow_engine.planning.past import is_past
    from tenxsom_flow_engine.planning.starts import LatestStart

    if at is None and start_by is None:
        return None
    now = engine.store.now()
    if at is not None and is_past(at, now):
        raise InvalidInput("at", f"{iso(at)} lies in the past", next_step=f"start it with: {program()} run-now JOB")
    latest = LatestStart(now, start_by).of(record.due if at is None else at)
    return Times(at, latest)


def _unbought(record: JobRecord) -> bool:
    """Return whether a job can be changed; otherwise the command is refused, and asks nothing."""
    from tenxsom_flow_engine.jobs import Status, lifecycle

    return lifecycle.buys_again(record) and record.status is not Status.SUCCEEDED and record.lease is None


def _price_before(record: JobRecord) -> Price:
    from tenxsom_flow_engine.planning.plan import Price

    return Price.of([(record.cost.usd if record.cost else None, record.max_usd)])


def _price(engine: Engine, record: JobRecord, changes: dict[str, Any]) -> Price:
    """Return the price of a job with changed fields. Raises `InvalidInput` if no service can make it."""
    import msgspec

    from tenxsom_flow_engine.operations.bulk import price_of

    terms = engine.new_terms(record, changes)
    if terms is not None:
        record = msgspec.structs.replace(record, job=terms.job, cost=terms.cost)
    return price_of([record], engine.services)


def _checked(act: Callable[[], JobRecord]) -> JobRecord:
    try:
        return act()
    except ActionRefused as refusal:
        raise Exit(problem(refusal.message, next_step(refusal)), USAGE) from refusal


def _report(engine: Engine, record: JobRecord, what: str, price: Price) -> None:
    """Say what became of a job, when it starts, and its price."""
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs import FINAL

    costs = "" if price.free else f", {price}"
    if record.status in FINAL:
        retry = f"retry it with: {program()} retry {record.job_id}"
        info(f"job {record.job_id} {what} and still {record.status}{costs}; {retry}")
        return
    later = record.due is not None and record.due > engine.store.now()
    start = f" and starts {iso(record.due)}" if later and record.due is not None else ""
    latest = f", at the latest {iso(record.expires_at)}" if record.expires_at is not None else ""
    info(f"job {record.job_id} {what}{start}{latest}{costs}")
