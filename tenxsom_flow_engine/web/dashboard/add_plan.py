"""What the page of a plan shows: its jobs, what they cost, what bends them and holds them up, and what is left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import AUTO
from tenxsom_flow_engine.planning.files import BadLine
from tenxsom_flow_engine.planning.plan import AddPlan, Row, Totals
from tenxsom_flow_engine.rate_limits.windows import last_begin, parse_windows
from tenxsom_flow_engine.report.model import Report, WindowFigures
from tenxsom_flow_engine.web.dashboard.add_form import Typed

#: Jobs of a plan, and bad lines, that are shown one by one.
MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Delay:
    """How late the last of so many jobs begins at the earliest, since limits hold it up."""

    #: Whose limits; empty: those over all services together.
    service: str
    windows: Sequence[WindowFigures]
    jobs: int
    #: Seconds from its start.
    late: float


@dataclass(frozen=True, slots=True)
class BadLines:
    """How many lines cannot be used, and of the first of them number, reason and text."""

    count: int
    shown: Sequence[Mapping[str, object]]

    @classmethod
    def of(cls, bad: Sequence[BadLine], typed: Typed) -> BadLines:
        """Show the bad lines of what was typed."""
        text = typed["topics"].split("\n")
        shown = [{"number": one.line, "reason": one.reason, "text": text[one.line - 1]} for one in bad[:MOST_SHOWN]]
        return cls(len(bad), shown)


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan that was made at an instant, as the store and the limits are now."""

    at: float
    digest: str
    rows: Sequence[Row]
    totals: Totals
    notes: Sequence[tuple[str, int]]
    bad: BadLines
    delays: Sequence[Delay]

    @classmethod
    def of(cls, engine: Engine, report: Report, plan: AddPlan, typed: Typed, at: float) -> PlanView:
        """Look at a plan. Raises `StoreError`."""
        rows = plan.rows(engine.store)
        delays = list(_delays(_starts(engine, plan, rows, at), report))
        return cls(at, plan.digest, rows, Totals.of(rows), plan.notes, BadLines.of(plan.bad, typed), delays)

    @property
    def shown(self) -> Sequence[Row]:
        """The rows that are shown one by one."""
        return self.rows[:MOST_SHOWN]

    @property
    def last_start(self) -> float:
        """When the last new job starts."""
        return max((row.start or self.at for row in self.rows if not row.known), default=self.at)


def _starts(engine: Engine, plan: AddPlan, rows: Sequence[Row], now: float) -> Mapping[str, Sequence[float]]:
    """Return when the new jobs start, by service, and those of all together under no name."""
    starts: dict[str, list[float]] = defaultdict(list)
    for item, row in zip(plan.jobs, rows, strict=True):
        if not row.known:
            start = max(now, row.start or now)
            starts[""].append(start)
            # Of several that may be chosen nobody knows which will be, before the job's turn.
            if item.new.job.service != AUTO or len(engine.auto_services) == 1:
                starts[row.service].append(start)
    return starts


def _delays(starts: Mapping[str, Sequence[float]], report: Report) -> Iterator[Delay]:
    """Tell which limits would put jobs off even if nobody else asked for anything."""
    limits = {"": report.overall} | {service.name: service.windows for service in report.services}
    for service, wanted in sorted(starts.items()):
        figures = limits.get(service, ())
        windows = tuple(window for one in figures for window in parse_windows(one.name))
        late = last_begin(wanted, windows) - max(wanted)
        if late > 0:
            yield Delay(service, figures, len(wanted), late)
