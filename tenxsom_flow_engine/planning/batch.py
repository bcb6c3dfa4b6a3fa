"""A list of entries becomes a list of jobs, each line checked before any is added."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob, slug
from tenxsom_flow_engine.planning.files import BadLine, Entry
from tenxsom_flow_engine.planning.timestamps import bounded

_T = TypeVar("_T")

_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(VideoJob)}


@dataclass(frozen=True, slots=True)
class Timing:
    """When the jobs of a batch start: the first at `start` (None: at once), each next one `stagger` seconds later."""

    now: float
    start: float | None = None
    stagger: float = 0.0

    def due(self, place: int) -> float | None:
        """Return when the job at a place (counted from 0) starts; None is at once. Raises `InvalidInput`."""
        if self.start is None and not self.stagger:
            return None
        due = (self.now if self.start is None else self.start) + place * self.stagger
        return bounded(due, "stagger" if place and self.stagger else "delay")


def plan_batch(
    entries: Iterable[Entry | BadLine],
    defaults: Mapping[str, Any],
    timing: Timing,
    prepare: Callable[[VideoJob, float | None], _T],
    *,
    salt: str = "",
    known: Callable[[str], bool] = lambda job_id: False,
) -> tuple[list[_T], list[BadLine]]:
    """Make a job of each good entry, and say what is wrong with the others.

    `prepare` gets each job with the instant of its start; it may refuse with `InvalidInput`. A job's id follows from
    its content and from how often that content stood before it, so that the same list gives the same ids; another
    `salt` gives others. Jobs whose ids are `known` take no place in the stagger.
    """
    good: list[_T] = []
    bad: list[BadLine] = []
    occurrences: Counter[str] = Counter()
    place = 0
    for entry in entries:
        if isinstance(entry, BadLine):
            bad.append(entry)
            continue
        fields = _normal({**defaults, **entry.fields})
        content = _content(fields, entry.at, salt)
        occurrences[content] += 1
        job_id = content_job_id(str(fields["topic"]), f"{content}{occurrences[content]}")
        try:
            due = entry.at if entry.at is not None else timing.due(place)
            prepared = prepare(VideoJob(job_id=job_id, created_at=timing.now, **fields), due)
        except InvalidInput as error:
            field = error.field.partition(".")[0]
            if field in defaults.keys() - entry.fields.keys():
                why = error.reason if error.field == field else error.message
                step = f" ({error.next_step})" if error.next_step else ""
                bad.append(BadLine(entry.line, str(error), field, why + step))
            else:
                bad.append(BadLine(entry.line, str(error)))
        else:
            good.append(prepared)
            place += not known(job_id)
    return good, bad


def content_job_id(topic: str, content: str) -> str:
    """Return an id that a person recognises and that follows from the content."""
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug(topic)}-{digest[:16]}"


def _normal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say something: text without blanks around it, and nothing that is a job's default."""
    stripped = {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}
    return {name: value for name, value in stripped.items() if value != _DEFAULTS.get(name)}


def _content(fields: Mapping[str, Any], at: float | None, salt: str) -> str:
    """Return what makes a job this one and no other. Never change it: ids of lists added before follow from it."""
    rest = {"at": at, "again": salt}
    return json.dumps({**fields, **{name: value for name, value in rest.items() if value}}, sort_keys=True)
