"""`jobs`: list jobs. `job_actions` adds `jobs resolve`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.session import session

#: The maximum number of ended jobs that a list up to an earlier time examines.
MOST_EXAMINED = 3000

if TYPE_CHECKING:
    from tenxsom_flow_engine.jobs import JobRecord
    from tenxsom_flow_engine.store.base import JobStore
    from tenxsom_flow_engine.store.values import JobFilter


@click.group(invoke_without_command=True, subcommand_metavar="[resolve JOB ...]")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(options.STATUSES), metavar="STATUS",
    help=f"Only jobs with this status; can be given several times: {', '.join(options.STATUSES)}.",
)  # fmt: skip
@options.job_filters
@click.option("--text", help="Only jobs whose topic or id contains this text.")
@click.option(
    "--since",
    type=options.PastInstant(),
    metavar="TIME",
    help="Only jobs added in this time, 2h or 1d, or at this date and time or later; with --sort finished: that ended.",
)
@click.option(
    "--until", type=options.PastInstant(), metavar="TIME",
    help="Only jobs added before this time (exclusive); with --sort finished: that ended before it.",
)  # fmt: skip
@click.option(
    "--sort",
    type=click.Choice(("attention", "due", "added", "finished")),
    help="attention (held, failed, running, next due, latest results), due (earliest first), added or finished (latest "
    "first). Default: attention; with --json or --after: added.",
)
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
    since: options.Moment | None,
    until: options.Moment | None,
    sort: str | None,
    limit: int,
    after: str | None,
    queue_type: str | None,
    as_json: bool,
) -> None:
    """List jobs with time and reason; `jobs resolve` decides a held job."""
    if context.invoked_subcommand:
        _refuse_list_options(context)
        return
    from tenxsom_flow_engine.cli.format import job_as_dict, print_json
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.store.values import JobFilter, Order

    sort = sort or ("added" if as_json or after else "attention")
    if after and sort != "added":
        raise click.UsageError("--after continues a list in the order of adding; leave out --sort")
    wanted = JobFilter(statuses=tuple(map(Status, statuses)), service=service, channel=channel, text=text)
    with session(queue_type) as engine:
        now = engine.store.now()
        start, end = options.instant(since, now), options.instant(until, now)
        if sort == Order.FINISHED:
            records, more, cursor = *_ended(engine.store, wanted, start, end, limit), None
        else:
            wanted = replace(wanted, added_from=start, added_before=end)
            records, more, cursor = _list(engine.store, wanted, sort, limit, after)
    if as_json:
        print_json({"jobs": [job_as_dict(record, now) for record in records], "next": cursor, "more": more})
        return
    if not records and not more:
        info(
            "no jobs"
            + (" match" if wanted != JobFilter() or since or until else f" yet; add one with: {program()} single")
        )
        return
    if records:
        _print_table(records, now, sort)
    if cursor:
        # A search stops after a maximum number of records, even if the list is not full.
        info(f"{'more jobs match' if len(records) == limit else 'older jobs were not searched yet'}: --after {cursor}")
    elif more:
        info("more jobs can match: narrow the list (--status), raise --limit, or see all with --sort added")


def _list(
    store: JobStore, wanted: JobFilter, sort: str, limit: int, after: str | None
) -> tuple[Sequence[JobRecord], bool, str | None]:
    """Return the jobs, whether more can match, and the cursor of the next page in the order of adding."""
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.operations.job_lists import by_attention
    from tenxsom_flow_engine.store.values import Order

    if sort == "added":
        page = store.page(wanted, limit=limit, cursor=after)
        return page.records, page.cursor is not None, page.cursor
    if sort == "attention":
        found = by_attention(store, wanted, limit=limit)
    else:
        if sort == Order.DUE and not wanted.statuses:  # the next step of a rendering job is only a poll
            wanted = replace(wanted, statuses=(Status.SCHEDULED, Status.QUEUED))
        found = store.ordered(Order(sort), wanted, limit=limit)
    return found.records, found.more, None


def _ended(
    store: JobStore, wanted: JobFilter, start: float | None, end: float | None, limit: int
) -> tuple[Sequence[JobRecord], bool]:
    """Return the latest jobs that ended in a time, at most `limit`, and whether more can match."""
    from tenxsom_flow_engine.store.values import Order

    found = store.ordered(Order.FINISHED, wanted, limit=limit if end is None else MOST_EXAMINED)
    ended = [(record, record.finished_at or record.updated_at) for record in found.records]
    matching = [record for record, at in ended if (start is None or at >= start) and (end is None or at < end)]
    complete = not found.more or (start is not None and bool(ended) and ended[-1][1] < start)
    return matching[:limit], not complete or len(matching) > limit


def _print_table(records: Sequence[JobRecord], now: float, sort: str) -> None:
    """Print one line for each job; the columns of ended jobs only if there are any."""
    from tenxsom_flow_engine.cli.format import cut, fits, short_time, table
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs import FINAL, Status, SubmissionState
    from tenxsom_flow_engine.jobs.remedies import failure_of
    from tenxsom_flow_engine.text import one_line

    head = ["JOB", "STATUS", "SERVICE", "ADDED (UTC)", "DUE (UTC)", "SINCE (UTC)", "REASON", "TOPIC"]
    rows = []
    for record in records:
        status, failure = record.status_at(now), failure_of(record)
        waits = status in (Status.SCHEDULED, Status.QUEUED)
        unknown = waits and record.submission.state is SubmissionState.UNKNOWN
        ended = record.finished_at or record.updated_at if status in (*FINAL, Status.HELD) else None
        rows.append([
            record.job_id,
            f"{status} (outcome unknown)" if unknown else f"{status} (expired)" if record.expired else status,
            record.effective_service,
            *(short_time(iso(at)) if at else "" for at in (record.added_at, record.due if waits else None, ended)),
            one_line(failure.message, 300) if failure else "",
            record.job.topic,
        ])  # fmt: skip
    empty = {name for place, name in enumerate(head) if not any(row[place] for row in rows)}
    hidden = empty & {"DUE (UTC)", "SINCE (UTC)", "REASON"}
    if "SINCE (UTC)" not in empty and sort != "added":
        hidden.add("ADDED (UTC)")  # leaves room for the reason
    shown = [place for place, name in enumerate(head) if name not in hidden]
    lines, may_cut = _chosen([head, *rows], shown), ("TOPIC", "REASON")
    if "REASON" in hidden or fits(lines):
        out(table(lines[1:], head=lines[0], may_cut=may_cut))
        return
    # A sentence that is cut says nothing, so it gets its own line.
    lines = _chosen([head, *rows], [place for place in shown if head[place] != "REASON"])
    shown_lines = table(lines[1:], head=lines[0], may_cut=may_cut[:1]).split("\n")
    out(shown_lines[0])
    for line, reason in zip(shown_lines[1:], [row[head.index("REASON")] for row in rows], strict=True):
        out(line + (f"\n{cut('    ' + reason, shutil.get_terminal_size().columns)}" if reason else ""))


def _chosen(rows: Sequence[Sequence[str]], places: Sequence[int]) -> list[list[str]]:
    return [[row[place] for place in places] for row in rows]


def _refuse_list_options(context: click.Context) -> None:
    """Raise `UsageError` for a list option before a subcommand, where it would have no effect."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{parameter.opts[0]} filters the list; options of {context.invoked_subcommand} follow its name"
            )
