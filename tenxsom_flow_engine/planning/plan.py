"""Plans: what adding topics would do, with new jobs, start times and prices.

The command line and the dashboard show a plan before they add its jobs.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import msgspec

from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.planning.batch import Timing, plan_batch
from tenxsom_flow_engine.planning.files import BadLine, read_topics
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.text import usd


@dataclass(frozen=True, slots=True)
class Row:
    """A job of a plan, for people: as it would be added, or as it is if it was added before (`known`)."""

    job_id: str
    topic: str
    known: bool
    #: None: at once; of a known job: it waits for nothing.
    start: float | None
    service: str
    #: Seconds.
    duration: int
    #: The expected cost; None if it is not known.
    usd: float | None
    #: The text that the service gets.
    prompt: str
    #: What was changed to fit the service.
    notes: tuple[str, ...] = ()

    @classmethod
    def planned(cls, prepared: Prepared, *, known: bool = False) -> Row:
        """Tell of a job as it was prepared."""
        job, cost = prepared.new.job, prepared.new.cost
        usd = cost.usd if cost else None
        return cls(
            job.job_id, job.topic, known, prepared.new.due, prepared.service, job.duration, usd, prepared.prompt,
            prepared.notes,
        )  # fmt: skip

    @classmethod
    def added_before(cls, record: JobRecord, start: float | None = None) -> Row:
        """Tell of a job that the store has, and of its place in the plan if that is at a fixed time."""
        job, usd = record.job, record.cost.usd if record.cost else None
        start, service = record.due if start is None else start, record.effective_service
        prompt = record.submission.prompt or job.prompt
        return cls(job.job_id, job.topic, True, start, service, job.duration, usd, prompt)


@dataclass(frozen=True, slots=True)
class Price:
    """The expected cost of a number of jobs in USD; of `unknown` jobs the price is not known."""

    jobs: int
    usd: float
    unknown: int

    @classmethod
    def of(cls, prices: Iterable[float | None]) -> Price:
        """Add up prices; None is a price that is not known."""
        every = list(prices)
        known = [usd for usd in every if usd is not None]
        return cls(len(every), sum(known), len(every) - len(known))

    @property
    def free(self) -> bool:
        """Whether all jobs are known to be free."""
        return not self.usd and not self.unknown

    def __str__(self) -> str:
        if self.jobs and self.unknown == self.jobs:
            return "of unknown price"
        return f"about {usd(self.usd)}" + (f" and {self.unknown:,} of unknown price" if self.unknown else "")


@dataclass(frozen=True, slots=True)
class Totals:
    """How many jobs of a plan are new, what these cost, and how many are known already."""

    new: int
    known: int
    price: Price

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Totals:
        """Add the rows of a plan up."""
        new = [row.usd for row in rows if not row.known]
        return cls(len(new), len(rows) - len(new), Price.of(new))


@dataclass(frozen=True, slots=True)
class AddPlan:
    """What a list comes to: its jobs in their order, ready to be added, and the lines that cannot be used."""

    jobs: Sequence[Prepared]
    bad: Sequence[BadLine] = ()

    @property
    def new(self) -> Sequence[NewJob]:
        """The jobs as a queue takes them; one that is known adds nothing."""
        return [prepared.new for prepared in self.jobs]

    @property
    def notes(self) -> Sequence[tuple[str, int]]:
        """What was changed to fit the services, each change with the number of its jobs, the most frequent first."""
        return Counter(note for prepared in self.jobs for note in prepared.notes).most_common()

    @property
    def digest(self) -> str:
        """What tells this plan from one with another job, start, price, prompt, note or bad line."""
        return hashlib.sha256(msgspec.json.encode((self.jobs, self.bad))).hexdigest()

    def rows(self, store: JobStore) -> Sequence[Row]:
        """Return what there is to say of each job, as the store knows them now."""
        records = store.get_each([prepared.new.job.job_id for prepared in self.jobs])
        known = {record.job_id: record for record in records}
        return [
            Row.added_before(record) if (record := known.get(item.new.job.job_id)) else Row.planned(item)
            for item in self.jobs
        ]


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
) -> AddPlan:
    """Plan a list of topics (see `planning.files`), with `defaults` for the fields that a line does not give.

    Planned twice with the same `timing`, it is the same plan, also if a part of it was added in between. With a `salt`
    the jobs differ from those that were added before. `zone` is that of moments without one (default: this machine's).
    Raises `InvalidInput` for what is no list at all.
    """

    def known(job_id: str) -> bool:
        # Asked only where the answer matters: a look for each of many jobs takes a while.
        if not timing.stagger or salt:
            return False
        record = store.get(job_id)
        return record is not None and record.added_at < timing.now

    with closing(read_topics(stream, name, zone)) as lines:
        good, bad = plan_batch(lines, defaults, timing, prepare, salt=salt, known=known)
    return AddPlan(good, bad)
