"""`make chaos`: run the fault injection scenario on each queue backend; print the faults and the broken guarantees."""

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
from chaos.cluster import BACKENDS, DEFAULT_BACKENDS, Scale, Stopped
from chaos.scenario import ScenarioResult, run_scenario
from chaos.workers import PUSH_MODULES
from tests import fork_server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios in parallel; return 0 if every guarantee held, 1 if one was broken, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="jobs for each queue backend")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of faults for each queue backend")
    parser.add_argument("--backends", default=" ".join(DEFAULT_BACKENDS), help=", ".join(BACKENDS))
    parser.add_argument("--output", choices=("folder", "bucket"), default="folder", help="where the videos go")
    parser.add_argument("--seed", type=int, help="seed of the fault schedules; default: random")
    options = parser.parse_args(arguments)
    backends = options.backends.split()
    if not backends or set(backends) - BACKENDS.keys():
        parser.error(f"the queue backends are {', '.join(BACKENDS)}")
    seed = random.randrange(10**6) if options.seed is None else options.seed
    scale = Scale(options.jobs, options.seconds, options.output == "bucket")
    print(f"{scale.jobs} jobs and {scale.seconds:g} s of faults for each queue backend; SEED={seed}", flush=True)
    # Hides the log lines of the producers in this process; each worker logs to its own file.
    logging.getLogger().addHandler(logging.NullHandler())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.set())
    fork_server.preload("chaos.workers", *PUSH_MODULES)
    with ThreadPoolExecutor(len(backends)) as pool:
        try:
            results = list(pool.map(partial(run_scenario, scale, seed, stop), backends))
        except Stopped:
            return 130
    _print(results)
    broken = [(result.backend, finding) for result in results for finding in result.findings]
    for backend, finding in broken:
        print(f"BROKEN on {backend}: {finding}")
    for result in results:
        if result.findings:
            print(f"{result.backend}: store, videos and log are kept in {result.folder}")
    if broken:
        failed = " ".join(dict.fromkeys(backend for backend, _ in broken))
        output = " OUTPUT=bucket" if scale.bucket else ""
        print(f'repeat: make chaos SEED={seed} JOBS={scale.jobs} SECONDS={scale.seconds:g} BACKENDS="{failed}"{output}')
    return 1 if broken else 0


def _print(results: Sequence[ScenarioResult]) -> None:
    """Print the injected faults, then the outcome, with one column for each queue backend."""
    rows: list[Sequence[str]] = []
    for columns in (
        [{name: str(number) for name, number in result.faults.items()} for result in results],
        [dict(result.summary) | {"guarantees broken": str(len(result.findings))} for result in results],
    ):
        names = list(dict.fromkeys(name for column in columns for name in column))
        rows += [[name, *(column.get(name, "–") for column in columns)] for name in names] + [[""]]
    print_table(["", *(result.backend for result in results)], rows[:-1])


if __name__ == "__main__":
    sys.exit(main())
