"""`jobs`, `show`, `open`: looking at the jobs at hand; `jobs resolve`: deciding on one that is held."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import DONE, FAILED, USAGE, Exit, info, out, print_error, problem
from tenxsom_flow_engine.cli.retry_cancel import onward
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.errors import ActionRefused


@click.group(invoke_without_command=True, subcommand_metavar="[resolve JOB ...]")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(options.STATUSES), metavar="STATUS",
    help=f"Only these; may be given several times: {', '.join(options.STATUSES)}.",
)  # fmt: skip
@options.narrowing
@click.option("--text", help="Only jobs with this in their topic or id.")
@click.option("--since", type=options.Instant(), help="Only jobs added then or later.")
@click.option("--until", type=options.Instant(), help="Only jobs added before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--after", metavar="CURSOR", help="Go on from where the last list ended.")
@options.queue_type
@options.as_json
@click.pass_context
def jobs(
    context: click.Context,
    statuses: tuple[str, ...],
    service: str | None,
    channel: str | None,
    text: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    after: str | None,
    queue_type: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first; or decide on one that is held: `jobs resolve`."""
    if context.invoked_subcommand:
        _nothing_given(context)
        return
    from tenxsom_flow_engine.cli.format import job_as_dict, print_json, short_time, table
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.store.values import JobFilter

    wanted = JobFilter(
        statuses=tuple(map(Status, statuses)), service=service, channel=channel, text=text,
        added_from=since, added_before=until,
    )  # fmt: skip
    with session(queue_type) as engine:
        page = engine.store.page(wanted, limit=limit, cursor=after)
        now = engine.store.now()
    if as_json:
        print_json({"jobs": [job_as_dict(record, now) for record in page.records], "next": page.cursor})
        return
    if not page.records and page.cursor is None:
        info("no jobs" + (" match" if wanted != JobFilter() else " yet; add one with: run_flow_enhanced.py single"))
        return
    rows = []
    for record in page.records:
        status = record.status_at(now)
        start = short_time(iso(record.due)) if status is Status.SCHEDULED and record.due is not None else ""
        added = short_time(iso(record.added_at))
        rows.append([record.job_id, status, record.effective_service, added, start, record.job.topic])
    head = ("JOB", "STATUS", "SERVICE", "ADDED (UTC)", "DUE (UTC)", "TOPIC")
    if rows:
        out(table(rows, head=head, may_cut=("TOPIC",)))
    if page.cursor:
        # A list ends early where a search would have to look at too many jobs at once.
        info(
            f"{'there are more' if len(rows) == limit else 'older jobs were not looked at yet'}: --after {page.cursor}"
        )


def _nothing_given(context: click.Context) -> None:
    """Raise `UsageError` if an option of the list stands before a subcommand, where it would do nothing."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} belongs to the list, or behind {context.invoked_subcommand}")


@jobs.command()
@options.job_argument
@click.option("--resubmit", is_flag=True, help="Nothing was bought: order it anew.")
@click.option("--ticket", metavar="ID", help="It was bought: go on from the service's id of it.")
@click.option("--account", metavar="NAME", help="The account that holds it, where the service has several.")
@click.option("--give-up", is_flag=True, help="Let it be: the job fails, and whether it was paid stays open.")
@options.queue_type
def resolve(
    job_id: str, resubmit: bool, ticket: str | None, account: str | None, give_up: bool, queue_type: str | None
) -> None:
    """Say what came of a paid create whose outcome is not known.

    Such a job is held: neither the engine nor its service could tell whether it was bought. Look at the service, then
    say what you found. `show JOB` has the reference that the create carried.
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
            raise Exit(problem(refusal.message, refusal.next_step), USAGE) from refusal
    info(f"job {job_id} is {record.status}{onward(record)}")


@click.command()
@options.job_argument
@options.queue_type
@options.as_json
def show(job_id: str, queue_type: str | None, as_json: bool) -> None:
    """Show all that is known about a job: facts, files, timeline, and what to do about an error."""
    from tenxsom_flow_engine.cli.format import job_as_dict, print_json

    with session(queue_type) as engine:
        facts = job_as_dict(engine.store.require(job_id), engine.store.now())
    print_json(facts) if as_json else _print_facts(facts)


@click.command("open", epilog='Example: mpv "$(run_flow_enhanced.py open JOB)"')
@options.job_argument
@options.queue_type
def open_(job_id: str, queue_type: str | None) -> int:
    """Print the path of a job's video."""
    with session(queue_type) as engine:
        record = engine.store.require(job_id)
        status = record.status_at(engine.store.now())
    if record.result is None:
        print_error(f"job {job_id} has no video, it is {status}", f"see: run_flow_enhanced.py show {job_id}")
        return FAILED
    if not Path(record.result.path).is_file():
        print_error(f"the video of job {job_id} is gone: {record.result.path}", "it was moved or deleted")
        return FAILED
    out(record.result.path)
    return DONE


_PLAIN = (
    "job_id", "status", "topic", "prompt", "style", "service", "quality", "channel", "duration", "aspect_ratio",
    "queue", "added_at", "due", "finished_at", "worker", "attempts",
)  # fmt: skip


def _print_facts(facts: dict[str, Any]) -> None:
    for name in _PLAIN:
        if facts[name] not in (None, 0):
            _line(name.replace("_", " "), facts[name])
    if facts["submission"]["id"]:
        ticket = facts["submission"]["ticket"]
        order = f"{facts['submission']['state']}, reference {facts['submission']['id']}"
        _line("submission", order + (f", ticket {ticket}" if ticket else ""))
    if cost := facts["cost"]:
        known = [f"USD {cost['usd']:.2f}"] if cost["usd"] is not None else []
        known += [f"{cost['credits']:,.10g} credits"] if cost["credits"] is not None else []
        _line("cost", (", ".join(known) or "unknown") + (" (estimated)" if cost["estimated"] else ""))
    if len(facts["purchases"]) > 1:
        for purchase in facts["purchases"]:
            _line("bought", f"{purchase['at']} at {purchase['service']} as {purchase['submission']}")
    if video := facts["video"]:
        size = f"{video['width']}x{video['height']}, {video['duration']:.1f} s, {video['size'] / 1e6:.1f} MB"
        _line("video", size)
        folder = Path(video["path"]).parent
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            _line("", path)
    if error := facts["error"]:
        _line("error", f"{error['message']} [{error['code']}]")
        if error["next_step"]:
            _line("next step", error["next_step"])
    if facts["order"]:
        out("order, as it was sent last")
        out(indent(json.dumps(facts["order"], ensure_ascii=False, indent=2), "  "))
    out("timeline")
    for event in facts["events"]:
        times = f"  (x{event['times']}, last {event['last_at'][11:]})" if event["times"] > 1 else ""
        worker = f"  by {event['worker']}" if event["worker"] else ""
        out(f"  {event['at']}  {event['what']}{': ' + event['detail'] if event['detail'] else ''}{times}{worker}")


def _line(name: str, value: object) -> None:
    out(f"{name:13} {value}")
