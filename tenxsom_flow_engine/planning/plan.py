"""Plans: the new jobs, start times and prices that adding a list of topics would result in.

The command line and the dashboard show a plan before they add its jobs.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, TypeVar

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.planning.batch import Timing, plan_batch
from tenxsom_flow_engine.planning.entries import BadLine
from tenxsom_flow_engine.planning.files import read_topics
from tenxsom_flow_engine.planning.made import MadeTopics
from tenxsom_flow_engine.planning.past import Past, PastStart
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.text import usd

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Row:
    """A job of a plan, for display: as it would be added, or its present state if it already exists (`known`)."""

    job_id: str
    topic: str
    known: bool
    #: None means now; for a known job, that it is not waiting.
    start: float | None
    service: str
    #: Seconds.
    duration: int
    #: The estimated cost; None if unknown.
    usd: float | None
    #: The prompt that is sent to the service.
    prompt: str
    #: Adjustments made to fit the service.
    notes: tuple[str, ...] = ()
    #: The highest cost, if several services can make the job.
    max_usd: float | None = None

    @classmethod
    def planned(cls, prepared: Prepared, *, known: bool = False) -> Row:
        """Make a row from a prepared job."""
        job, cost = prepared.new.job, prepared.new.cost
        usd = cost.usd if cost else None
        return cls(
            job.job_id, job.topic, known, prepared.new.due, prepared.service, job.duration, usd, prepared.prompt,
            prepared.notes, prepared.new.max_usd,
        )  # fmt: skip

    @classmethod
    def added_before(cls, record: JobRecord, start: float | None = None) -> Row:
        """Make a row from an existing job, with `start` if its slot in the plan has a fixed time."""
        job, usd = record.job, record.cost.usd if record.cost else None
        start, service = record.due if start is None else start, record.effective_service
        prompt = record.submission.prompt or job.prompt
        return cls(job.job_id, job.topic, True, start, service, job.duration, usd, prompt)


@dataclass(frozen=True, slots=True)
class Price:
    """The estimated cost of several jobs in USD; `unknown` is the number of jobs without a known price."""

    jobs: int
    usd: float
    unknown: int
    #: The cost if `auto` chooses the most expensive service for each job.
    highest: float = 0.0

    @classmethod
    def of(cls, prices: Iterable[tuple[float | None, float | None]]) -> Price:
        """Add up pairs of the estimated and the highest price; None is an unknown price, or the same highest price."""
        every = list(prices)
        known = [(usd, usd if highest is None else highest) for usd, highest in every if usd is not None]
        lowest, highest = (sum(amounts) for amounts in zip(*known, strict=True)) if known else (0, 0)
        return cls(len(every), lowest, len(every) - len(known), highest)

    @property
    def free(self) -> bool:
        """Whether all jobs are known to be free."""
        return not self.usd and not self.highest and not self.unknown

    def __str__(self) -> str:
        if self.jobs and self.unknown == self.jobs:
            return "of unknown price"
        most = f" to {usd(self.highest)}" if usd(self.highest) != usd(self.usd) else ""
        return f"about {usd(self.usd)}{most}" + (f" and {self.unknown:,} of unknown price" if self.unknown else "")


@dataclass(frozen=True, slots=True)
class Totals:
    """The numbers of new and of existing jobs in a plan, and the price of the new ones."""

    new: int
    known: int
    price: Price

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Totals:
        """Add up the rows of a plan."""
        new = [(row.usd, row.max_usd) for row in rows if not row.known]
        return cls(len(new), len(rows) - len(new), Price.of(new))


@dataclass(frozen=True, slots=True)
class AddPlan:
    """The result of planning a list: its jobs in order, ready to be added, and the parts that are not jobs."""

    jobs: Sequence[Prepared]
    bad: Sequence[BadLine] = ()
    #: The times in the past, and the choice for their jobs.
    past: Sequence[PastStart] = ()
    past_choice: Past = Past.REFUSE
    #: The number of comment lines.
    comments: int = 0
    #: The unknown fields that were left out.
    ignored: Sequence[str] = ()

    @property
    def new(self) -> Sequence[NewJob]:
        """The jobs in the form that a queue accepts; enqueuing an existing one adds nothing."""
        return [prepared.new for prepared in self.jobs]

    @property
    def refused(self) -> bool:
        """Whether nothing can be added because of times in the past."""
        return bool(self.past) and self.past_choice is Past.REFUSE

    @property
    def notes(self) -> Sequence[tuple[str, int]]:
        """The adjustments made to fit the services, each with its number of jobs, the most frequent first."""
        return Counter(note for prepared in self.jobs for note in prepared.notes).most_common()

    @property
    def digest(self) -> str:
        """A hash that changes with any job, start, price, prompt, note or invalid line of the plan."""
        return hashlib.sha256(msgspec.json.encode((self.jobs, self.bad))).hexdigest()

    def rows(self, store: JobStore) -> Sequence[Row]:
        """Return a row for each job, with the state of existing jobs from the store."""
        records = store.get_each([prepared.new.job.job_id for prepared in self.jobs])
        known = {record.job_id: record for record in records}
        return [
            Row.added_before(record) if (record := known.get(item.new.job.job_id)) else Row.planned(item)
            for item in self.jobs
        ]


def new_ones(jobs: Sequence[Prepared], store: JobStore) -> Sequence[Prepared]:
    """Return the prepared jobs that do not exist yet."""
    known = {record.job_id for record in store.get_each([prepared.new.job.job_id for prepared in jobs])}
    return [prepared for prepared in jobs if prepared.new.job.job_id not in known]


def read_plan(
    prepare: Callable[[VideoJob, float | None], Prepared],
    store: JobStore,
    stream: io.BufferedReader,
    name: str,
    defaults: Mapping[str, Any],
    timing: Timing,
    *,
    salt: str = "",
    zone: tzinfo | None = None,
    ignore_unknown: bool = False,
    encoding: str | None = None,
    most: int | None = None,
    at_default_duration: Callable[[VideoJob], VideoJob] = lambda job: job,
    with_channel_defaults: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda fields: fields,
    made: MadeTopics | None = None,
) -> AddPlan:
    """Plan a list of topics (see `planning.files`), with `defaults` for fields that a line omits.

    Planning again with the same `timing` gives the same plan, even if some jobs were added in between. A `salt` gives
    jobs that differ from existing ones. `zone`, `ignore_unknown` and `encoding` are those of `read_topics`.
    `at_default_duration` gives a job its duration if the list has none for it. `with_channel_defaults` adds
    those of its channel. New jobs with `made` topics are skipped, which `made` notes. Raises `InvalidInput` if the file
    is not a list, or has more than `most` entries.
    """

    def known(job_id: str) -> bool:
        # Read the store only if the result matters: one query per job is slow for a long list.
        if not timing.stagger or salt:
            return False
        record = store.get(job_id)
        return record is not None and record.added_at < timing.now

    def added(job_id: str) -> bool:
        return not salt and store.knows_id(job_id)

    def skipped(job: VideoJob) -> bool:
        if made is None or added(job.job_id):
            return False
        if made.skip(job.topic, job.channel):
            return True
        made.plan(job.topic, job.channel, job.job_id)
        return False

    with closing(read_topics(stream, name, zone, ignore_unknown=ignore_unknown, encoding=encoding)) as lines:
        batch = plan_batch(
            _limited(lines, most, name),
            defaults,
            timing,
            prepare,
            salt=salt,
            known=known,
            added=added,
            skipped=skipped,
            at_default_duration=at_default_duration,
            with_channel_defaults=with_channel_defaults,
        )
    return AddPlan(batch.jobs, batch.bad, batch.past, timing.past, batch.comments, tuple(batch.ignored))


def _limited(entries: Iterable[_T], most: int | None, name: str) -> Iterator[_T]:
    for count, entry in enumerate(entries, start=1):
        if most is not None and count > most:
            raise InvalidInput(name, f"have more than {most:,} entries")
        yield entry
