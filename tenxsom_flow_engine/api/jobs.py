"""Jobs: lists, one job and its files, and the actions of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response as AnyResponse

from tenxsom_flow_engine.api import types
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.once import Claim, Repeatable
from tenxsom_flow_engine.api.problems import FilesBusy, InProgress, Interrupted, InvalidRequest, WrongValue
from tenxsom_flow_engine.api.requests import canonical, decode
from tenxsom_flow_engine.api.routes import Call, Route
from tenxsom_flow_engine.errors import ActionRefused, Forbidden, InvalidInput, JobNotFound
from tenxsom_flow_engine.jobs import JobRecord, Ticket
from tenxsom_flow_engine.jobs.outcomes import GiveUp, Resubmit, Times, Withdraw
from tenxsom_flow_engine.jobs.remedies import failure_of
from tenxsom_flow_engine.jobs.scripts import with_script
from tenxsom_flow_engine.planning.past import is_past
from tenxsom_flow_engine.store.values import JobFilter

#: Seconds for which an action that was begun counts as under way.
UNDER_WAY = 30.0
#: Seconds after which a client should ask again if no wait was possible.
ASK_AGAIN = 2
FILES = ("video", "thumbnail", "captions", "metadata")


def list_jobs(call: Call) -> types.Jobs:
    """Return a page of jobs."""
    query: types.JobsQuery = call.query
    jobs = JobFilter(
        statuses=query.status,
        channel=call.caller.own_channel(query.channel) or None,
        service=query.service or None,
        text=query.text or None,
        added_from=query.since.timestamp() if query.since else None,
        added_before=query.until.timestamp() if query.until else None,
    )
    store = call.engine.store
    page = store.page(jobs, limit=query.limit, cursor=query.cursor or None)
    now = store.now()
    return types.Jobs(jobs=tuple(types.Job(**_facts(record, now)) for record in page.records), next=page.cursor)


def show(call: Call) -> types.JobDetails | Response:
    """Return a job, after waiting for it if that is requested."""
    record = _require(call)
    record, waited = call.polls.follow(call.engine.store, record, call.query.wait)
    details = describe(record, call.engine.store.now())
    if waited:
        return details
    return Response(msgspec.json.encode(details), headers={"Retry-After": str(ASK_AGAIN)}, mimetype="application/json")


def send(kind: str, call: Call) -> AnyResponse:
    """Send a file of a job."""
    answer = call.send_file(_require(call), kind, download=call.query.download)
    if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise RequestedRangeNotSatisfiable(int(answer.headers["Content-Range"].rpartition("/")[2]))
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        raise FilesBusy
    return answer


def retry(call: Call) -> Response:
    """Retry a failed or cancelled job."""
    body = _body(call, types.Retry)
    return _act(call, _charged(call, lambda record: call.engine.retry(record.job_id, _changes(body, record))))


def cancel(call: Call) -> Response:
    """Cancel a job."""
    _body(call, types.Nothing)
    return _act(call, lambda record: call.engine.cancel(record.job_id))


def run_now(call: Call) -> Response:
    """Start a waiting job now."""
    _body(call, types.Nothing)
    return _act(call, _charged(call, lambda record: call.engine.run_now(record.job_id)))


def edit(call: Call) -> Response:
    """Change a job that has bought nothing."""
    body = _body(call, types.Edit)
    at = None if body.at is msgspec.UNSET else body.at.timestamp()
    start_by = None if body.start_by is msgspec.UNSET else body.start_by.timestamp()
    if not any(getattr(body, name) is not msgspec.UNSET for name in body.__struct_fields__):
        raise InvalidRequest([WrongValue("", "has no change")])
    times = Times(at, start_by) if at is not None or start_by is not None else None

    def change(record: JobRecord) -> JobRecord:
        if is_past(at, call.engine.store.now()):
            raise InvalidInput("at", "lies in the past", next_step="start it with POST /jobs/JOB/run-now")
        if at is None and start_by is not None and record.due is None:
            raise InvalidInput("start_by", "has no effect on a job that does not wait", next_step="give it at, too")
        return call.engine.edit(record.job_id, _changes(body, record), times)

    return _act(call, _charged(call, change))


def resolve(call: Call) -> Response:
    """Decide about a held job."""
    body = _body(call, types.Resolve)
    # A purchase is charged to the budget of the key, so an answer of its holder could lower that charge.
    call.require_no_budget("resolve jobs")
    has_ticket = body.ticket is not msgspec.UNSET
    if [body.resubmit, has_ticket, body.give_up, body.withdraw].count(True) != 1:
        raise InvalidRequest([WrongValue("", "must have exactly one of resubmit, ticket, give_up and withdraw")])
    decision: Resubmit | GiveUp | Withdraw | Ticket
    if body.ticket is not msgspec.UNSET:
        decision = Ticket(body.ticket, account=body.account)
    elif body.account or body.service or body.force:
        raise InvalidRequest([WrongValue("", "has account, service or force without a ticket")])
    else:
        decision = Resubmit() if body.resubmit else GiveUp() if body.give_up else Withdraw()
    return _act(
        call, lambda record: call.engine.resolve(record.job_id, decision, service_name=body.service, force=body.force)
    )


def describe(record: JobRecord, now: float) -> types.JobDetails:
    """Return a job with its history."""
    submission = record.submission
    return types.JobDetails(
        **_facts(record, now),
        prompt=submission.prompt or record.job.prompt or None,
        script=record.job.script or None,
        submission=types.Submission(
            state=submission.state.value,
            reference=submission.id or None,
            ticket=submission.ticket.id if submission.ticket else None,
        ),
        purchases=tuple(
            types.Purchase(
                reference=one.submission, service=one.service, at=_at(one.at), usd=one.cost.usd if one.cost else None,
                credits=one.cost.credits if one.cost else None,
            )
            for one in record.purchases
        ),
        events=tuple(
            types.Event(at=_at(event.at), what=kind, detail=detail or None, times=event.times)
            for event in record.events
            for kind, detail in [event.kind_and_detail]
        ),
    )  # fmt: skip


def _facts(record: JobRecord, now: float) -> dict[str, Any]:
    job, failure, video = record.job, failure_of(record), record.result
    address = f"/api/v1/jobs/{record.job_id}"
    return {
        "job_id": record.job_id,
        "status": record.status_at(now),
        "topic": job.topic,
        "channel": job.channel or None,
        "service": record.effective_service,
        "style": job.style,
        "duration": job.duration,
        "aspect_ratio": job.aspect_ratio,
        "quality": job.quality or None,
        "queue": record.queue,
        "progress": round(record.progress, 3),
        "attempts": record.attempts,
        "added_at": _at(record.added_at),
        "updated_at": _at(record.updated_at),
        "due": _moment(record.due),
        "start_by": _moment(record.start_by),
        "finished_at": _moment(record.finished_at),
        "cost": types.Cost(usd=record.cost.usd, credits=record.cost.credits, estimated=record.cost.estimated)
        if record.cost
        else None,
        "video": types.Video(
            duration=round(video.duration, 3), width=video.width, height=video.height, size=video.size,
            sha256=video.sha256,
        )
        if video
        else None,
        "error": types.JobError(
            code=failure.code, detail=failure.message, next_step=failure.next_step or None,
            actions=tuple(map(str, failure.actions)),
        )
        if failure
        else None,
        "links": {"self": address} | ({kind: f"{address}/{kind}" for kind in FILES} if video else {}),
    }  # fmt: skip


def _require(call: Call) -> JobRecord:
    """Return the job of a request. Raises `JobNotFound`, also for a job of a channel that the key is not for."""
    job_id = call.place["job_id"]
    record = call.engine.store.get(job_id)
    if record is None or not call.caller.sees(record):
        raise JobNotFound(job_id)
    return record


def _charged(call: Call, action: Callable[[JobRecord], JobRecord]) -> Callable[[JobRecord], JobRecord]:
    """Return an action that can buy, refused for a job that is not charged to the budget of the caller's key."""

    def act(record: JobRecord) -> JobRecord:
        call.require_payer(record.job.key_id)
        return action(record)

    return act


