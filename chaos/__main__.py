"""`make chaos`: let each queue backend go through a storm, and print what was done and what was found."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.table import print_table
from chaos.cluster import SETTINGS, USUAL, Scale, Stopped
from chaos.scenario import Verdict, undergo
from chaos.workers import PUSHED
from tests import fork_server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ordeals, all at once; return 0 if all promises were kept, else 1."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="jobs for each queue backend")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of storm for each queue backend")
    parser.add_argument("--backends", default=" ".join(USUAL), help=", ".join(SETTINGS))
    parser.add_argument("--seed", type=int, help="what draws the weather and the blows; drawn itself if not given")
    given = parser.parse_args(arguments)
    backends = given.backends.split()
    if not backends or set(backends) - SETTINGS.keys():
        parser.error(f"the queue backends are {', '.join(SETTINGS)}")
    seed = random.randrange(10**6) if given.seed is None else given.seed
    scale = Scale(given.jobs, given.seconds)
    print(f"{scale.jobs} jobs and {scale.seconds:g} seconds of storm for each queue backend; SEED={seed}", flush=True)
    # What those say who add the jobs; the workers write to files of their own.
    logging.getLogger().addHandler(logging.NullHandler())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.set())
    fork_server.preload("chaos.workers", *PUSHED)
    with ThreadPoolExecutor(len(backends)) as pool:
        try:
            verdicts = list(pool.map(partial(undergo, scale, seed, stop), backends))
        except Stopped:
            return 130
    _print(verdicts)
    broken = [(verdict.backend, finding) for verdict in verdicts for finding in verdict.findings]
    for backend, finding in broken:
        print(f"BROKEN on {backend}: {finding}")
    for verdict in verdicts:
        if verdict.findings:
            print(f"{verdict.backend}: store, videos and log lie in {verdict.folder}")
    if broken:
        again = " ".join(dict.fromkeys(backend for backend, _ in broken))
        print(f'again: make chaos SEED={seed} JOBS={scale.jobs} SECONDS={scale.seconds:g} BACKENDS="{again}"')
    return 1 if broken else 0


def _print(verdicts: Sequence[Verdict]) -> None:
    """Print what was done and found, a column for each queue backend."""
    rows: list[Sequence[str]] = []
    for columns in (
        [{name: str(number) for name, number in verdict.done.items()} for verdict in verdicts],
        [dict(verdict.found) | {"promises broken": str(len(verdict.findings))} for verdict in verdicts],
    ):
        names = list(dict.fromkeys(name for column in columns for name in column))
        rows += [[name, *(column.get(name, "–") for column in columns)] for name in names] + [[""]]
    print_table(["", *(verdict.backend for verdict in verdicts)], rows[:-1])


if __name__ == "__main__":
    sys.exit(main())
