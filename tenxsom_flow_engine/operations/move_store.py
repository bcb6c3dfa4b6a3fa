"""Moves everything from one type of store to another; see "Moves between stores" in docs/architecture.md."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.errors import ActionRefused, FlowError, InvalidInput, StoreBroken
from tenxsom_flow_engine.queues.selection import REDIS_SCHEMES, StoreChoice, choose_store, remember_other
from tenxsom_flow_engine.queues.stores import open_ledger, sqlite_path
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.moving import ARRIVED, REMEMBER_SECONDS, TABLES, Arrival, Contents, Departure, Marker
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.timings import Timings

#: The pull queue of each type of store.
_QUEUES = {"sqlite": "local", "redis": "redis"}
#: Topics of a schedule that are copied at a time.
CHUNK_TOPICS = 500


@dataclass(frozen=True, slots=True)
class StoreMove:
    """The result of a move."""

    source: str
    target: str
    #: The pull queue of the target, for `TENXSOM_QUEUE_TYPE`.
    queue: str
    #: Records that arrived now; none if an earlier call had already completed the move.
    jobs: int
    #: Where the replaced contents of the target are kept; empty if there were none.
    kept: str = ""
    #: Whether an earlier call had put the jobs in place.
    repeated: bool = False


def move_store(
    settings: Settings,
    source: str,
    target: str,
    *,
    progress: Callable[[int], None] = lambda jobs: None,
    timings: Timings = Timings(),
) -> StoreMove:
    """Move all jobs, and everything that is stored with them, from one store to the other.

    A store is `local`, `redis` or a URL. After an interruption the same call completes the move. Raises `InvalidInput`,
    `ActionRefused` for jobs in flight and for a target that has jobs, `StoreUnavailable` while other processes use one
    of the stores, `StoreError`.
    """
    with ExitStack() as cleanup:
        leaving, arriving, choices = _open(settings, source, target, timings, cleanup)
        now = SystemClock().now()
        marker = leaving.marker or Marker(secrets.token_hex(6), arriving.place, now, arrived=leaving.arrived)
        _check_target(marker, arriving)
        queues = {_QUEUES[one.scheme]: _QUEUES[other.scheme] for one, other in (choices, choices[::-1])}
        result = StoreMove(_place(choices[0], settings), arriving.place, _QUEUES[choices[1].scheme], 0)
        if _arrived(arriving) == marker.id or marker.done:
            jobs, kept, repeated = 0, "", True
        else:
            if arriving.present is not None and (known := sum(arriving.present.status_counts().by_status.values())):
                raise ActionRefused(
                    f"the store {arriving.place} has {plural(known, 'job')}: jobs move into an empty store only",
                    next_step="name another file, or set REDIS_QUEUE_KEY to another name",
                )
            if arriving.marker is not None and not arriving.marker.done:
                raise ActionRefused(
                    f"the jobs of the store {arriving.place} are being moved to {arriving.marker.to}",
                    next_step="complete or abandon that move first",
                )
            arriving.check()
            contents = leaving.freeze(marker)
            try:
                jobs = _copy(contents, arriving.contents, queues, marker, timings, progress)
            except BaseException:
                # Nothing is in place at the target. If this fails too, the next call completes the move.
                with suppress(FlowError):
                    leaving.thaw(marker)
                raise
            kept, repeated = arriving.commit(), False
        if not marker.done:
            leaving.finish(replace(marker, done=True))
        remember_other(settings, _QUEUES[choices[0].scheme], _QUEUES[choices[1].scheme])
        return StoreMove(result.source, result.target, result.queue, jobs, kept, repeated)


def abandon_move(settings: Settings, source: str, target: str, *, timings: Timings = Timings()) -> None:
    """Make the source of an interrupted move usable again. Raises `ActionRefused` if its jobs have arrived."""
    with ExitStack() as cleanup:
        leaving, arriving, _ = _open(settings, source, target, timings, cleanup)
        if (marker := leaving.marker) is None:
            raise ActionRefused("no move of this store was interrupted")
        _check_target(marker, arriving)
        if marker.done or _arrived(arriving) == marker.id:
            raise ActionRefused(
                f"the jobs have arrived in {marker.to}", next_step="to use the source again, move them back"
            )
        leaving.thaw(marker)


def _open(
    settings: Settings, source: str, target: str, timings: Timings, cleanup: ExitStack
) -> tuple[Departure, Arrival, tuple[StoreChoice, StoreChoice]]:
    choices = (_choose(settings, "from-store", source), _choose(settings, "to-store", target))
    if choices[0].scheme == choices[1].scheme:
        raise InvalidInput(
            "to-store",
            "is a store of the same type",
            next_step="put a backup on the other server, or into the other file",
        )
    # The file first: its lock keeps a second move of these stores away.
    if choices[0].scheme == "sqlite":
        leaving = cleanup.enter_context(_leaving(settings, choices[0], timings))
        arriving = cleanup.enter_context(_arriving(settings, choices[1], timings))
    else:
        arriving = cleanup.enter_context(_arriving(settings, choices[1], timings))
        leaving = cleanup.enter_context(_leaving(settings, choices[0], timings))
    return leaving, arriving, choices


def _choose(settings: Settings, field: str, text: str) -> StoreChoice:
    if text in _QUEUES.values():
        return choose_store(settings, text)
    scheme, separator, _ = text.partition("://")
    if separator and scheme == "sqlite":
        return StoreChoice("sqlite", text)
    if separator and scheme in REDIS_SCHEMES:
        return StoreChoice("redis", text)
    raise InvalidInput(field, "is not a store", next_step="write local, redis, sqlite:///ABSOLUTE/PATH or redis://HOST")


def _leaving(settings: Settings, choice: StoreChoice, timings: Timings) -> AbstractContextManager[Departure]:
    if choice.scheme == "redis":
        from tenxsom_flow_engine.store.redis import moving as redis_moving

        return redis_moving.leaving(choice.url, settings.redis.key, alive_within=settings.lease, timings=timings)
    from tenxsom_flow_engine.store.sqlite import moving

    return moving.leaving(sqlite_path(choice.url), SystemClock(), timings)


def _arriving(settings: Settings, choice: StoreChoice, timings: Timings) -> AbstractContextManager[Arrival]:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    if choice.scheme == "redis":
        from tenxsom_flow_engine.store.redis import moving as redis_moving

        key = settings.redis.key
        return redis_moving.arriving(choice.url, key, stamp, alive_within=settings.lease, timings=timings)
    from tenxsom_flow_engine.store.sqlite import moving

    return moving.arriving(sqlite_path(choice.url), stamp, SystemClock(), timings)


def _place(choice: StoreChoice, settings: Settings) -> str:
    return f"sqlite://{sqlite_path(choice.url)}" if choice.scheme == "sqlite" else f"Redis ({settings.redis.key})"


def _check_target(marker: Marker, arriving: Arrival) -> None:
    if marker.to != arriving.place:
        raise ActionRefused(
            f"the jobs of this store {'were' if marker.done else 'are being'} moved to {marker.to}, not to "
            f"{arriving.place}",
            next_step="name that store",
        )


def _arrived(arriving: Arrival) -> str | None:
    """Return the latest move that has filled the target, also if its jobs have moved on since."""
    if arriving.marker is not None:
        return arriving.marker.arrived
    return arriving.present.memo(*ARRIVED) if arriving.present else None


def _copy(
    source: Contents,
    target: Contents,
    queues: Mapping[str, str],
    marker: Marker,
    timings: Timings,
    progress: Callable[[int], None],
) -> int:
    """Fill the target, which is empty and out of sight; return the number of records."""
    before, after = source.store, target.store
    target.advance_clock(before.now())
    jobs = 0
    for records in source.records():
        target.add_records([replace(one, queue=queues.get(one.queue, one.queue)) for one in records])
        jobs += len(records)
        progress(len(records))
    for scope, budget in before.budgets().items():
        after.set_budget(scope, budget)
    for name, channel in before.channels().items():
        after.set_channel(name, lambda _, channel=channel: channel)  # type: ignore[misc]
    for queue in source.queues():
        state = before.queue_state(queue)
        after.set_queue_state(queues.get(queue, queue), lambda _, state=state: state)  # type: ignore[misc]
    _copy_schedules(before, after)
    # Last: with its endpoints, the changes above would cause events.
    for table in TABLES:
        target.add_rows(table, source.rows(table))
    gates = open_ledger(after, timings)
    for entry in open_ledger(before, timings).entries():
        gates.put(entry)
    arrived = sum(after.status_counts().by_status.values())
    if arrived != jobs:
        raise StoreBroken(f"{arrived} of {plural(jobs, 'record')} have arrived, so nothing is moved")
    after.put_memo(*ARRIVED, marker.id, REMEMBER_SECONDS, instead_of=after.memo(*ARRIVED))
    return jobs


def _copy_schedules(before: JobStore, after: JobStore) -> None:
    for schedule in before.schedules():
        count = schedule.topics or 0
        after.swap_schedule(None, replace(schedule, topics=0) if count else schedule)
        for begin in range(0, count, CHUNK_TOPICS):
            places = range(begin, min(begin + CHUNK_TOPICS, count))
            found = before.schedule_topics(schedule, places)
            if len(found) < len(places):
                raise StoreBroken(f"the schedule {schedule.name} lacks topics, so nothing is moved")
            partly = replace(schedule, topics=places.stop)
            after.swap_schedule(replace(schedule, topics=begin), partly, [found[place] for place in places])
