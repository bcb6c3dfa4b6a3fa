"""A schedule: the videos that a channel gets at fixed local times, and how far they are planned.

The list of topics is stored next to it (see `JobStore.schedule_topics`), because it can be long. `planning.schedules`
computes the slots of a schedule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, TypeVar

import msgspec

from tenxsom_flow_engine.errors import InvalidInput

_T = TypeVar("_T")

#: A topic of a list: the fields of its job that differ from the schedule's, at least `topic`.
Topic = Mapping[str, Any]
#: Instead of seconds: a job can start until the next slot, or at any time.
NEXT_SLOT: Literal["next slot"] = "next slot"
NEVER: Literal["never"] = "never"
StartBy = float | Literal["next slot", "never"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


class CatchUp(StrEnum):
    """What to do with slots that have passed without a job, because nothing planned them in time."""

    NONE = "none"  # leave them out
    LATEST = "latest"  # start the latest one now
    ALL = "all"  # start all of them now

    def choose(self, missed: Sequence[_T]) -> Sequence[_T]:
        """Choose from missed slots in order of time."""
        match self:
            case CatchUp.NONE:
                return []
            case CatchUp.LATEST:
                return missed[-1:]
            case CatchUp.ALL:
                return missed


class PendingJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that is planned, and perhaps not in its queue yet."""

    job_id: str
    due: float
    #: The position of its topic, from 0.
    place: int
    #: The latest start; None: no limit.
    start_by: float | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule as it is stored. `planning.schedules.new_schedule` checks the values."""

    name: str
    #: Differs from that of an earlier schedule with the same name, so that their jobs have different ids.
    stamp: str
    channel: str
    created_at: float
    #: The number of videos a day, and their pace as `planning.slots.parse_rate` reads it.
    daily_count: int
    videos_per_hour: str
    #: The days of the week, Monday is 0.
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    zone: str = "UTC"
    #: The local time of the first slot; empty: midnight.
    start: str = ""
    #: The fields of its jobs, for topics that do not set them.
    fields: dict[str, Any] = {}
    #: Seconds after its slot at which a job that has bought nothing expires.
    start_by: StartBy = NEXT_SLOT
    catch_up: CatchUp = CatchUp.NONE
    #: The number of topics in its list; None: the built-in topics, which are repeated.
    topics: int | None = None
    #: Whether the list begins again after its last topic.
    repeat: bool = False
    #: The position of the next topic in the list, counted on if the list is repeated.
    next_topic: int = 0
    #: The slots before this instant are planned, or were missed.
    planned_until: float
    #: The number of slots that have passed without a job.
    missed: int = 0
    pending: tuple[PendingJob, ...] = ()
    paused: bool = False
    #: Why it is paused.
    why: str = ""
    #: Why its next slots cannot be planned; empty: they can.
    problem: str = ""

    @property
    def key(self) -> str:
        """The name with the stamp: the key of its list of topics, and the first part of its jobs' ids."""
        return f"{self.name}-{self.stamp}"

    @property
    def topics_left(self) -> int | None:
        """The number of topics that no slot has; None: there is always one."""
        return None if self.topics is None or self.repeat else max(0, self.topics - self.next_topic)


def check_name(name: str) -> str:
    """Return the name of a schedule. Raises `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("name", f"must be 1 to 40 letters, digits, _ or -, not {name[:60]!r}")
    return name


def encode_schedule(schedule: Schedule) -> str:
    """Return the stored form, which is the same for equal schedules."""
    return msgspec.json.encode(schedule).decode()


def decode_schedule(data: str | bytes) -> Schedule:
    """Decode the stored form. Raises `ValueError`."""
    return msgspec.json.decode(data, type=Schedule)


def encode_topic(topic: Topic) -> str:
    """Return the stored form of a topic."""
    return msgspec.json.encode(topic).decode()


def decode_topic(data: str | bytes) -> Topic:
    """Decode a stored topic. Raises `ValueError`."""
    return msgspec.json.decode(data, type=dict[str, Any])
