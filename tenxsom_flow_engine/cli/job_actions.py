"""`retry` and `cancel` for named jobs or all jobs of a status; `jobs resolve` for one held job."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.advice import next_step
from tenxsom_flow_engine.cli.console import Exit, confirm, info, print_error, problem
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED, PARTLY, USAGE
from tenxsom_flow_engine.cli.job_names import job_ids as named
from tenxsom_flow_engine.cli.job_names import the_job
from tenxsom_flow_engine.cli.jobs import jobs
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.errors import ActionRefused
from tenxsom_flow_engine.text import plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.jobs import JobRecord, Status
    from tenxsom_flow_engine.planning.plan import Price

#: Maximum number of jobs printed one by one; for the others only the number is printed.
MAX_LISTED = 10


@click.command()
@options.job_arguments
@click.option("--failed", is_flag=True, help="Retry all failed jobs.")
@click.option("--expired", is_flag=True, help="Retry all jobs that expired, because they could not start in time.")
@options.job_filters
@options.job_changes
@options.yes
@options.queue_type
def retry(
    job_ids: tuple[str, ...],
    failed: bool,
    expired: bool,
    service: str | None,
    channel: str | None,
    script: str | None,
    to_service: str | None,
    yes: bool,
    queue_type: str | None,
    **fields: Any,
) -> int:
    """Retry failed or cancelled jobs, changed or not.

    A paid job continues from its ticket; it is bought again only if the service reported that the generation failed,
    and after a question with the price. Only a job that is bought again can be changed. If a purchase could not be
    confirmed, the job is held: use `jobs resolve`.
    """
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.jobs.scripts import with_script

    changes = options.changed(fields, to_service)
    if (changes or script is not None) and len(job_ids) != 1:
        raise click.UsageError("name exactly one job to change it")
    if failed and expired:
        raise click.UsageError("--failed and --expired exclude each other; pass one of them")
    kind = "expired" if expired else "failed"
    with session(queue_type) as engine:
        status = Status.CANCELLED if expired else Status.FAILED if failed else None
        chosen = _choose(engine, job_ids, status, "--failed or --expired", service, channel)
        if expired:
            chosen = [record.job_id for record in engine.store.get_each(chosen) if record.expired]
        if not chosen:
            info(f"no {kind} jobs" + " match" * bool(service or channel))
            return DONE
        if script is not None:
            changes |= with_script(engine.store.require(chosen[0]).job.options, script)
        if not yes:
            _confirm_retry(engine, chosen, changes, always=failed or expired)
        return _apply(
            lambda job_id: engine.retry(job_id, changes),
            chosen,
            lambda record: f"is {record.status} again{continuation(record)}",
        )


def _confirm_retry(engine: Engine, chosen: list[str], changes: Mapping[str, Any], *, always: bool) -> None:
    """Ask for confirmation, with the price, if something is bought again for money; `always`: also otherwise."""
    import msgspec

    from tenxsom_flow_engine.operations.bulk import Act, plan

    records = engine.store.get_each(chosen)
    if changes and records and (terms := engine.new_terms(records[0], changes)):
        records = [msgspec.structs.replace(records[0], job=terms.job, cost=terms.cost)]
    effect = plan(Act.RETRY, [records], engine.services, engine.store.now(), most=len(chosen), seconds=math.inf)
    jobs_ = f"job {chosen[0]}" if len(chosen) == 1 else plural(len(chosen), "job")
    if effect.price.free:
        if always:
            confirm(f"retry {jobs_}?", f"this would retry {jobs_}; pass --yes to confirm")
        return
    buys = f"retry {jobs_}, and buy {plural(effect.ordered, 'video')} again {at_price(effect.price)}"
    confirm(f"{buys}?", f"this would {buys}; pass --yes to confirm")


@click.command()
@options.job_arguments
@click.option("--scheduled", is_flag=True, help="Cancel all scheduled jobs that have not started, also overdue ones.")
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

    A service that is already rendering completes the video and charges for it; the job keeps its ticket and cost. Its
    in-flight slot stays occupied until the service reports the end of the render.
    """
    from tenxsom_flow_engine.jobs import Status

    with session(queue_type) as engine:
        chosen = _choose(engine, job_ids, Status.SCHEDULED if scheduled else None, "--scheduled", service, channel)
        if not chosen:
            info("no scheduled jobs" + " match" * bool(service or channel))
            return DONE
        if scheduled and not yes:
            _confirm("cancel", chosen)
        return _apply(engine.cancel, chosen, lambda record: f"is cancelled{_cancel_note(engine, record)}")


