"""`retry` and `cancel`: for named jobs or all jobs of a status. `jobs resolve`: for one job that is held."""

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

#: Jobs that get a line each; of more jobs, only the number is printed.
MAX_LISTED = 10


@click.command()
@options.job_arguments
@click.option("--failed", is_flag=True, help="All failed jobs.")
@options.job_filters
@options.yes
@options.queue_type
def retry(
    job_ids: tuple[str, ...], failed: bool, service: str | None, channel: str | None, yes: bool, queue_type: str | None
) -> int:
    """Try failed or cancelled jobs again.

    A paid job continues from its ticket. It is ordered again only if its service reported that the generation failed.
    For a job that may have been paid, decide first: `jobs resolve`.
    """
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        chosen = _choose(engine, job_ids, Status.FAILED if failed else None, "--failed", service, channel)
        if not chosen:
            info("no job has failed" + " there" * bool(service or channel))
            return DONE
        if failed and not yes:
            _confirm("retry", chosen)
        return _apply(engine.retry, chosen, lambda record: f"is {record.status} again{_continuation(record)}")


@click.command()
@options.job_arguments
@click.option("--scheduled", is_flag=True, help="All jobs that are scheduled for later.")
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
    """Cancel jobs. A service completes and charges for a video that it already renders; ticket and cost are kept."""
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        chosen = _choose(engine, job_ids, Status.SCHEDULED if scheduled else None, "--scheduled", service, channel)
        if not chosen:
            info("no job is scheduled" + " there" * bool(service or channel))
            return DONE
        if scheduled and not yes:
            _confirm("cancel", chosen)
        return _apply(engine.cancel, chosen, lambda record: f"is cancelled{_cost_note(record)}")


@jobs.command()
@options.job_argument
@click.option("--resubmit", is_flag=True, help="It was not bought: order it again.")
@click.option("--ticket", metavar="ID", help="It was bought: continue with the service's id of it.")
@click.option("--account", metavar="NAME", help="The account that holds it, where the service has several.")
@click.option("--give-up", is_flag=True, help="The job fails, and whether it was paid stays unknown.")
@options.queue_type
def resolve(
    job_id: str, resubmit: bool, ticket: str | None, account: str | None, give_up: bool, queue_type: str | None
) -> None:
    """Decide on a held job: say whether its paid request was accepted.

    A job is held when neither the engine nor the service's interface can tell whether it was bought. Look in your
    account at the service, then say what you found. `show JOB` prints the reference that the request carried.
    """
    if [resubmit, ticket is not None, give_up].count(True) != 1:
        raise click.UsageError("say what came of it with one of --resubmit, --ticket ID, --give-up")
    if account is not None and ticket is None:
        raise click.UsageError("--account goes with --ticket")
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


def _confirm(verb: str, chosen: list[str]) -> None:
    """Show how many jobs a command would change, and ask for consent."""
    number = plural(len(chosen), "job")
    confirm(f"{verb} {number}?", f"this would {verb} {number}; say --yes if that is meant")


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
    """Return what happens next to a job that was put back into its queue, for the end of a sentence."""
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


def _cost_note(record: JobRecord) -> str:
    """Return that a cancelled job is charged all the same, for the end of a sentence."""
    costs = record.cost is not None and bool(record.cost.usd or record.cost.credits)
    return "; what was ordered goes on at its service, and is paid" if costs and record.holds_slot else ""
