"""What becomes of a job when its worker dies, when it is long, and of a worker whose server is away.

Run by `make bench-recovery`; takes seven minutes. Each queue has a server of its own, and all are watched at the same
time, since they mostly wait. Each waits 30 seconds for a sign of life of a worker, where it has such a setting.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.redis_queue import NAMES, interpreter
from benchmarks.runner import Arena, Contestant, NotRunning, arena
from benchmarks.table import print_table

#: Seconds that a killed worker's job is waited for.
LONGEST = 180.0
#: Seconds that the long job takes, and how long it is watched.
LONG, WATCHED = 75.0, 100.0
#: Seconds without a server, and those for the worker to come back to work.
AWAY, BACK = 30.0, 60.0
HEAD = ("", "killed -9: again after", "75 s job begun", "takes a job after 30 s away")


def killed(place: Arena, make: Callable[..., Contestant]) -> str:
    """Return after how many seconds the job of a worker that was killed -9 begins again, in another one."""
    contestant = make(BENCH_DURATION="600")
    with contestant.worker() as first:
        contestant.pick(1)
        with contestant.worker():
            time.sleep(5)  # the second worker is up, and the first one has renewed what it renews
            first.kill()
            ended = time.monotonic()
            while place.began() < 2 and time.monotonic() < ended + LONGEST:
                time.sleep(0.05)
            if place.began() < 2:
                return f"not within {LONGEST:.0f} s"
            return f"{place.entries()[1][0] - ended:.1f} s"


def long(place: Arena, make: Callable[..., Contestant]) -> str:
    """Return how often a job of 75 s is begun, with two healthy workers."""
    contestant = make(BENCH_DURATION=str(LONG))
    with contestant.worker(), contestant.worker():
        contestant.pick(1)
        time.sleep(WATCHED)
        return f"{place.began()} x"


def away(place: Arena, make: Callable[..., Contestant]) -> str:
    """Return how soon a worker takes a job after 30 s without its server."""
    contestant = make()
    with contestant.worker() as worker:
        contestant.pick(1)
        time.sleep(2)  # so that what was written is on disk
        place.server.kill()
        time.sleep(AWAY)
        place.server.start()
        began, before = time.monotonic(), place.began()
        contestant.fill(0, 1, 1)
        while place.began() == before and time.monotonic() < began + BACK:
            time.sleep(0.05)
        if place.began() > before:
            return f"{place.entries()[before][0] - began:.1f} s"
        return "the worker ended" if worker.ended else f"not within {BACK:.0f} s"


def watch(name: str, python: Path) -> list[str]:
    """Return the row of a queue."""
    row = []
    for experiment in (killed, long, away):
        with arena() as place:

            def make(**environment: str) -> Contestant:
                return Contestant(place, name, python, **environment)

            try:
                row.append(experiment(place, make))
            except NotRunning as error:
                row.append(str(error)[:40])
    return row


def main() -> None:
    """Print a table."""
    names = sys.argv[1:] or list(NAMES)
    others = interpreter()
    with ThreadPoolExecutor(len(names)) as pool:
        rows = {
            name: pool.submit(watch, name, Path(own))
            for name in names
            if (own := sys.executable if name == "ours" else others) is not None
        }
    print_table(HEAD, [[NAMES[name], *row.result()] for name, row in rows.items()])


if __name__ == "__main__":
    main()
