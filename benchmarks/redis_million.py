"""Our queue on Redis with a million jobs waiting, by turns with an empty one on the same server.

Run by `make bench-million`; takes some minutes and 3 GB of memory. For what goes in and runs, the million is due; for
pick-up and rest it is put off by a day, since a job that is due now would have to wait for a million others.
"""

from __future__ import annotations

import statistics

from benchmarks.runner import Arena, Contestant, arena, p95
from benchmarks.table import print_table

MILLION, ROUNDS = 1_000_000, 5
ONE, MANY = 1_000, 10_000
FIRST, SECONDS = 30, 2.0
REST, SINGLE = 3.0, 20
FEW, LONG = "few", "million"


def contestant(place: Arena, prefix: str, delay: float = 0.0) -> Contestant:
    """Return our queue under a prefix of its own; what it adds is put off by so many seconds."""
    return Contestant(place, "ours", BENCH_PREFIX=prefix, BENCH_DELAY=str(delay))


def fill(place: Arena, delay: float) -> float:
    """Add the million; return the bytes that each takes."""
    place.clear()
    before = place.used_memory()
    contestant(place, LONG, delay).fill(ONE, MANY, MILLION)
    size = (place.used_memory() - before) / MILLION
    place.calm()
    return size


def row(what: str, few: list[float], million: list[float]) -> list[str]:
    """Return two medians, and the median of the ratios of each round."""
    ratio = statistics.median(b / a for a, b in zip(few, million, strict=True))
    return [what, f"{statistics.median(few):,.1f}", f"{statistics.median(million):,.1f}", f"{ratio:.2f}"]


def due(place: Arena) -> list[list[str]]:
    """Measure what goes in and runs."""
    rates: dict[str, dict[str, list[float]]] = {prefix: {"one": [], "many": [], "jobs": []} for prefix in (FEW, LONG)}
    for _ in range(ROUNDS):
        place.forget(FEW)
        for prefix, by in rates.items():
            place.calm()
            runner = contestant(place, prefix)
            for what, rate in runner.fill(ONE, MANY, ONE + MANY).items():
                by[what].append(rate or 0.0)
            by["jobs"].append(runner.throughput(SECONDS, FIRST))
    names = {
        "enqueue one by one, jobs/s": "one",
        "enqueue in bulk, jobs/s": "many",
        "one worker process, jobs/s": "jobs",
    }
    return [row(name, rates[FEW][what], rates[LONG][what]) for name, what in names.items()]


def put_off(place: Arena) -> list[list[str]]:
    """Measure a worker at rest, and how soon it picks up a job."""
    idle: dict[str, list[float]] = {FEW: [], LONG: []}
    late: dict[str, list[float]] = {FEW: [], LONG: []}
    for _ in range(ROUNDS):
        place.forget(FEW)
        for prefix in (FEW, LONG):
            place.calm()
            rest, picked = contestant(place, prefix).rest_and_pick(REST, SINGLE)
            idle[prefix].append(rest * 100)
            late[prefix].append(p95(picked))
    return [row("pick-up p95, ms", late[FEW], late[LONG]), row("idle worker, % CPU", idle[FEW], idle[LONG])]


def main() -> None:
    """Print a table of medians, and ratios of what was measured in turns."""
    with arena() as place:
        size = fill(place, 0.0)
        rows = due(place)
        fill(place, 86_400.0)
        rows += put_off(place)
    print_table(("", "none waiting", "1,000,000 waiting", "ratio"), rows)
    print(f"each of the million takes {size:,.0f} bytes")


if __name__ == "__main__":
    main()
