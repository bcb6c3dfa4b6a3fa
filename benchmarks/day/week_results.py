"""The figures of a simulated week by day and channel, and checks of what the engine guarantees.

The expected slots are computed from local hours, not with the engine's planner.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cached_property

from benchmarks.day.vendors import job_of
from benchmarks.day.week import ZONE, ChannelTerms, Week, instant, midnight
from tenxsom_flow_engine.channels.schedules import CatchUp
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.planning.slots import slot_instant
from tenxsom_flow_engine.rate_limits.windows import GLOBAL

#: Slots are an hour apart. A video is on time if it is bought within this many seconds after its slot.
INTERVAL = 3600.0
#: Rounding errors of sums are below this.
ROUNDING = 1e-6
#: The begin and the end of a span, in seconds since 1970.
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """The slots of one channel on one local day, by what became of them."""

    day: date
    channel: str
    slots: int
    #: Slots that got a job before they passed.
    planned: int
    #: Slots that passed without a job, and got one later; or that were left out.
    caught_up: int
    skipped: int
    #: Jobs by their ends; `failed` includes those that are held.
    made: int
    expired: int
    failed: int
    on_time: int
    #: USD spent on this day, also for slots of other days.
    usd: float


@dataclass(frozen=True, slots=True)
class Check:
    """A guarantee, what was examined, and how it was broken; empty: it holds."""

    name: str
    examined: str
    broken: Sequence[str]


@dataclass
class ChannelWeek:
    """One channel in a simulated week."""

    week: Week
    terms: ChannelTerms
    #: When creates were received for its jobs, by job.
    creates: Mapping[str, Sequence[float]] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, list[float]] = defaultdict(list)
        for at, reference in self.week.creates:
            found[job_of(reference)].append(at)
        self.creates = {record.job_id: found[record.job_id] for record in self.all_records if found[record.job_id]}

    @property
    def all_records(self) -> Sequence[JobRecord]:
        """All jobs, also those that are planned for later days."""
        return self.week.records[self.terms.name]

    @cached_property
    def slots(self) -> Sequence[float]:
        """The expected slots: each local hour of its days that exists."""
        return [float(at) for day in self.week.scenario.dates for at in self.slots_of(day)]

    def slots_of(self, day: date) -> Sequence[float]:
        """Return the expected slots of a local day: the first hours from its start on, without one that clocks skip."""
        if day.weekday() not in self.terms.days:
            return []
        shown = [datetime.combine(day, time(hour)) for hour in range(self.terms.start, 24)]
        # A skipped hour is another one when it is shown.
        exist = [at for at in map(instant, shown) if datetime.fromtimestamp(at, ZONE).replace(tzinfo=None) in shown]
        return sorted(set(exist))[: self.terms.daily_count]

    @cached_property
    def jobs(self) -> Mapping[float, JobRecord]:
        """The jobs of the days by slot."""
        return {slot: record for slot, record in self.numbered if slot < self.week.scenario.end}

    @cached_property
    def numbered(self) -> Sequence[tuple[float, JobRecord]]:
        """All jobs with the slot that is named by their id; a slot of -1 is of no schedule."""
        key = self.week.schedules[self.terms.name].key
        return [(float(slot_instant(key, record.job_id) or -1), record) for record in self.all_records]

    def first_create(self, record: JobRecord) -> float | None:
        """Return when the first create for a job was received."""
        return next(iter(self.creates.get(record.job_id, ())), None)

    def late(self, slot: float) -> bool:
        """Return whether the job of a slot was planned after it."""
        return self.jobs[slot].job.created_at > slot

    def row(self, day: date) -> Row:
        """Return the figures of a day."""
        slots = list(self.slots_of(day))
        with_job = [slot for slot in slots if slot in self.jobs]
        records = [self.jobs[slot] for slot in with_job]
        starts = {slot: self.first_create(self.jobs[slot]) for slot in with_job}
        late = sum(self.late(slot) for slot in with_job)
        return Row(
            day,
            self.terms.name,
            len(slots),
            len(with_job) - late,
            late,
            len(slots) - len(with_job),
            sum(record.status is Status.SUCCEEDED for record in records),
            sum(record.expired for record in records),
            sum(record.status in (Status.FAILED, Status.HELD) for record in records),
            sum(at is not None and at <= slot + INTERVAL for slot, at in starts.items()),
            self.spent_by_day().get(day, 0.0),
        )

    def charges(self) -> Sequence[tuple[float, float]]:
        """Return when money was spent, in order, and the USD: at the creates that were accepted."""
        received = {reference: at for at, reference in self.week.creates}
        return sorted(
            (received[purchase.submission], (purchase.cost and purchase.cost.usd) or 0.0)
            for record in self.all_records
            for purchase in record.purchases
        )

    def spent_by_day(self) -> Mapping[date, float]:
        """Return the USD spent on each local day."""
        total: dict[date, float] = defaultdict(float)
        for at, usd in self.charges():
            total[datetime.fromtimestamp(at, ZONE).date()] += usd
        return total

    def waits(self) -> Sequence[Span]:
        """Return the spans in which a job of this channel could have been bought and waited, joined and in order.

        A channel does not wait during the outage, nor while its budget has no room.
        """
        spans = []
        for slot, record in self.numbered:
            first = self.first_create(record)
            end = first if first is not None else (record.finished_at or self.week.scenario.end)
            # A job that can no longer start does not wait, even if nothing has noticed it yet.
            spans.append((max(slot, record.job.created_at), min(end, record.start_by or end)))
        return without(join(spans), [self.week.scenario.outage, *self._spent()])

    def _spent(self) -> Iterator[Span]:
        """Yield the spans in which the budget has no room for another video."""
        charges = self.charges()
        price = max((usd for _, usd in charges), default=0.0)
        total: dict[date, float] = defaultdict(float)
        for at, usd in charges:
            day = datetime.fromtimestamp(at, ZONE).date()
            total[day] += usd
            if total[day] + price > self.terms.budget + ROUNDING:
                yield at, midnight(day + timedelta(days=1))


def join(spans: Sequence[Span]) -> list[Span]:
    """Return the union of spans, in order."""
    found: list[Span] = []
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def without(spans: Sequence[Span], removed: Sequence[Span]) -> list[Span]:
    """Return the parts of spans that are in none of the removed ones."""
    left = list(spans)
    for begin, end in removed:
        left = [
            part
            for first, last in left
            for part in ((first, min(last, begin)), (max(first, end), last))
            if part[0] < part[1]
        ]
    return left


def both(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Return the common parts of two lists of spans."""
    return join([(max(a, c), min(b, d)) for a, b in one for c, d in other])


