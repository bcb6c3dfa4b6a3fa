"""`single`: add one job, and with `--wait` wait for its video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.exit_codes import DONE, QUOTA_OR_BUDGET
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.errors import InvalidInput, QueueError

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.jobs import JobRecord, Video
    from tenxsom_flow_engine.planning.prepared import Prepared


@click.command()
@click.argument("subject", metavar="[TOPIC]", required=False)
@click.option("--topic", help="Subject of the video, one line of text; the same as TOPIC.")
@click.option("--prompt", default="", help="Prompt for the service. Default: made from topic and style.")
@click.option("--script", default="", help="Words of the video, which drafts show and HeyGen speaks.")
@click.option("--script-file", type=options.TextFile(), help="A file with the script, or - for standard input.")
@options.delay
@click.option("--at", type=options.Instant(), help="Start at: 2026-12-24T18:00, by default in this machine's zone.")
@options.start_by
@options.unless_made_within
@click.option("--job-id", help="Id of the job; an existing id adds nothing. Default: made from topic and options.")
@click.option("--again", is_flag=True, help="Add the job again, even if the same one was added before.")
@click.option("--wait", is_flag=True, help="Wait for the video, print its path; without a worker, make it here.")
@options.job_options
def single(
    subject: str | None,
    topic: str | None,
    delay: float | None,
    at: float | None,
    start_by: float | None,
    made_within: float | None,
    queue_type: str | None,
    wait: bool,
    dry_run: bool,
    as_json: bool,
    job_id: str | None,
    script: str,
    script_file: str | None,
    again: bool,
    **fields: Any,
) -> int:
    """Add one job, which turns a topic into a video.

    The same topic with the same options is the same job, so running the command again adds nothing; with --wait it
    follows the existing job. Prints the job's id, or with --wait the path of the video.
    """
    if subject is None and topic is None:
        raise click.UsageError("Missing argument 'TOPIC'")
    if subject is not None and topic is not None:
        raise click.UsageError("name the topic once, as TOPIC or with --topic")
    if delay is not None and at is not None:
        raise click.UsageError("--delay and --at exclude each other; pass one of them")
    if script and script_file is not None:
        raise click.UsageError("--script and --script-file exclude each other; pass one of them")
    if again and job_id is not None:
        raise click.UsageError("--again and --job-id exclude each other; pass one of them")
    import secrets

    from tenxsom_flow_engine.cli.enqueue import (
        describe_made,
        describe_row,
        price,
        print_made,
        print_notes,
        print_overruns,
    )
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs import VideoJob
    from tenxsom_flow_engine.planning.batch import normal_fields, planned_job_id
    from tenxsom_flow_engine.planning.made import MadeTopics
    from tenxsom_flow_engine.planning.past import is_past
    from tenxsom_flow_engine.planning.plan import AddPlan, Row
    from tenxsom_flow_engine.planning.starts import LatestStart
    from tenxsom_flow_engine.planning.timestamps import bounded

    with session(queue_type) as engine:
        now = engine.store.now()
        given = options.given(fields) | {
            "topic": subject if topic is None else topic,
            "script": script if script_file is None else script_file,
        }
        if not job_id:
            job_id = planned_job_id(normal_fields(given), at, salt=secrets.token_hex(8) if again else "")
        complete = engine.with_channel_defaults(given)
        job = VideoJob(job_id=job_id, created_at=now, **normal_fields(complete))
        if "duration" not in complete:
            job = engine.at_default_duration(job)
        due = bounded(now + delay, "delay") if delay is not None else at
        if due is not None and is_past(due, now) and not engine.store.knows_id(job.job_id):
            raise InvalidInput("at", f"{iso(due)} lies in the past", next_step="leave out --at to start now")
        made = MadeTopics(engine.store, now - made_within) if made_within is not None else None
        if made and not engine.store.knows_id(job.job_id) and made.skip(job.topic, job.channel):
            print_made(made)
            if as_json:
                print_json({"skipped": describe_made(made)})
            return DONE
        prepared = engine.prepare(job, due, LatestStart(now, start_by).of(due))
        print_notes(AddPlan([prepared]))
        over = print_overruns(engine, [prepared])
        start = iso(due) if due is not None and due > now else "now"
        if not dry_run:
            return _add(engine, prepared, start, wait=wait, as_json=as_json)
        record = engine.store.get(job.job_id)
        if record:
            info(f"job {job.job_id} already exists and is {record.status_at(now)}, so nothing would be added")
        else:
            where = "" if " to " in price([prepared.new]) else f" at {prepared.service}"
            costs = price([prepared.new]) and f"{price([prepared.new])}{where}"
            info(f"would add job {job.job_id} to the {engine.queue.name} queue, starting {start}{costs}")
        if as_json:
            print_json({**describe_row(Row.planned(prepared, known=record is not None)), "over_budget": over})
        return QUOTA_OR_BUDGET if over else DONE


def _add(engine: Engine, prepared: Prepared, start: str, *, wait: bool, as_json: bool) -> int:
    from tenxsom_flow_engine.cli.enqueue import price, print_home_notes, print_obstacles
    from tenxsom_flow_engine.cli.format import job_as_dict, print_json

    job_id = prepared.new.job.job_id
    if wait and engine.unattended:
        engine.check_output()  # fail before a job is added whose video could not be written
    try:
        added = engine.add([prepared.new])
    except QueueError:
        if engine.store.get(job_id) is not None:
            info(f"job {job_id} was saved but not queued; run the command again with --job-id {job_id}")
        raise
    if added.new:
        costs = price([prepared.new])
        begins = ", which is paused" if engine.paused and start == "now" else f", starting {start}"
        info(f"added job {job_id} to the {engine.queue.name} queue{begins}{costs}")
    print_home_notes(engine)
    record = engine.store.get(job_id)
    if record is None:
        info(f"job {job_id} finished earlier, and its record was removed; pass --again to make it again")
        return DONE
    if not added.new:
        _describe_existing(engine, record, wait=wait)
    if wait:
        from tenxsom_flow_engine.cli.follow import follow

        return follow(engine, job_id, as_json=as_json)
    if as_json:
        print_json(job_as_dict(record, engine.store.now()))
    else:
        out(job_id)
    if record.due is not None:
        print_obstacles(engine)
    return DONE


def _describe_existing(engine: Engine, record: JobRecord, *, wait: bool) -> None:
    """Say that a job exists and what its state is, and whether its video is missing here."""
    from tenxsom_flow_engine.clock import iso
    from tenxsom_flow_engine.jobs import Status

    status, again = record.status_at(engine.store.now()), "; pass --again to add another"
    when = f" for {iso(record.due)}" if status is Status.SCHEDULED and record.due is not None else ""
    missing = record.result is not None and _is_missing(engine, record.result)
    hint = "" if wait and not missing and record.status not in (Status.FAILED, Status.CANCELLED) else again
    state = f"{status}{when}" + (f", but its video is not {_place(engine)}" if missing else "")
    info(f"job {record.job_id} already exists and is {state}, so nothing was added{hint}")


def _is_missing(engine: Engine, video: Video) -> bool:
    """Return whether a video was moved or deleted; a bucket that cannot be used now proves nothing."""
    from tenxsom_flow_engine.errors import OutputError
    from tenxsom_flow_engine.output.base import VIDEO

    try:
        return VIDEO not in engine.output.files(video)
    except OutputError:
        return False


def _place(engine: Engine) -> str:
    return "on this machine" if engine.output.local else f"in {engine.output.place}"
