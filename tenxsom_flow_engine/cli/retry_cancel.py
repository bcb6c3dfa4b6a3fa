"""`retry`, `cancel`: acting on jobs, one by one or all of a kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import DONE, FAILED, PARTLY, confirm, count, info, print_error
from tenxsom_flow_engine.cli.session import session

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.jobs import JobRecord, Status

#: Jobs that are told one by one; of more, only the number is.
MOST_TOLD = 10


@click.command()
@options.job_arguments
@click.option("--failed", is_flag=True, help="All failed jobs.")
@options.narrowing
@options.yes
@options.queue_type
def retry(
    job_ids: tuple[str, ...], failed: bool, service: str | None, channel: str | None, yes: bool, queue_type: str | None
) -> int:
    """Try failed or cancelled jobs again.

    A job that was paid goes on from its ticket. It is ordered anew only if its service said that the generation failed.
    Where nobody knows whether it was paid, say so first: `jobs resolve`.
    """
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        chosen = _choose(engine, job_ids, Status.FAILED if failed else None, "--failed", service, channel)
        if not chosen:
            info("no job has failed" + " there" * bool(service or channel))
            return DONE
        _ask("retry", chosen, all_of_a_kind=failed, yes=yes)
        return _act(chosen, engine.retry, lambda record: f"is {record.status} again{onward(record)}")


@click.command()
@options.job_arguments
@click.option("--scheduled", is_flag=True, help="All jobs that are scheduled for later.")
@options.narrowing
@options.yes
@options.queue_type
def cancel(
    job_ids: tuple[str, ...],
    scheduled: bool,
    service: str | None,
    channel: str | None,
    yes: bool,
    queue_type: str | None,
) -> int:
    """Take jobs back. What a service renders already goes on there, and is paid; its ticket and cost are kept."""
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        chosen = _choose(engine, job_ids, Status.SCHEDULED if scheduled else None, "--scheduled", service, channel)
        if not chosen:
            info("no job is scheduled" + " there" * bool(service or channel))
            return DONE
        _ask("cancel", chosen, all_of_a_kind=scheduled, yes=yes)
        return _act(chosen, engine.cancel, lambda record: f"is cancelled{_paid(record)}")


def _choose(
    engine: Engine,
    job_ids: tuple[str, ...],
    status: Status | None,
    flag: str,
    service: str | None,
    channel: str | None,
) -> list[str]:
    """Return the ids that are named, or those of all jobs of a status."""
    from tenxsom_flow_engine.operations.bulk import matching
    from tenxsom_flow_engine.store.values import JobFilter

    if bool(job_ids) == (status is not None):
        raise click.UsageError(f"name the jobs, or say {flag} for all of them")
    if status is None:
        if service or channel:
            raise click.UsageError(f"--service and --channel go with {flag}")
        return list(dict.fromkeys(job_ids))
    wanted = JobFilter(statuses=(status,), service=service, channel=channel, queue=engine.queue.name)
    return [record.job_id for records in matching(engine.store, wanted) for record in records]


def _ask(verb: str, chosen: list[str], *, all_of_a_kind: bool, yes: bool) -> None:
    """Show how many jobs a sweeping command means, and have a person agree."""
    if all_of_a_kind and not yes:
        jobs = count(len(chosen), "job")
        confirm(f"{verb} {jobs}?", f"this would {verb} {jobs}; say --yes if that is meant")


def _act(chosen: list[str], act: Callable[[str], JobRecord], done: Callable[[JobRecord], str]) -> int:
    """Act on each job, go on where one is refused, and return the exit code."""
    from tenxsom_flow_engine.operations.bulk import Refused, each

    refused = 0
    for number, outcome in enumerate(each(chosen, act)):
        if isinstance(outcome, Refused):
            refused += 1
            print_error(outcome.error.message, outcome.error.next_step)
        elif number < MOST_TOLD:
            info(f"job {outcome.job_id} {done(outcome)}")
    if len(chosen) > 1:
        info(f"{len(chosen) - refused:,} of {count(len(chosen), 'job')} done")
    return DONE if not refused else FAILED if refused == len(chosen) else PARTLY


def onward(record: JobRecord) -> str:
    """Return how a job that was put in again goes on."""
    from tenxsom_flow_engine.jobs import FINAL, Step

    if record.status in FINAL:
        return ""
    match record.step:
        case Step.SUBMIT:
            return " and will be ordered"
        case Step.LOOKUP:
            return "; what came of its paid create is looked up first"
        case _:
            return " and goes on from its ticket"


def _paid(record: JobRecord) -> str:
    costs = record.cost is not None and bool(record.cost.usd or record.cost.credits)
    return "; what was ordered goes on at its service, and is paid" if costs and record.holds_slot else ""
