"""`jobs`: list jobs. `job_actions` adds `jobs resolve`."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.session import session


@click.group(invoke_without_command=True, subcommand_metavar="[resolve JOB ...]")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(options.STATUSES), metavar="STATUS",
    help=f"Only jobs with this status; can be given several times: {', '.join(options.STATUSES)}.",
)  # fmt: skip
@options.job_filters
@click.option("--text", help="Only jobs whose topic or id contains this text.")
@click.option("--since", type=options.Instant(), help="Only jobs added at this time or later.")
@click.option("--until", type=options.Instant(), help="Only jobs added before this time (exclusive).")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="List at most this many.")
@click.option("--after", metavar="CURSOR", help="Continue where the previous list ended.")
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
    """List jobs, newest first; `jobs resolve` decides a held job."""
    if context.invoked_subcommand:
        _refuse_list_options(context)
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
        info("no jobs" + (" match" if wanted != JobFilter() else f" yet; add one with: {program()} single"))
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
        # A search stops after a maximum number of records, even if the list is not full.
        info(
            f"{'more jobs match' if len(rows) == limit else 'older jobs were not searched yet'}: --after {page.cursor}"
        )


def _refuse_list_options(context: click.Context) -> None:
    """Raise `UsageError` for a list option before a subcommand, where it would have no effect."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{parameter.opts[0]} filters the list; options of {context.invoked_subcommand} follow its name"
            )
