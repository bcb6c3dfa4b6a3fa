"""Which events a change causes: pure functions of the states before and after, which stores apply in the transaction.

So no caller can forget an event, and the same change always gives the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.events.model import Event, EventType, event_id
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.text import one_line

#: Returns the address at which a receiver gets the video of a job.
VideoLink = Callable[[JobRecord], str]

_ENDS: Mapping[Status, EventType] = {
    Status.SUCCEEDED: EventType.JOB_SUCCEEDED,
    Status.FAILED: EventType.JOB_FAILED,
    Status.HELD: EventType.JOB_HELD,
    Status.CANCELLED: EventType.JOB_CANCELLED,
}
#: Characters of a failure's message, so that a body stays below 20 kB.
MAX_MESSAGE = 1000


def api_path(record: JobRecord) -> str:
    """Return the path of a video in the HTTP API, which needs a key."""
    return f"/api/v1/jobs/{record.job_id}/video"


def api_links(address: str) -> VideoLink:
    """Return links to the HTTP API at an address, such as that of the web worker; without one only its paths."""
    return lambda record: f"{address}{api_path(record)}"


def ends_job(before: JobRecord, after: JobRecord) -> bool:
    """Return whether a change of a record causes an event. Cheap, because most changes do not."""
    return after.status is not before.status and after.status in _ENDS


def job_events(before: JobRecord, after: JobRecord, link: VideoLink = api_path) -> Sequence[Event]:
    """Return the events of a change of a record; mostly none."""
    if not ends_job(before, after):
        return ()
    kind = EventType.JOB_EXPIRED if after.expired else _ENDS[after.status]
    data, video = job_data(after, link), after.result
    return (
        Event(
            id=event_id(kind, after.job_id, after.nonce, repr(after.updated_at)),
            type=kind,
            at=after.updated_at,
            subject=after.job_id,
            channel=after.job.channel,
            data=data,
            local={"video": {**data["video"], "path": video.path}} if video else {},
        ),
    )


def job_data(record: JobRecord, link: VideoLink) -> dict[str, Any]:
    """Describe a job for receivers, with the names of the HTTP API."""
    job, cost, error, video = record.job, record.cost, record.error, record.result
    return {
        "job_id": record.job_id,
        "status": record.status.value,
        "topic": job.topic,
        "channel": job.channel or None,
        "service": record.effective_service,
        "cost": {"usd": cost.usd, "credits": cost.credits, "estimated": cost.estimated} if cost else None,
        "failure": None
        if error is None or record.status is Status.SUCCEEDED
        else {
            "code": error.code,
            "message": one_line(error.message, MAX_MESSAGE),
            "next_step": one_line(error.next_step, MAX_MESSAGE),
        },
        "video": None
        if video is None
        else {
            "href": link(record),
            "duration": video.duration,
            "width": video.width,
            "height": video.height,
            "size": video.size,
            "sha256": video.sha256,
        },
        "added_at": iso(record.added_at),
        "finished_at": None if record.finished_at is None else iso(record.finished_at),
    }


def queue_events(queue: str, before: bool, after: bool, at: float) -> Sequence[Event]:
    """Return the events of a change of a queue; `before` and `after`: whether it is paused."""
    if before == after:
        return ()
    kind = EventType.QUEUE_PAUSED if after else EventType.QUEUE_RESUMED
    return (Event(id=event_id(kind, queue, repr(at)), type=kind, at=at, subject=queue, data={"queue": queue}),)


def service_events(service: str, before: str, after: str, why: str, at: float) -> Sequence[Event]:
    """Return the events of a change of a service; `before` and `after`: the code why it is stopped, or nothing."""
    if bool(before) == bool(after):
        return ()
    kind = EventType.SERVICE_STOPPED if after else EventType.SERVICE_RESUMED
    data = {"service": service, "code": after, "reason": one_line(why, MAX_MESSAGE)} if after else {"service": service}
    return (Event(id=event_id(kind, service, repr(at)), type=kind, at=at, subject=service, data=data),)