def _act(call: Call, action: Callable[[JobRecord], JobRecord]) -> Response:
    """Act on the job of a request; with an idempotency key only once."""
    record = _require(call)
    store = call.engine.store
    if not call.key:
        return _answer(msgspec.json.encode(describe(action(record), store.now())))
    request = f"POST {call.request.path}\n".encode() + canonical(call.data)
    repeatable = Repeatable.of(store, call.caller.key_id, call.key, request)
    version = json.dumps([record.nonce, record.seq, record.status, record.updated_at])
    claim = repeatable.find()
    if claim is None or not claim.answer:
        if claim is not None:
            _check_not_done(claim, version, store.now())
        claim, mine = repeatable.claim(before=version, instead_of=claim)
        if not mine and not claim.answer:
            raise _in_progress()
    if (answer := claim.answered) is not None:
        return _answer(answer, repeated=True)
    try:
        after = action(record)
    except (ActionRefused, Forbidden, InvalidInput, JobNotFound):
        repeatable.drop(claim)  # nothing was done
        raise
    answer, _ = repeatable.keep(claim, msgspec.json.encode(describe(after, store.now())))
    return _answer(answer)


def _check_not_done(claim: Claim, version: str, now: float) -> None:
    """Raise `InProgress` or `Interrupted` if an earlier request has done the action, or might do it yet."""
    if now < claim.claimed_at + UNDER_WAY:
        raise _in_progress()
    if claim.before != version:
        raise Interrupted(
            "an earlier request with this idempotency key was interrupted, and the job has changed since",
            next_step="check the job; to act again, send a new key",
        )


