"""The preview of a plan: its jobs, their cost, adjustments and delays, and the invalid lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import AUTO
from tenxsom_flow_engine.planning.entries import BadLine
from tenxsom_flow_engine.planning.past import Past
from tenxsom_flow_engine.planning.plan import AddPlan, Row, Totals
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.rate_limits.windows import last_begin, parse_windows
from tenxsom_flow_engine.report.model import Report, WindowFigures
from tenxsom_flow_engine.web.dashboard.add_form import Typed

#: Maximum number of jobs, and of invalid lines, that are listed.
MOST_SHOWN = 200
#: Maximum number of times in the past that are listed.
MOST_PAST_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Delay:
    """The minimum delay of the last of `jobs` jobs that limits cause."""

    #: The service of the limits; empty for the limits over all services together.
    service: str
    windows: Sequence[WindowFigures]
    jobs: int
    #: Seconds after its start time.
    late: float


@dataclass(frozen=True, slots=True)
class BadLines:
    """The number of invalid lines, and the line number, reason and text of the first ones."""

    count: int
    shown: Sequence[Mapping[str, object]]
    #: Some would be valid without their unknown fields.
    unknown_fields: bool

    @classmethod
    def of(cls, bad: Sequence[BadLine], typed: Typed) -> BadLines:
        """Return the invalid lines of a form."""
        text = typed["topics"].split("\n")
        shown = [{"number": one.line, "reason": one.reason, "text": text[one.line - 1]} for one in bad[:MOST_SHOWN]]
        return cls(len(bad), shown, any(one.unknown_field for one in bad))


@dataclass(frozen=True, slots=True)
class PastStarts:
    """The number of jobs whose time lies in the past, line number, time and text of the first ones, and the choice."""

    count: int
    shown: Sequence[Mapping[str, object]]
    choice: Past
    refused: bool

    @classmethod
    def of(cls, plan: AddPlan, typed: Typed) -> PastStarts:
        """Return the jobs of a form's plan whose time lies in the past."""
        text = typed["topics"].split("\n")
        first = plan.past[:MOST_PAST_SHOWN]
        shown = [{"number": one.line, "at": one.at, "text": text[one.line - 1]} for one in first]
        return cls(len(plan.past), shown, plan.past_choice, plan.refused)


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan made at an instant, with the present state of the store and the limits."""

    at: float
    digest: str
    rows: Sequence[Row]
    totals: Totals
    notes: Sequence[tuple[str, int]]
    bad: BadLines
    past: PastStarts
    #: The number of comment lines, and the unknown fields that were left out.
    comments: int
    ignored: Sequence[str]
    delays: Sequence[Delay]
    #: Sentences about the jobs that do not fit into the budgets.
    overruns: Sequence[str]

    @classmethod
    def of(cls, engine: Engine, report: Report, plan: AddPlan, typed: Typed, at: float) -> PlanView:
        """Return the view of a plan. Raises `StoreError`."""
        rows = plan.rows(engine.store)
        delays = list(_delays(_starts(engine, plan, rows, at), report))
        return cls(
            at, plan.digest, rows, Totals.of(rows), plan.notes, BadLines.of(plan.bad, typed),
            PastStarts.of(plan, typed), plan.comments, plan.ignored, delays,
            [str(one) for one in engine.overruns(_new(plan, rows))],
        )  # fmt: skip

    @property
    def shown(self) -> Sequence[Row]:
        """The rows that are listed."""
        return self.rows[:MOST_SHOWN]

    @property
    def last_start(self) -> float:
        """The start of the last new job."""
        return max((row.start or self.at for row in self.rows if not row.known), default=self.at)


def _new(plan: AddPlan, rows: Sequence[Row]) -> Sequence[Prepared]:
    return [item for item, row in zip(plan.jobs, rows, strict=True) if not row.known]


def _starts(engine: Engine, plan: AddPlan, rows: Sequence[Row], now: float) -> Mapping[str, Sequence[float]]:
    """Return the starts of the new jobs by service; the empty name has all of them."""
    starts: dict[str, list[float]] = defaultdict(list)
    for item, row in zip(plan.jobs, rows, strict=True):
        if not row.known:
            start = max(now, row.start or now)
            starts[""].append(start)
            # With several candidates, the service is chosen only when the job runs.
            if item.new.job.service != AUTO or len(engine.auto_services) == 1:
                starts[row.service].append(start)
    return starts


def _delays(starts: Mapping[str, Sequence[float]], report: Report) -> Iterator[Delay]:
    """Give the delays that limits cause even if no other job uses them."""
    limits = {"": report.overall} | {service.name: service.windows for service in report.services}
    for service, wanted in sorted(starts.items()):
        figures = limits.get(service, ())
        windows = tuple(window for one in figures for window in parse_windows(one.name))
        late = last_begin(wanted, windows) - max(wanted)
        if late > 0:
            yield Delay(service, figures, len(wanted), late)
