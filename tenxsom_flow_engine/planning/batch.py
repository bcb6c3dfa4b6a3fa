"""Converts a list of entries to jobs, checking every line before any job is added."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob, slug
from tenxsom_flow_engine.planning.entries import BadLine, Comment, Entry
from tenxsom_flow_engine.planning.past import Past, PastStart, is_past
from tenxsom_flow_engine.planning.timestamps import bounded

_T = TypeVar("_T")

_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(VideoJob)}


@dataclass(frozen=True, slots=True)
class Timing:
    """Start times of a batch: the first job at `start` (None: now), each later one `stagger` seconds after.

    `past` applies to lines with a time in the past; `Past.NOW` treats them like lines without a time.
    """

    now: float
    start: float | None = None
    stagger: float = 0.0
    past: Past = Past.REFUSE

    def due(self, place: int) -> float | None:
        """Return when the job at position `place` (from 0) starts; None means now. Raises `InvalidInput`."""
        if self.start is None and not self.stagger:
            return None
        due = (self.now if self.start is None else self.start) + place * self.stagger
        return bounded(due, "stagger" if place and self.stagger else "delay")


@dataclass
class Batch(Generic[_T]):
    """The jobs of a list in order, and the parts of the list that are not among them."""

    jobs: list[_T] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    #: The times in the past. Their jobs are left out, unless `Past.NOW` starts them at once.
    past: list[PastStart] = field(default_factory=list)
    #: The number of comment lines.
    comments: int = 0
    #: The unknown fields that were left out; the values are None.
    ignored: dict[str, None] = field(default_factory=dict)


def plan_batch(
    entries: Iterable[Entry | BadLine | Comment],
    defaults: Mapping[str, Any],
    timing: Timing,
    prepare: Callable[[VideoJob, float | None], _T],
    *,
    salt: str = "",
    known: Callable[[str], bool] = lambda job_id: False,
    added: Callable[[str], bool] = lambda job_id: False,
    skipped: Callable[[VideoJob], bool] = lambda job: False,
    at_default_duration: Callable[[VideoJob], VideoJob] = lambda job: job,
    with_channel_defaults: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda fields: fields,
) -> Batch[_T]:
    """Make a job of each valid entry.

    `prepare` gets each job with its start; it can refuse with `InvalidInput`. A job's id is derived from its content
    and the number of earlier entries with the same content, so the same list gives the same ids; a different `salt`
    gives different ones. Jobs whose ids are `known` take no place in the stagger. The time of a job that was `added`
    before can be in the past. `skipped` jobs are left out. `with_channel_defaults` adds those of its channel to the
    fields of a job, and `at_default_duration` gives it its duration if there is none.
    """
    batch: Batch[_T] = Batch()
    occurrences: Counter[str] = Counter()
    place = 0
    for entry in entries:
        if isinstance(entry, Comment):
            batch.comments += 1
            continue
        if isinstance(entry, BadLine):
            batch.bad.append(entry)
            continue
        batch.ignored.update(dict.fromkeys(entry.ignored))
        given: Mapping[str, Any] = {**defaults, **entry.fields}
        fields = normal_fields(given)
        content = _content(fields, entry.at, salt)
        occurrences[content] += 1
        job_id = content_job_id(str(fields["topic"]), f"{content}{occurrences[content]}")
        late = is_past(entry.at, timing.now)
        at = None if late and timing.past is Past.NOW else entry.at
        try:
            due = timing.due(place) if at is None else at
            given = with_channel_defaults(given)
            job = VideoJob(job_id=job_id, created_at=timing.now, **normal_fields(given))
            prepared = prepare(job if "duration" in given else at_default_duration(job), due)
        except InvalidInput as error:
            wrong = error.field.partition(".")[0]
            if wrong in defaults.keys() - entry.fields.keys():
                why = error.reason if error.field == wrong else error.message
                step = f" ({error.next_step})" if error.next_step else ""
                batch.bad.append(BadLine(entry.line, str(error), wrong, why + step))
            else:
                batch.bad.append(BadLine(entry.line, str(error)))
            continue
        if late and entry.at is not None and not added(job_id):
            batch.past.append(PastStart(entry.line, entry.at))
            if timing.past is not Past.NOW:
                continue
        if skipped(job):
            continue
        batch.jobs.append(prepared)
        place += not known(job_id)
    return batch


def planned_job_id(fields: Mapping[str, Any], at: float | None = None, *, salt: str = "") -> str:
    """Return the id that a batch gives to the first entry with these normal fields (see `normal_fields`)."""
    return content_job_id(str(fields["topic"]), f"{_content(fields, at, salt)}1")


def content_job_id(topic: str, content: str) -> str:
    """Return a recognisable id that is derived from the content."""
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug(topic)}-{digest[:16]}"


def normal_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with text stripped and default values removed."""
    stripped = {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}
    return {name: value for name, value in stripped.items() if value != _DEFAULTS.get(name)}


def _content(fields: Mapping[str, Any], at: float | None, salt: str) -> str:
    """Return the text that identifies a job's content. Never change it: ids of existing jobs are derived from it."""
    rest = {"at": at, "again": salt}
    return json.dumps({**fields, **{name: value for name, value in rest.items() if value}}, sort_keys=True)
