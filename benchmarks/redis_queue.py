"""Job queues on Redis, by turns on one real server: how fast jobs go in, run and are picked up, and what they take.

Run by `make bench`, or with the names of some: `python -m benchmarks.redis_queue ours huey`. The server keeps an
append-only file, synced each second. Each queue runs as its manual says that jobs are kept (see `benchmarks/peers/`),
in one worker process with 8 jobs at once; the job only writes down that it began.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.runner import Arena, Contestant, NotRunning, arena, p95
from benchmarks.table import print_table
from benchmarks.venvs import ROOT, bench_python

#: By module of `benchmarks.peers`; ours first.
NAMES = {
    "ours": "Tenxsom Flow Engine",
    "raw": "raw list loop, keeps nothing",
    "huey": "Huey",
    "dramatiq": "Dramatiq",
    "saq": "SAQ",
    "taskiq": "taskiq",
    "streaq": "streaQ",
    "celery": "Celery",
    "rq": "RQ",
}
ROUNDS = 5
#: Jobs added one by one, in bulk, and waiting in all when the worker starts.
ONE, MANY, WAITING = 2_000, 5_000, 12_000
#: Jobs that have begun before the clock starts, and the seconds that it runs.
FIRST, SECONDS = 30, 2.0
#: Seconds of rest that are watched, and jobs sent singly to a worker at rest.
REST, SINGLE = 2.0, 12
HEAD = ("", "one by one/s", "bulk/s", "jobs/s", "pick-up p95 ms", "bytes a job", "idle CPU")


@dataclass
class Figures:
    """What was measured of one contestant, a number for each round."""

    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    picked: list[float] = field(default_factory=list)
    fault: str = ""


def measure(place: Arena, contestant: Contestant, figures: Figures) -> None:
    """Take one round."""
    place.clear()
    before = place.used_memory()
    rates = contestant.fill(ONE, MANY, WAITING)
    figures.size.append((place.used_memory() - before) / WAITING)
    if rates["one"]:
        figures.one.append(rates["one"])
    if rates["many"]:
        figures.many.append(rates["many"])
    figures.rate.append(contestant.throughput(SECONDS, FIRST))
    place.clear()
    idle, picked = contestant.rest_and_pick(REST, SINGLE)
    figures.idle.append(idle)
    figures.picked += picked


def row(name: str, figures: Figures) -> list[str]:
    """Return the cells of a row."""
    if figures.fault:
        return [name, f"not measured: {figures.fault}"]
    median = statistics.median
    return [
        name,
        f"{median(figures.one):,.0f}",
        f"{median(figures.many):,.0f}" if figures.many else "–",
        f"{median(figures.rate):,.0f}",
        f"{p95(figures.picked):.1f}",
        f"{median(figures.size):,.0f}",
        f"{median(figures.idle):.2%}",
    ]


def interpreter() -> Path | None:
    """Return the interpreter that has the peers; None where they cannot be installed, which is said."""
    try:
        return bench_python("-r", str(ROOT / "benchmarks/peers.txt"))
    except subprocess.CalledProcessError as error:
        print(f"the other queues cannot be installed: {error}", file=sys.stderr)
        return None


def main() -> None:
    """Print a table of medians."""
    names = sys.argv[1:] or list(NAMES)
    others = interpreter() if names != ["ours"] else None
    figures = {name: Figures() for name in names}
    with arena() as place:
        for _ in range(ROUNDS):
            for name in names:
                own = sys.executable if name == "ours" else others
                if own is None:
                    figures[name].fault = "not installed"
                if own is None or figures[name].fault:
                    continue
                try:
                    measure(place, Contestant(place, name, Path(own)), figures[name])
                except (NotRunning, subprocess.TimeoutExpired) as error:
                    figures[name].fault = str(error)
    print_table(HEAD, [row(NAMES[name], figures[name]) for name in names])


if __name__ == "__main__":
    main()