@jobs.command()
@options.job_argument
@click.option("--resubmit", is_flag=True, help="It was not accepted: send a new one.")
@click.option("--ticket", metavar="ID", help="It was accepted: continue with this id of the service.")
@click.option("--account", metavar="NAME", help="With --ticket: the account, if the service has several.")
@click.option(
    "--service",
    metavar="NAME",
    help="With --ticket: the service, for a job with service auto.",
    shell_complete=options.services,
)
@click.option("--force", is_flag=True, help="With --ticket: do not ask the service whether it knows the ticket.")
@click.option("--give-up", is_flag=True, help="Mark the job as failed; whether it was paid stays unknown.")
@click.option("--withdraw", is_flag=True, help="The ticket that failed before a retry was wrong: remove its purchase.")
@options.yes
@options.queue_type
def resolve(
    job_id: str,
    resubmit: bool,
    ticket: str | None,
    account: str | None,
    service: str | None,
    force: bool,
    give_up: bool,
    withdraw: bool,
    yes: bool,
    queue_type: str | None,
) -> None:
    """Decide whether the paid request of a held job was accepted.

    A job is held when neither the engine nor the service's API can tell whether it was bought. Check your account at
    the service, then pass the result. `show JOB` prints the reference that the request carried. Until the video exists,
    a wrong ticket can be corrected: pass another one, or --resubmit. If its generation failed and the job was retried
    since, pass --withdraw.
    """
    if [resubmit, ticket is not None, give_up, withdraw].count(True) != 1:
        raise click.UsageError("pass exactly one of --resubmit, --ticket ID, --give-up, --withdraw")
    for flag, given in (("--account", account is not None), ("--service", service is not None), ("--force", force)):
        if given and ticket is None:
            raise click.UsageError(f"{flag} needs --ticket")
    from tenxsom_flow_engine.jobs import Ticket
    from tenxsom_flow_engine.jobs.outcomes import GiveUp, Resubmit, Withdraw

    decision = (
        Ticket(ticket, account=account or "")
        if ticket is not None
        else Resubmit()
        if resubmit
        else GiveUp()
        if give_up
        else Withdraw()
    )
    with session(queue_type) as engine:
        job_id = the_job(engine.store, job_id).job_id
        if resubmit and not yes:
            _confirm_resubmit(engine, job_id)
        try:
            record = engine.resolve(job_id, decision, service_name=service or "", force=force)
        except ActionRefused as refusal:
            raise Exit(problem(refusal.message, next_step(refusal)), USAGE) from refusal
    info(f"job {job_id} is {record.status}{continuation(record)}")


def at_price(price: Price) -> str:
    """Return a price for the end of a question."""
    return "at an unknown price" if price.unknown == price.jobs else f"for {price}"


def _confirm_resubmit(engine: Engine, job_id: str) -> None:
    """Ask for confirmation, with the price, if submitting the job again is possible and costs money."""
    from tenxsom_flow_engine.jobs import lifecycle
    from tenxsom_flow_engine.jobs.outcomes import Resubmit
    from tenxsom_flow_engine.operations.bulk import price_of

    record = engine.store.require(job_id)
    try:
        lifecycle.resolve(record, engine.store.now(), Resubmit())
    except ActionRefused:  # the command reports it
        return
    price = price_of([record], engine.services)
    if not price.free:
        buys = f"buy the video of job {job_id} {at_price(price)}"
        confirm(f"{buys}?", f"this would {buys}; pass --yes to confirm")


def _choose(
    engine: Engine,
    job_ids: tuple[str, ...],
    status: Status | None,
    flag: str,
    service: str | None,
    channel: str | None,
) -> list[str]:
    """Return the given ids, or the ids of all jobs of a status."""
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.operations.bulk import matching
    from tenxsom_flow_engine.store.values import JobFilter

    if bool(job_ids) == (status is not None):
        raise click.UsageError(f"name the jobs, or pass {flag} for all of them")
    if status is None:
        if service or channel:
            raise click.UsageError(f"--service and --channel need {flag}")
        return named(engine.store, job_ids)
    # An overdue job is listed as queued, but its record is still that of a scheduled one.
    statuses = (status, Status.QUEUED) if status is Status.SCHEDULED else (status,)
    wanted = JobFilter(statuses=statuses, service=service, channel=channel, queue=engine.queue.name)
    found = (record for records in matching(engine.store, wanted) for record in records)
    return [record.job_id for record in found if record.status is status]


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


def continuation(record: JobRecord) -> str:
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


def _cancel_note(engine: Engine, record: JobRecord) -> str:
    """Say what is known about the purchase and the slot of a cancelled job, for the end of a sentence."""
    from tenxsom_flow_engine.jobs import SubmissionState, lifecycle
    from tenxsom_flow_engine.text import rough_duration

    submission, name = record.submission, record.service or "its service"
    if not (record.holds_slot or lifecycle.in_doubt(record)) or (
        record.cost is not None and record.cost.usd == 0 and not record.cost.credits
    ):
        return ""
    seconds = max(0.0, submission.deadline - engine.store.now())
    slot = f"its in-flight slot is freed when the render ends, at the latest in {rough_duration(seconds)}"
    match submission.state:
        case SubmissionState.INTENT:
            return f"; a worker might be sending its order, and if {name} accepts it, it is charged"
        case SubmissionState.UNKNOWN:
            service = engine.services.get(record.service)
            where = service.lookup_hint if service and service.lookup_hint else f"at {name}"
            return (
                f"; it is unknown whether {name} accepted and charged its order {submission.id}: look for it {where}, "
                f"then pass the result with: {program()} jobs resolve {record.job_id}"
            )
        case _ if submission.by_hand:
            return f"; if the ticket that was entered by hand is right, {name} renders and charges it; {slot}"
        case _:
            charges = " and charges for it" if record.cost and (record.cost.usd or record.cost.credits) else ""
            return f"; {name} completes the render{charges}; {slot}"
