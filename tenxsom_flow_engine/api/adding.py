"""`POST /plans` and `POST /jobs`: plan jobs, and add them once.

The ids of jobs that have none are derived from the caller, the idempotency key and the request, so adding them again
after an interruption adds what is missing and nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from flask import Response

from tenxsom_flow_engine.api import types
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.once import KEEP, Claim, Repeatable, packed, unpacked
from tenxsom_flow_engine.api.problems import InvalidRequest, KeyMissing, PlanChanged, PlanNotFound, WrongValue
from tenxsom_flow_engine.api.requests import canonical, decode, decode_each, refuse_items
from tenxsom_flow_engine.api.routes import Call, Route
from tenxsom_flow_engine.api.types import MOST_JOBS, Added, Plan, PlannedJob
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Forbidden, InvalidInput, StoreBroken
from tenxsom_flow_engine.jobs import VideoJob, slug
from tenxsom_flow_engine.planning.batch import normal_fields
from tenxsom_flow_engine.planning.past import is_past
from tenxsom_flow_engine.planning.plan import Row, Totals
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.store.values import NewJob

#: The kind of the memos that hold plans.
KIND = "plan"
#: Accepted lateness of a start in seconds when a plan is added.
LATE_SECONDS = 600.0
_FIELDS = (
    "topic",
    "prompt",
    "script",
    "style",
    "duration",
    "aspect_ratio",
    "service",
    "quality",
    "channel",
    "priority",
    "options",
)


class StoredPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as it is stored."""

    #: The caller to whom it was shown, and when.
    caller: str
    at: float
    #: The jobs as they are added (see `once.packed`).
    jobs: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The jobs of a request: the body as sent, each job as a type, and whether the body is a list."""

    data: bytes
    jobs: Sequence[types.NewJob]
    listed: bool

    @classmethod
    def read(cls, call: Call) -> Wanted:
        """Read one job, or a list of them. Raises `InvalidRequest`, and `Forbidden` for a foreign channel."""
        data = call.data
        listed = data.lstrip()[:1] == b"["
        jobs = decode_each(data, types.NewJob, MOST_JOBS) if listed else [decode(data, types.NewJob)]
        for job in jobs:
            call.caller.own_channel(_given(job.channel))
        return cls(data, jobs, listed)

    def refuse(self, wrong: Sequence[tuple[int, WrongValue]]) -> None:
        """Raise `InvalidRequest` if there are invalid jobs."""
        if self.listed:
            refuse_items(self.data, wrong)
        elif wrong:
            raise InvalidRequest([one for _, one in wrong])


@dataclass(frozen=True, slots=True)
class ToAdd:
    """The jobs to add for a request."""

    #: Of all jobs of the request, in order.
    job_ids: Sequence[str]
    new: Sequence[NewJob]


def plan(call: Call) -> Response:
    """Plan jobs, and store the plan."""
    wanted = Wanted.read(call)
    engine, store = call.engine, call.engine.store
    request = b"POST /plans\n" + canonical(call.data)
    repeatable, claim = None, None
    if call.key:
        repeatable = Repeatable.of(store, call.caller.key_id, call.key, request)
        claim = repeatable.find()
        if claim and (answer := claim.answered) is not None:
            return _json(answer, 200)
    seed = repeatable.seed if repeatable else secrets.token_hex(16)
    token = f"plan_{hashlib.sha256(seed.encode()).hexdigest()[:32]}"
    now = claim.at if claim else store.now()
    prepared = prepare(call, wanted, token, now)
    answer = msgspec.json.encode(_describe(engine, token, prepared, now))
    if repeatable:
        claim, _ = repeatable.claim() if claim is None else (claim, False)
    stored = StoredPlan(
        caller=call.caller.key_id, at=now, jobs=packed(msgspec.msgpack.encode([one.new for one in prepared]))
    )
    text = msgspec.json.encode(stored).decode()
    store.put_memo(KIND, token, text, KEEP, instead_of=store.memo(KIND, token))
    first = True
    if repeatable and claim:
        answer, first = repeatable.keep(claim, answer)
    return _json(answer, 201 if first else 200)


def add(call: Call) -> Response:
    """Add one job, a list, or a plan."""
    data = call.data
    if data.lstrip()[:1] == b"{" and "plan" in decode(data, dict[str, msgspec.Raw]):
        return _add_plan(call, decode(data, types.PlanReference).plan)
    wanted = Wanted.read(call)
    ids = [job.job_id for job in wanted.jobs if job.job_id is not msgspec.UNSET]
    key = call.key
    if not key:
        if len(ids) < len(wanted.jobs):
            raise KeyMissing(
                "the request has no Idempotency-Key, so a repetition could buy its videos twice",
                next_step="send the header Idempotency-Key with a new random value for each request, or a job_id for "
                "each job",
            )
        key = "job_ids:" + hashlib.sha256("\n".join(ids).encode()).hexdigest()
    repeatable = Repeatable.of(call.engine.store, call.caller.key_id, key, b"POST /jobs\n" + canonical(data))

    def jobs(claim: Claim | None) -> ToAdd:
        now = claim.at if claim else call.engine.store.now()
        names = _names(wanted.jobs, repeatable.seed)
        # Jobs that an interrupted request has added stay as they are, even if they could not be planned any more.
        before = {name for name in names if call.engine.store.knows_id(name)} if claim else set()
        new = [one.new for one in prepare(call, wanted, repeatable.seed, now, without=before)]
        return ToAdd(names, new)

    return _add_once(call, repeatable, jobs)


def _add_plan(call: Call, token: str) -> Response:
    store = call.engine.store
    repeatable = Repeatable.of(store, call.caller.key_id, call.key or token, b"POST /jobs\n" + token.encode())

    def jobs(claim: Claim | None) -> ToAdd:
        text = store.memo(KIND, token)
        stored = _read_plan(text) if text is not None else None
        if stored is None or stored.caller != call.caller.key_id:
            raise PlanNotFound(
                "no plan has this token: it has expired, or was made with another key",
                next_step="plan again with POST /plans",
            )
        new = _read_jobs(stored)
        if claim is None:
            _check_unchanged(call.engine, stored, new)
        return ToAdd([one.job.job_id for one in new], new)

    return _add_once(call, repeatable, jobs)


def _add_once(call: Call, repeatable: Repeatable, jobs: Callable[[Claim | None], ToAdd]) -> Response:
    """Add the jobs of a request, unless it has been answered before."""
    claim = repeatable.find()
    if claim and (answer := claim.answered) is not None:
        return _added(call, answer, repeated=True)
    wanted = jobs(claim)
    store, ids = call.engine.store, wanted.job_ids
    if claim is None:
        existing = {record.job_id for record in store.get_each(ids)}
        places = [place for place, job_id in enumerate(ids) if job_id in existing]
        claim, _ = repeatable.claim(before=json.dumps(places))
        if (answer := claim.answered) is not None:
            return _added(call, answer, repeated=True)
    new = set(call.engine.add(wanted.new).new)
    # The same request can have added others: one that was interrupted, or is under way in another thread.
    before = {ids[place] for place in json.loads(claim.before or "[]")}
    others = store.get_each([job_id for job_id in ids if job_id not in new and job_id not in before])
    added = len(new) + len(others)
    found = Added(job_ids=tuple(ids), added=added, known=len(ids) - added)
    answer, first = repeatable.keep(claim, msgspec.json.encode(found))
    return _added(call, answer, repeated=not first)


def prepare(call: Call, wanted: Wanted, seed: str, now: float, *, without: Collection[str] = ()) -> Sequence[Prepared]:
    """Check all jobs and fit them to their services. Raises `InvalidRequest` with all that are invalid."""
    names = _names(wanted.jobs, seed)
    wrong: list[tuple[int, WrongValue]] = []
    prepared: list[Prepared] = []
    seen: set[str] = set()
    for index, (body, job_id) in enumerate(zip(wanted.jobs, names, strict=True)):
        if job_id in without:
            continue
        try:
            if job_id in seen:
                raise InvalidInput("job_id", f"{job_id} is given twice")
            seen.add(job_id)
            prepared.append(_prepare(call, body, job_id, now))
        except Forbidden:
            raise
        except InvalidInput as error:
            step = f" ({error.next_step})" if error.next_step else ""
            wrong.append((index, WrongValue(error.field, error.reason + step)))
    wanted.refuse(wrong)
    return prepared


def _prepare(call: Call, body: types.NewJob, job_id: str, now: float) -> Prepared:
    engine, channel = call.engine, call.caller.channel
    given = {name: value for name in _FIELDS if (value := getattr(body, name)) is not msgspec.UNSET}
    given = dict(engine.with_channel_defaults(given | ({"channel": channel} if channel else {})))
    fields = normal_fields(given)
    if not fields.get("options", True):
        del fields["options"]
    job = VideoJob(job_id=job_id, created_at=now, key_id=call.caller.payer, **fields)
    if "duration" not in given:
        job = engine.at_default_duration(job)
    due, start_by = _instant(body.at), _instant(body.start_by)
    if is_past(due, now) and not engine.store.knows_id(job_id):
        raise InvalidInput("at", "lies in the past", next_step="leave it out to start now")
    if start_by is not None and start_by < max(now, due or now) and not engine.store.knows_id(job_id):
        raise InvalidInput("start_by", "lies before the start")
    return engine.prepare(job, due, start_by)


def _names(jobs: Sequence[types.NewJob], seed: str) -> list[str]:
    """Return the ids of jobs: the given ones, or ones that are derived from the request."""
    return [_given(job.job_id) or _derived_id(job.topic, seed, index) for index, job in enumerate(jobs)]


def _derived_id(topic: str, seed: str, index: int) -> str:
    return f"{slug(topic)}-{hashlib.sha256(f'{seed}:{index}'.encode()).hexdigest()[:20]}"


def _describe(engine: Engine, token: str, prepared: Sequence[Prepared], now: float) -> Plan:
    known = {record.job_id: record for record in engine.store.get_each([one.new.job.job_id for one in prepared])}
    rows = [
        Row.added_before(record) if (record := known.get(one.new.job.job_id)) else Row.planned(one) for one in prepared
    ]
    totals = Totals.of(rows)
    first: dict[str, int] = {}
    jobs = []
    for index, (one, row) in enumerate(zip(prepared, rows, strict=True)):
        content = json.dumps([msgspec.to_builtins(_without_id(one.new)), one.new.due], sort_keys=True)
        before = first.setdefault(content, index)
        jobs.append(
            PlannedJob(
                job_id=row.job_id, topic=row.topic, channel=one.new.job.channel or None, known=row.known,
                duplicate_of=before if before != index else None, start=_moment(row.start), service=row.service,
                duration=row.duration, prompt=row.prompt, usd=row.usd, max_usd=row.max_usd, adjustments=row.notes,
            )
        )  # fmt: skip
    new = [one for one, row in zip(prepared, rows, strict=True) if not row.known]
    price = types.Price(usd=totals.price.usd, highest_usd=totals.price.highest, unknown=totals.price.unknown)
    over = tuple(
        types.Overrun(scope=one.use.budget.scope, jobs=one.excess, detail=str(one)) for one in engine.overruns(new)
    )
    return Plan(
        plan=token, expires_at=_at(now + KEEP), jobs=tuple(jobs), new=totals.new, known=totals.known,
        duplicates=sum(job.duplicate_of is not None for job in jobs), price=price, over_budget=over,
    )  # fmt: skip


def _without_id(new: NewJob) -> VideoJob:
    return msgspec.structs.replace(new.job, job_id="x", created_at=0.0)


def _check_unchanged(engine: Engine, stored: StoredPlan, new: Sequence[NewJob]) -> None:
    """Raise `PlanChanged` if adding the jobs now would cost something else, or start them too late."""
    step = "plan again with POST /plans"
    now = engine.store.now()
    known = {record.job_id for record in engine.store.get_each([one.job.job_id for one in new])}
    for one in new:
        if one.job.job_id in known:
            continue
        if one.due is not None and stored.at < one.due < now - LATE_SECONDS:
            raise PlanChanged(f"the start of {one.job.job_id} has passed since the plan was made", next_step=step)
        try:
            again = engine.prepare(one.job, one.due, one.start_by).new
        except InvalidInput as error:
            raise PlanChanged(f"{one.job.job_id} cannot be made any more: {error.message}", next_step=step) from error
        if (again.cost, again.max_usd) != (one.cost, one.max_usd):
            raise PlanChanged(f"the price of {one.job.job_id} has changed since the plan was made", next_step=step)


def _read_plan(text: str) -> StoredPlan:
    try:
        return msgspec.json.decode(text, type=StoredPlan)
    except msgspec.MsgspecError as error:
        raise StoreBroken(f"a plan in the store cannot be read: {error}") from error


def _read_jobs(stored: StoredPlan) -> Sequence[NewJob]:
    try:
        return msgspec.msgpack.decode(unpacked(stored.jobs), type=list[NewJob])
    except msgspec.MsgspecError as error:
        raise StoreBroken(f"a plan in the store cannot be read: {error}") from error


def _added(call: Call, answer: bytes, *, repeated: bool) -> Response:
    """Return 201 for the first answer to a request that added something, and 200 for all others."""
    found = msgspec.json.decode(answer, type=Added)
    response = _json(answer, 200 if repeated or not found.added else 201)
    if repeated:
        response.headers["Idempotency-Replayed"] = "true"
    if len(found.job_ids) == 1:
        response.headers["Location"] = f"/api/v1/jobs/{found.job_ids[0]}"
    return response


def _json(data: bytes, status: int) -> Response:
    return Response(data, status, content_type="application/json")


def _given(value: Any) -> Any:
    return "" if value is msgspec.UNSET else value


def _instant(moment: Any) -> float | None:
    return None if moment is msgspec.UNSET else moment.timestamp()


def _moment(instant: float | None) -> datetime | None:
    return None if instant is None else _at(instant)


_at = partial(datetime.fromtimestamp, tz=UTC)

_ERRORS = (409, 413, 415, 422)
ROUTES = (
    Route(
        "POST", "/jobs", Scope.ADD, add, "Add one job, a list of at most 5,000, or a plan", Added,
        body=(types.NewJob, list[types.NewJob], types.PlanReference), created=True, errors=(404, *_ERRORS),
        example={"topic": "Why the ocean glows at night", "service": "draft"},
    ),
    Route(
        "POST", "/plans", Scope.ADD, plan, "Plan jobs: prices, adjustments, duplicates and what no budget covers", Plan,
        body=(types.NewJob, list[types.NewJob]), created=True, errors=_ERRORS,
        example=[{"topic": "Why the ocean glows at night"}, {"topic": "How tides work", "service": "draft"}],
    ),
)  # fmt: skip