class WeekResults:
    """The rows and the checks of a simulated week."""

    def __init__(self, week: Week) -> None:
        self._week = week
        self._channels = [ChannelWeek(week, terms) for terms in week.scenario.channels]

    def rows(self) -> Sequence[Row]:
        """Return the rows, by day and channel."""
        return [channel.row(day) for day in self._week.scenario.dates for channel in self._channels]

    def checks(self) -> Sequence[Check]:
        """Return all checks."""
        slots = sum(len(channel.slots) for channel in self._channels)
        jobs = sum(len(channel.jobs) for channel in self._channels)
        spans = self._both_wait()
        return [
            Check("each job has a slot, and each slot at most one job", f"{slots} slots", list(self._jobs_and_slots())),
            Check("no topic is used twice, none is lost", f"{jobs} jobs", list(self._topics())),
            Check("each local hour that exists has its slot once", f"{slots} slots", list(self._hours())),
            Check("slots in the outage are caught up as chosen", self._lost_slots(), list(self._outage())),
            Check("no create after the latest start", f"{len(self._week.creates)} creates", list(self._late())),
            Check("no job is bought twice", f"{len(self._week.sold)} sales", list(self._sold_twice())),
            Check("no create during the outage", f"{len(self._week.creates)} creates", list(self._in_outage())),
            Check("quotas and slots of the service hold", self._fullest(), list(self._quotas())),
            Check("spending within each budget, on each local day", self._most_spent(), list(self._budgets())),
            Check(
                "shares by weight while both channels wait",
                f"{sum(map(len, map(self._starts_in, spans)))} starts in {len(spans)} spans",
                list(self._shares(spans)),
            ),
            Check("each job has ended", f"{jobs} jobs", list(self._unfinished())),
        ]

    def _jobs_and_slots(self) -> Iterator[str]:
        for channel in self._channels:
            counts = Counter(slot for slot, _ in channel.numbered if slot < self._week.scenario.end)
            yield from (f"{_local(slot)} has {count} jobs" for slot, count in counts.items() if count > 1)
            yield from (f"{channel.jobs[slot].job_id} is no slot" for slot in counts.keys() - set(channel.slots))

    def _topics(self) -> Iterator[str]:
        for channel in self._channels:
            schedule = self._week.schedules[channel.terms.name]
            uses = Counter(record.job.topic for record in channel.all_records)
            yield from (f"{topic} is used {count} times" for topic, count in uses.items() if count > 1)
            if len(uses) != schedule.next_topic or schedule.pending:
                yield f"{schedule.name} took {schedule.next_topic} topics for {len(uses)} jobs"

    def _hours(self) -> Iterator[str]:
        """Compare the hours that clocks show at the slots with jobs with those of the days, without left out slots."""
        begin, end = self._week.scenario.outage
        for channel in self._channels:
            left_out = channel.terms.catch_up is not CatchUp.ALL

            def shown(slots: Iterable[float], left_out: bool = left_out) -> Counter[str]:
                kept = (slot for slot in slots if not (left_out and begin <= slot < end))
                return Counter(f"{datetime.fromtimestamp(slot, ZONE):%Y-%m-%d %H:%M}" for slot in kept)

            expected, got = shown(channel.slots), shown(channel.jobs)
            yield from (f"{channel.terms.name}: {hour} is lost" for hour in expected - got)
            yield from (f"{channel.terms.name}: {hour} is doubled" for hour in got - expected)

    def _lost_slots(self) -> str:
        begin, end = self._week.scenario.outage
        return f"{sum(begin <= slot < end for channel in self._channels for slot in channel.slots)} slots"

    def _outage(self) -> Iterator[str]:
        begin, end = self._week.scenario.outage
        for channel in self._channels:
            name, choice = channel.terms.name, channel.terms.catch_up
            inside = [slot for slot in channel.slots if begin <= slot < end]
            planned = {slot for slot in inside if slot in channel.jobs and channel.jobs[slot].job.created_at < begin}
            free = [slot for slot in inside if slot not in planned]
            made_up = {CatchUp.NONE: [], CatchUp.LATEST: free[-1:], CatchUp.ALL: free}[choice]
            if wrong := {slot for slot in free if slot in channel.jobs} ^ set(made_up):
                yield f"{name}, catch-up {choice}: {', '.join(map(_local, sorted(wrong)))} caught up or left out"
            missed = self._week.schedules[name].missed
            if missed != len(free) - len(made_up):
                yield f"{name} counts {missed} missed slots instead of {len(free) - len(made_up)}"
            for slot in planned:
                record = channel.jobs[slot]
                in_time = record.start_by is None or record.start_by > end
                if (record.start_by is None and record.expired) or not (in_time or record.expired):
                    yield f"{record.job_id} ended as {record.status} after the outage"

    def _late(self) -> Iterator[str]:
        for channel in self._channels:
            for record in channel.all_records:
                for at in channel.creates.get(record.job_id, ()):
                    if record.start_by is not None and at > record.start_by:
                        yield f"{record.job_id}, {at - record.start_by:.0f} s late"
                if record.expired and (record.purchases or record.job_id in channel.creates):
                    yield f"{record.job_id} expired, and a create was sent"

    def _sold_twice(self) -> Iterator[str]:
        counts = Counter(job_of(reference) for reference in self._week.sold)
        yield from (f"{job_id}: {count} times" for job_id, count in counts.items() if count > 1)

    def _in_outage(self) -> Iterator[str]:
        begin, end = self._week.scenario.outage
        yield from (f"{reference} at {_local(at)}" for at, reference in self._week.creates if begin <= at < end)

    def _fullest(self) -> str:
        return ", ".join(f"{use.name} {use.most} in {use.window}" for use in self._week.windows if use.name != GLOBAL)

    def _quotas(self) -> Iterator[str]:
        yield from (f"{use.name}: {use.most} in {use.window}" for use in self._week.windows if use.share > 1)
        if self._week.overbooked:
            yield f"{self._week.overbooked} creates above the slots"

    def _most_spent(self) -> str:
        return ", ".join(
            f"{channel.terms.name} at most ${max(channel.spent_by_day().values(), default=0.0):.2f} "
            f"of ${channel.terms.budget:.2f}"
            for channel in self._channels
        )

    def _budgets(self) -> Iterator[str]:
        for channel in self._channels:
            for day, usd in channel.spent_by_day().items():
                if usd > channel.terms.budget + ROUNDING:
                    yield f"{channel.terms.name} spent ${usd:.2f} on {day}"

    def _both_wait(self) -> Sequence[Span]:
        one, other = self._channels
        return both(one.waits(), other.waits())

    def _starts_in(self, span: Span) -> Sequence[tuple[float, str]]:
        begin, end = span
        return sorted(
            (at, channel.terms.name)
            for channel in self._channels
            for instants in channel.creates.values()
            for at in instants
            if begin < at <= end
        )

    def _shares(self, spans: Sequence[Span]) -> Iterator[str]:
        """Compare the starts of both channels, by their weights, in each span in which both wait.

        In fair queueing, they are apart by at most one start of each channel, over any part of such a span.
        """
        weights = {channel.terms.name: channel.terms.weight for channel in self._channels}
        one, other = weights
        allowed = sum(1 / weight for weight in weights.values())
        for span in spans:
            ahead = low = high = 0.0
            for _, name in self._starts_in(span):
                ahead += (1 if name == one else -1) / weights[name]
                low, high = min(low, ahead), max(high, ahead)
            if high - low > allowed + ROUNDING:
                yield f"{one} and {other} are {high - low:g} apart from {_local(span[0])} to {_local(span[1])}"

    def _unfinished(self) -> Iterator[str]:
        for channel in self._channels:
            for record in channel.jobs.values():
                if record.status not in (Status.SUCCEEDED, Status.FAILED, Status.HELD) and not record.expired:
                    yield f"{record.job_id} is {record.status}"


def _local(at: float) -> str:
    """Return an instant as a local time, with the offset, as two instants can show the same."""
    return datetime.fromtimestamp(at, ZONE).isoformat(timespec="minutes")
