"""Bitmaps of the positions that jobs of a service, channel or day have, so that a list need not read all other jobs.

For each service and each channel the server keeps a bitmap with one bit for each block of 16 neighbouring positions. A
bit is set when such a job enters the block, and is never cleared: a list reads and filters the jobs of a marked block.
For each day the server keeps the first and the last position. A sorted set for each name would be simpler, but takes
90 to 120 bytes for each job and name; bitmaps take one or two bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from redis.client import NEVER_DECODE

from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.values import JobFilter

#: Neighbouring positions that share a bit (see `mark` in prelude.lua).
BLOCK_POSITIONS = 16
#: Higher than every position: scores of sorted sets are exact up to this number.
TOP_POSITION = 2**53
DAY_SECONDS = 86400
#: The highest and the lowest position of a range, both included.
Range = tuple[int, int]


def day_of(instant: float) -> int:
    """Return the number of the day (UTC) of an instant."""
    return int(instant // DAY_SECONDS)


def ranges(connection: Connection, jobs: JobFilter, below: int) -> Iterator[Range]:
    """Yield the ranges below a position that can hold jobs of a filter's service, channel and days, newest first.

    The bitmaps are read from the server at the call, the ranges computed one by one.
    """
    names = [f"{kind}:{name}" for kind, name in (("service", jobs.service), ("channel", jobs.channel)) if name]
    in_time = jobs.added_from is not None or jobs.added_before is not None
    if not names and not in_time:
        return _within([(TOP_POSITION, 0)], 0, below - 1)
    with connection.mapped(), connection.client.pipeline(transaction=False) as pipeline:
        pipeline.get(connection.key("zones:from"))
        if in_time:
            pipeline.hgetall(connection.key("days:first"))
            pipeline.hgetall(connection.key("days:last"))
        for name in names:
            pipeline.execute_command("GET", connection.key(f"zones:{name}"), **{NEVER_DECODE: True})  # bits, not text
        answers = pipeline.execute()
    since = int(answers[0] or TOP_POSITION)  # jobs below this position are older than the bitmaps
    bitmaps = [bitmap or b"" for bitmap in answers[len(answers) - len(names) :]]
    if since == TOP_POSITION:
        return _within([(TOP_POSITION, 0)], 0, below - 1)
    lowest, highest = _positions_of_days(jobs, answers[1], answers[2], since) if in_time else (0, TOP_POSITION)
    marked = _runs(_marked_in_all(bitmaps, since)) if names else [(TOP_POSITION, 0)]
    return _within(marked, lowest, min(highest, below - 1))


def _within(found: Iterable[Range], lowest: int, highest: int) -> Iterator[Range]:
    """Clip ranges, highest first, to `lowest` … `highest`."""
    for top, bottom in found:
        if top < lowest:
            return
        if bottom <= highest:
            yield min(top, highest), max(bottom, lowest)


def _positions_of_days(jobs: JobFilter, first: dict[str, str], last: dict[str, str], since: int) -> Range:
    """Return the lowest and the highest possible position of jobs added in a filter's span of time."""
    starts = {int(day): int(position) for day, position in first.items()}
    days = sorted(starts)
    lowest, highest = TOP_POSITION, since - 1  # jobs older than the bitmaps can belong to any day
    for day, next_day in zip(days, [*days[1:], None], strict=True):
        begins, ends = day * DAY_SECONDS, (day + 1) * DAY_SECONDS
        if (jobs.added_from is None or ends > jobs.added_from) and (
            jobs.added_before is None or begins < jobs.added_before
        ):
            lowest = min(lowest, starts[day])
            # A day ends before the first position of the next; a job added late for its day has a higher position.
            until = TOP_POSITION if next_day is None else starts[next_day] - 1
            highest = max(highest, until, int(last.get(str(day), 0)))
    return 0 if since > 1 else lowest, highest


def _marked_in_all(bitmaps: Sequence[bytes], since: int) -> bytes:
    """Return the bitmap of the blocks marked in all bitmaps; positions older than the bitmaps count as marked."""
    older = b"\xff" * (since // BLOCK_POSITIONS // 8 + 1) if since > 1 else b""
    width = max(map(len, [older, *bitmaps]))
    marked = -1
    for bitmap in bitmaps:
        marked &= int.from_bytes(bitmap.ljust(width, b"\0")) | int.from_bytes(older.ljust(width, b"\0"))
    return marked.to_bytes(width)


def _runs(bitmap: bytes) -> Iterator[Range]:
    """Yield the ranges of positions of marked blocks, highest first, skipping long gaps quickly."""
    for run in re.finditer(rb"[^\0]+", bitmap[::-1]):
        bits = "".join(f"{byte:08b}"[::-1] for byte in run[0])
        last_block = (len(bitmap) - run.start()) * 8 - 1
        for ones in re.finditer("1+", bits):
            highest, lowest = last_block - ones.start(), last_block - ones.end() + 1
            yield highest * BLOCK_POSITIONS + BLOCK_POSITIONS - 1, lowest * BLOCK_POSITIONS