def _in_progress() -> InProgress:
    return InProgress("the same request is being carried out", next_step="repeat it with the same key")


def _answer(data: bytes, *, repeated: bool = False) -> Response:
    headers = {"Idempotency-Replayed": "true"} if repeated else {}
    return Response(data, headers=headers, mimetype="application/json")


def _body(call: Call, wanted: Any) -> Any:
    """Return the body of an action; an empty one is an empty object."""
    return decode(call.data if call.data.strip() else b"{}", wanted)


def _changes(body: types.Changes, record: JobRecord) -> dict[str, Any]:
    changed = {one.name: getattr(body, one.name) for one in msgspec.structs.fields(types.Changes)}
    given = {name: value for name, value in changed.items() if value is not msgspec.UNSET}
    script = given.pop("script", None)
    return given | (with_script(given.get("options", record.job.options), script) if script is not None else {})


def _moment(instant: float | None) -> datetime | None:
    return None if instant is None else _at(instant)


_at = partial(datetime.fromtimestamp, tz=UTC)

_MIMETYPES = {
    "video": "video/mp4", "thumbnail": "image/jpeg", "captions": "application/x-subrip", "metadata": "application/json"
}  # fmt: skip


def _action(name: str, handle: Callable[[Call], Response], summary: str, body: Any, example: Any = None) -> Route:
    return Route(
        "POST", f"/jobs/{{job_id}}/{name}", Scope.OPERATE, handle, summary, types.JobDetails, body=body,
        errors=(404, 409, 413, 415, 422), example=example,
    )  # fmt: skip


ROUTES = (
    Route("GET", "/jobs", Scope.READ, list_jobs, "List jobs, the newest first", types.Jobs, query=types.JobsQuery),
    Route(
        "GET", "/jobs/{job_id}", Scope.READ, show, "Show a job, or wait for it", types.JobDetails,
        query=types.JobQuery, errors=(404,),
    ),
    *(
        Route(
            "GET", f"/jobs/{{job_id}}/{kind}", Scope.READ, partial(send, kind), f"Get the {kind} of a job", bytes,
            query=types.FileQuery, errors=(404, 416), mimetype=_MIMETYPES[kind],
        )
        for kind in FILES
    ),
    _action("retry", retry, "Retry a failed or cancelled job, changed or not", types.Retry),
    _action("cancel", cancel, "Cancel a job", types.Nothing),
    _action("edit", edit, "Change a job that has bought nothing", types.Edit, {"topic": "How tides work"}),
    _action("resolve", resolve, "Decide about a held job", types.Resolve, {"give_up": True}),
    _action("run-now", run_now, "Start a waiting job now", types.Nothing),
)  # fmt: skip
