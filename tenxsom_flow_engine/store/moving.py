"""Move the contents of a store to another type of store; see "Moves between stores" in docs/architecture.md.

The source is frozen first: it has a marker from then on, and no process can use its jobs. The target is filled out of
sight and put in place at once. A second call after an interruption finds both, and completes the move.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from tenxsom_flow_engine.errors import ActionRefused, StoreMoved
from tenxsom_flow_engine.jobs import JobRecord, SubmissionState
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.text import plural

#: The tables that are copied as rows, each with its columns in order. What else moves has methods of the stores.
TABLES = {
    "finished_ids": ("job_id", "until"),
    "sums": ("kind", "period", "service", "name", "amount"),
    "last_errors": ("service", "at", "job_id", "code", "message"),
    "charges": ("scope", "quarter", "reserved", "spent"),
    "memos": ("kind", "name", "text", "until"),
    "holds": ("name", "owner", "until"),  # only those of LASTING_HOLDS
    "endpoints": ("id", "record", "health"),
    "outbox": ("endpoint", "event", "type", "subject", "at", "body", "state", "tries", "next_at"),
}
#: Locks that a move keeps, by the beginning of their names: a cookie would be valid again without that of its session.
LASTING_HOLDS = ("ended-session:",)
#: The memo of a target that names the move which filled it.
ARRIVED = ("move", "arrived")
#: Seconds for which a target remembers that: the command that moved can be repeated until then.
REMEMBER_SECONDS = 10 * 365 * 86400.0
#: Jobs that a message names.
MOST_NAMED = 5

Row = tuple[str | float | int | None, ...]


class Marker(msgspec.Struct, frozen=True):
    """What a frozen store says about its move."""

    #: Identifies the move in both stores.
    id: str
    #: The place of the other store (`JobStore.place`).
    to: str
    #: The store's time when it was frozen.
    at: float
    #: Whether the jobs have arrived. Until then, the move can be completed or abandoned.
    done: bool = False
    #: The move that had filled this store before; empty if none had. With it, a move that was interrupted just before
    #: its end is not repeated after its target has moved on.
    arrived: str = ""


class Contents(ABC):
    """The contents of a store that no other process uses."""

    store: JobStore

    @abstractmethod
    def records(self) -> Iterator[Sequence[JobRecord]]:
        """Yield all records in the order of adding, in chunks. Raises `StoreBroken` for an unreadable one."""

    @abstractmethod
    def add_records(self, records: Sequence[JobRecord]) -> None:
        """Add records unchanged; what they charged is in the table `charges`."""

    @abstractmethod
    def rows(self, table: str) -> Iterable[Row]:
        """Return the rows of one of the `TABLES`."""

    @abstractmethod
    def add_rows(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows to one of the `TABLES`."""

    @abstractmethod
    def queues(self) -> Sequence[str]:
        """Return the names of the queues."""

    @abstractmethod
    def advance_clock(self, instant: float) -> None:
        """Let the store's time continue from an instant, if that is later."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A store that is to be moved."""

    #: The marker of an earlier, interrupted or completed, move.
    marker: Marker | None
    #: The move that filled it; empty if none did, or if there is a marker.
    arrived: str
    #: Freezes the store, on disk, and returns its contents. With its present marker it only returns them. Raises
    #: `ActionRefused` for jobs in flight.
    freeze: Callable[[Marker], Contents]
    #: Records in the marker that the jobs have arrived.
    finish: Callable[[Marker], None]
    #: Makes the store usable again, with everything that it had.
    thaw: Callable[[Marker], None]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A store that is to be filled."""

    place: str
    #: The present contents; None if there are none, or if they have moved to another store.
    present: JobStore | None
    #: The marker of a store whose jobs have moved.
    marker: Marker | None
    #: What `commit` puts in place, empty at first.
    contents: Contents
    #: Raises `StoreUnavailable` while a worker of the present contents is alive.
    check: Callable[[], None]
    #: Puts it in place, completely or not at all; returns where the replaced contents are kept, or an empty text.
    commit: Callable[[], str]


def encode_marker(marker: Marker) -> str:
    """Return the stored form of a marker."""
    return msgspec.json.encode(marker).decode()


def decode_marker(text: str | bytes) -> Marker:
    """Read a stored marker. Raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=Marker)


def moved_error(place: str, stored: str) -> StoreMoved:
    """Return the error for the use of a frozen store."""
    try:
        marker = decode_marker(stored)
    except msgspec.MsgspecError:
        return StoreMoved(f"the jobs of the store {place} were moved to another store")
    if marker.done:
        return StoreMoved(
            f"the jobs of the store {place} were moved to {marker.to}",
            next_step="set TENXSOM_QUEUE_TYPE, and REDIS_URL or TENXSOM_STORE, to that store",
        )
    return StoreMoved(
        f"the jobs of the store {place} are being moved to {marker.to}",
        next_step="repeat the command that moves them to complete the move, or abandon it",
    )


def refuse_in_flight(contents: Contents) -> None:
    """Raise `ActionRefused` if a job has a lease or an intent: its create can be under way."""
    names = [
        record.job_id
        for chunk in contents.records()
        for record in chunk
        if record.lease is not None or record.submission.state is SubmissionState.INTENT
    ]
    if names:
        raise in_flight_error(names)


def in_flight_error(names: Sequence[str]) -> ActionRefused:
    """Return the error for jobs that cannot move yet."""
    shown = ", ".join(names[:MOST_NAMED]) + (" …" if len(names) > MOST_NAMED else "")
    return ActionRefused(
        f"{plural(len(names), 'job')} in flight must be settled before the store can move: {shown}",
        next_step="pause the services, and let a worker run until they are",
    )
