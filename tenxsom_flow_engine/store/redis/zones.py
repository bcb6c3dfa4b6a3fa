"""Where the jobs that a list asks for may be: what spares it from reading all the others.

Beside the records the scripts keep, for each channel and each service, a string of bits: one for each zone of 16
positions, which says that a job of it was there at some time. They also keep at which position each day began. All that
takes a few bits a job. Nothing of it is taken back: a record in such a place is read and judged, one elsewhere need not
be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from redis.client import NEVER_DECODE

from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.values import JobFilter

#: Positions in a zone (see `mark` in prelude.lua).
ZONE = 16
#: Above all positions: scores of sorted sets are exact up to here.
TOP = 2**53
#: A highest and a lowest position, and all between them.
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Zones:
    """Positions that may hold what a filter asks for: within the bounds, and in a zone that is marked."""

    lowest: int = 0
    highest: int = TOP
    #: A bit for each zone, the first bit of a byte being its highest; None: all of them.
    marks: bytes | None = None

    def ranges(self, below: int) -> Iterator[Range]:
        """Give the ranges of such positions below one, the highest first."""
        highest = min(self.highest, below - 1)
        for top, bottom in [(highest, 0)] if self.marks is None else _runs(self.marks):
            found = min(top, highest), max(bottom, self.lowest)
            if found[0] >= found[1]:
                yield found
            if bottom <= self.lowest:
                return


def _runs(marks: bytes) -> Iterator[Range]:
    """Give the ranges of positions whose zones are marked, the highest first, however many there are."""
    # From the back, since that is the order in which they are asked for and mostly few are.
    for run in re.finditer(rb"[^\0]+", marks[::-1]):
        bits = "".join(f"{byte:08b}"[::-1] for byte in run[0])
        zone = (len(marks) - run.start()) * 8 - 1  # the one that the first of these bits stands for
        for ones in re.finditer("1+", bits):
            first, last = zone - ones.start(), zone - ones.end() + 1
            yield first * ZONE + ZONE - 1, last * ZONE


def listed_by(jobs: Iterable[tuple[str, str]]) -> list[object]:
    """Return by which names jobs of these services and channels are to be found, after how many there are."""
    names: set[str] = set()
    for service, channel in set(jobs):
        names |= {f"service:{service}", f"channel:{channel}"} if channel else {f"service:{service}"}
    return [len(names), *names]


def day_of(instant: float) -> int:
    """Return the number of the day (UTC) of an instant."""
    return int(instant // 86400)


def zones(connection: Connection, jobs: JobFilter) -> Zones:
    """Return where the jobs that a filter asks for may be."""
    names = [f"{kind}:{name}" for kind, name in (("service", jobs.service), ("channel", jobs.channel)) if name]
    in_time = jobs.added_from is not None or jobs.added_before is not None
    if not names and not in_time:
        return Zones()
    with connection.mapped(), connection.client.pipeline(transaction=False) as pipeline:
        pipeline.get(connection.key("zones:from"))
        for edge in ("first", "last"):
            pipeline.hgetall(connection.key(f"days:{edge}")) if in_time else pipeline.echo("")
        for name in names:
            pipeline.execute_command("GET", connection.key(f"zones:{name}"), **{NEVER_DECODE: True})  # bits are no text
        since, first, last, *marks = pipeline.execute()
    if since is None:  # whatever is there is older than the marks
        return Zones()
    lowest, highest = _bounds(jobs, first, last, int(since)) if in_time else (0, TOP)
    return Zones(lowest, highest, _in_all([one or b"" for one in marks], int(since)) if names else None)


def _bounds(jobs: JobFilter, first: dict[str, str], last: dict[str, str], since: int) -> tuple[int, int]:
    """Return between which positions jobs added in a span of time may be."""
    starts = {int(day): int(position) for day, position in first.items()}
    ordered = sorted(starts)
    lowest, highest = TOP, since - 1  # those before the marks may be of any time
    for day, following in zip(ordered, [*ordered[1:], None], strict=True):
        begins, ends = day * 86400, (day + 1) * 86400
        if (jobs.added_from is None or ends > jobs.added_from) and (
            jobs.added_before is None or begins < jobs.added_before
        ):
            lowest = min(lowest, starts[day])
            highest = max(highest, TOP if following is None else starts[following] - 1, int(last.get(str(day), 0)))
    return 0 if since > 1 else lowest, highest


def _in_all(found: list[bytes], since: int) -> bytes:
    """Return the zones that are marked in all of these, and those from before there were marks."""
    unknown = b"\xff" * (since // ZONE // 8 + 1) if since > 1 else b""
    width = max(map(len, [unknown, *found]))
    both = -1
    for marks in found:
        both &= int.from_bytes(marks.ljust(width, b"\0")) | int.from_bytes(unknown.ljust(width, b"\0"))
    return both.to_bytes(width)
