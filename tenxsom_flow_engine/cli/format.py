"""Output formats of the commands: JSON with times in ISO 8601, and aligned tables."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from tenxsom_flow_engine.cli.advice import next_step_of
from tenxsom_flow_engine.cli.console import can_print, on_terminal, out
from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.generation.order_excerpt import read_order
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.remedies import failure_of

#: A column is not cut below this width.
MIN_CELLS = 14


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    out(text if can_print(text) else json.dumps(value, indent=2))


def job_as_dict(record: JobRecord, now: float) -> dict[str, Any]:
    """Return a job and its history as plain values."""
    job, failure = record.job, failure_of(record)
    return {
        "job_id": record.job_id,
        "status": str(record.status_at(now)),
        "topic": job.topic,
        "prompt": record.submission.prompt or job.prompt or None,
        "script": job.script or None,
        "style": job.style,
        "duration": job.duration,
        "aspect_ratio": job.aspect_ratio,
        "service": record.service or job.service,
        "quality": job.quality or None,
        "channel": job.channel or None,
        "queue": record.queue,
        "step": str(record.step),
        "progress": round(record.progress, 3),
        "attempts": record.attempts,
        "added_at": iso(record.added_at),
        "updated_at": iso(record.updated_at),
        "due": _iso(record.due),
        "start_by": _iso(record.start_by),
        "finished_at": _iso(record.finished_at),
        "worker": record.lease.worker if record.lease else None,
        "submission": {
            "state": str(record.submission.state),
            "id": record.submission.id or None,
            "ticket": record.submission.ticket.id if record.submission.ticket else None,
        },
        "order": read_order(record.order),
        "video": {
            "path": record.result.path,
            "duration": round(record.result.duration, 3),
            "width": record.result.width,
            "height": record.result.height,
            "size": record.result.size,
            "sha256": record.result.sha256,
        }
        if record.result
        else None,
        "cost": {
            "usd": record.cost.usd,
            "credits": record.cost.credits,
            "estimated": record.cost.estimated,
        }
        if record.cost
        else None,
        "purchases": [
            {
                "submission": purchase.submission,
                "service": purchase.service,
                "at": iso(purchase.at),
                "usd": purchase.cost.usd if purchase.cost else None,
                "credits": purchase.cost.credits if purchase.cost else None,
            }
            for purchase in record.purchases
        ],
        "error": {
            "code": failure.code,
            "message": failure.message,
            "next_step": next_step_of(failure, record.job_id) or None,
            "actions": [str(action) for action in failure.actions],
        }
        if failure
        else None,
        "events": [
            {
                "at": iso(event.at),
                "what": kind,
                "detail": detail or None,
                "times": event.times,
                "last_at": _iso(event.last_at or None),
                "worker": event.worker or None,
            }
            for event in record.events
            for kind, detail in [event.kind_and_detail]
        ],
    }


def timeline(events: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each event of `job_as_dict`."""
    for event in events:
        times = f"  (x{event['times']}, last {event['last_at'][11:]})" if event["times"] > 1 else ""
        worker = f"  by {event['worker']}" if event["worker"] else ""
        yield f"{event['at']}  {event['what']}{': ' + event['detail'] if event['detail'] else ''}{times}{worker}"


def short_time(text: str) -> str:
    """Shorten an ISO 8601 time in UTC for a table: `2026-12-24 18:00`, with seconds unless they are 0."""
    return f"{text[:10]} {text[11:16]}" + (text[16:19] if text[17:19] != "00" else "")


def table(rows: Iterable[Sequence[str]], *, head: Sequence[str] = (), may_cut: Collection[str] = ()) -> str:
    """Return aligned rows below an optional header.

    If the terminal is too narrow, the columns in `may_cut` are shortened in that order; a pipe gets full columns.
    """
    lines = [list(line) for line in ([head] if head else [])] + [list(row) for row in rows]
    widths = [max(map(_cells, column)) for column in zip(*lines, strict=True)]
    if on_terminal(sys.stdout):
        excess = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size((120, 24)).columns
        for name in may_cut:
            column = head.index(name)
            less = max(0, min(excess, widths[column] - MIN_CELLS))
            widths[column] -= less
            excess -= less
    out = []
    for line in lines:
        fitted = [cut(text, width) for text, width in zip(line, widths, strict=True)]
        out.append("  ".join(text + " " * (width - _cells(text)) for text, width in zip(fitted, widths, strict=True)))
    return "\n".join(line.rstrip() for line in out)


def fits(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a table of these rows is shown without cuts."""
    if not on_terminal(sys.stdout):
        return True
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1) <= shutil.get_terminal_size((120, 24)).columns


def _cells(text: str) -> int:
    """Return the width of a text in terminal cells: wide letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def cut(text: str, width: int) -> str:
    """Cut a text to a width in terminal cells."""
    if _cells(text) <= width:
        return text
    while text and _cells(text) >= width:
        text = text[:-1]
    return text + "…"


def _iso(instant: float | None) -> str | None:
    return iso(instant) if instant is not None else None
