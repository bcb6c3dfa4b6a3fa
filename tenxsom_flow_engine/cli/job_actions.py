"""`retry` and `cancel` for named jobs or all jobs of a status; `jobs resolve` for one held job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import next_step
from tenxsom_flow_engine.cli.console import Exit, confirm, info, print_error, problem
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED, PARTLY, USAGE
from tenxsom_flow_engine.cli.jobs import jobs
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.errors import ActionRefused
from tenxsom_flow_engine.text import plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.jobs import JobRecord, Status

#: Maximum number of jobs printed one by one; for the others only the number is printed.
MAX_LISTED = 10


@click.command()
@options.job_arguments
@click.option("--failed", is_flag=True, help="Retry all failed jobs.")
@options.job_filters
@options.yes
@options.queue_type
def retry(
    job_ids: tuple[str, ...], failed: bool, service: str | None, channel: str | None, yes: bool, queue_type: str | None
) -> int:
    """Retry failed or cancelled jobs.

    A paid job continues from its ticket; it is bought again only if the service reported that the generation failed.
    If a purchase could not be confirmed, the job is held: use `jobs resolve`.
    """
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        chosen = _choose(engine, job_ids, Status.FAILED if failed else None, "--failed", service, channel)
        if not chosen:
            info("no failed jobs" + " match" * bool(service or channel))
            return DONE
        if failed and not yes:
            _confirm("retry", chosen)
        return _apply(engine.retry, chosen, lambda record: f"is {record.status} again{_continuation(record)}")


@click.command()
@options.job_arguments
@click.option("--scheduled", is_flag=True, help="Cancel all jobs that are scheduled for later.")
@options.job_filters
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
    """Cancel jobs.

    A service that is already rendering completes the video and charges for it; the job keeps its ticket and cost.
    """
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        chosen = _choose(engine, job_ids, Status.SCHEDULED if scheduled else None, "--scheduled", service, channel)
        if not chosen:
            info("no scheduled jobs" + " match" * bool(service or channel))
            return DONE
        if scheduled and not yes:
            _confirm("cancel", chosen)
        return _apply(engine.cancel, chosen, lambda record: f"is cancelled{_cost_note(record)}")


@jobs.command()
@options.job_argument
@click.option("--resubmit", is_flag=True, help="It was not accepted: send a new one.")
@click.option("--ticket", metavar="ID", help="It was accepted: continue with this id of the service.")
@click.option("--account", metavar="NAME", help="With --ticket: the account, if the service has several.")
@click.option("--give-up", is_flag=True, help="Mark the job as failed; whether it was paid stays unknown.")
@options.queue_type
def resolve(
    job_id: str, resubmit: bool, ticket: str | None, account: str | None, give_up: bool, queue_type: str | None
) -> None:
    """Decide whether the paid request of a held job was accepted.

    A job is held when neither the engine nor the service's API can tell whether it was bought. Check your account at
    the service, then pass the result. `show JOB` prints the reference that the request carried.
    """
    if [resubmit, ticket is not None, give_up].count(True) != 1:
        raise click.UsageError("pass exactly one of --resubmit, --ticket ID, --give-up")
    if account is not None and ticket is None:
        raise click.UsageError("--account needs --ticket")
    from tenxsom_flow_engine.jobs import Ticket
    from tenxsom_flow_engine.jobs.outcomes import GiveUp, Resubmit

    decision = Resubmit() if resubmit else GiveUp() if ticket is None else Ticket(ticket, account=account or "")
    with session(queue_type) as engine:
        try:
            record = engine.resolve(job_id, decision)
        except ActionRefused as refusal:
            raise Exit(problem(refusal.message, next_step(refusal)), USAGE) from refusal
    info(f"job {job_id} is {record.status}{_continuation(record)}")


def _choose(
    engine: Engine,
    job_ids: tuple[str, ...],
    status: Status | None,
    flag: str,
    service: str | None,
    channel: str | None,
) -> list[str]:
    """Return the given ids, or the ids of all jobs of a status."""
    from tenxsom_flow_engine.operations.bulk import matching
    from tenxsom_flow_engine.store.values import JobFilter

    if bool(job_ids) == (status is not None):
        raise click.UsageError(f"name the jobs, or pass {flag} for all of them")
    if status is None:
        if service or channel:
            raise click.UsageError(f"--service and --channel need {flag}")
        return list(dict.fromkeys(job_ids))
    wanted = JobFilter(statuses=(status,), service=service, channel=channel, queue=engine.queue.name)
    return [record.job_id for records in matching(engine.store, wanted) for record in records]


def _confirm(verb: str, chosen: list[str]) -> None:
    """Show how many jobs a command would change, and ask for confirmation."""
    number = plural(len(chosen), "job")
    confirm(f"{verb} {number}?", f"this would {verb} {number}; pass --yes to confirm")


def _apply(action: Callable[[str], JobRecord], chosen: list[str], result: Callable[[JobRecord], str]) -> int:
    """Apply an action to each job, continue after a refusal, and return the exit code."""
    from tenxsom_flow_engine.operations.bulk import Refused, each

    refused = 0
    for number, outcome in enumerate(each(chosen, action)):
        if isinstance(outcome, Refused):
            refused += 1
            print_error(outcome.error.message, next_step(outcome.error))
        elif number < MAX_LISTED:
            info(f"job {outcome.job_id} {result(outcome)}")
    if len(chosen) > 1:
        info(f"{len(chosen) - refused:,} of {plural(len(chosen), 'job')} done")
    return DONE if not refused else FAILED if refused == len(chosen) else PARTLY


def _continuation(record: JobRecord) -> str:
    """Describe the next step of a requeued job, for the end of a sentence."""
    from tenxsom_flow_engine.jobs import FINAL, Step

    if record.status in FINAL:
        return ""
    match record.step:
        case Step.SUBMIT:
            return " and will be submitted"
        case Step.LOOKUP:
            return "; its paid create is looked up first"
        case _:
            return " and continues from its ticket"


def _cost_note(record: JobRecord) -> str:
    """Say that a cancelled job is still charged, for the end of a sentence."""
    costs = record.cost is not None and bool(record.cost.usd or record.cost.credits)
    return "; its service still completes the order and charges for it" if costs and record.holds_slot else ""
