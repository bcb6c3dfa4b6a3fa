"""Job queues on one Redis server, measured alternately: enqueue rates, throughput, pick-up latency, memory, idle CPU.

Run by `make bench`, or for some of them: `python -m benchmarks.redis_queue ours huey`. The server has an append-only
file, synced every second. Each queue has the durable settings of its manual (see `benchmarks/peers/`) and one worker
process with 8 concurrent jobs. The job only records its start.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import results
from benchmarks.runner import BenchServer, PeerFailed, PeerRunner, bench_server, p95
from benchmarks.table import print_table
from benchmarks.venvs import ROOT, bench_python

#: Names of the queues, by module of `benchmarks.peers`; this project first.
NAMES = {
    "ours": "Tenxsom Flow Engine",
    "raw": "raw list loop, without persistence of running jobs",
    "huey": "Huey",
    "dramatiq": "Dramatiq",
    "saq": "SAQ",
    "taskiq": "taskiq",
    "streaq": "streaQ",
    "celery": "Celery",
    "rq": "RQ",
}
ROUNDS = 3
#: Jobs added one by one, added in bulk, and waiting in total when the worker starts.
ONE, MANY, WAITING = 2_000, 5_000, 12_000
#: Jobs that start before the measurement of throughput, and its seconds.
FIRST, SECONDS = 30, 2.0
#: Seconds over which idle CPU is measured, and jobs sent one by one to an idle worker.
IDLE, SINGLE = 2.0, 12
HEAD = ("", "one by one/s", "bulk/s", "jobs/s", "pick-up p95 ms", "bytes a job", "idle CPU")


@dataclass
class Figures:
    """The measurements of one queue, by round."""

    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    error: str = ""


def measure(bench: BenchServer, runner: PeerRunner, figures: Figures) -> None:
    """Measure one round."""
    bench.clear()
    before = bench.used_memory()
    rates = runner.fill(ONE, MANY, WAITING)
    figures.size.append((bench.used_memory() - before) / WAITING)
    if rates["one"]:
        figures.one.append(rates["one"])
    if rates["many"]:
        figures.many.append(rates["many"])
    figures.rate.append(runner.throughput(SECONDS, FIRST))
    bench.clear()
    idle, latencies = runner.idle_and_pick(IDLE, SINGLE)
    figures.idle.append(idle)
    figures.latencies += latencies


def row(name: str, figures: Figures) -> list[str]:
    """Return the row of a queue: its name, and medians or the error."""
    if figures.error:
        return [name, f"not measured: {figures.error}"]
    median = statistics.median
    return [
        name,
        f"{median(figures.one):,.0f}",
        f"{median(figures.many):,.0f}" if figures.many else "–",
        f"{median(figures.rate):,.0f}",
        f"{p95(figures.latencies):.1f}",
        f"{median(figures.size):,.0f}",
        f"{median(figures.idle):.2%}",
    ]


def ratios(figures: Mapping[str, Figures]) -> dict[str, float]:
    """Return the ratios of our figures to those of each queue that was measured; above 1, ours is better."""
    median, ours = statistics.median, figures["ours"]
    found: dict[str, float] = {}
    for name in figures.keys() - {"ours"}:
        of = figures[name]
        if of.error:
            continue
        found[f"one by one: ours : {name}"] = median(ours.one) / median(of.one)
        found[f"jobs/s: ours : {name}"] = median(ours.rate) / median(of.rate)
        found[f"pick-up p95: {name} : ours"] = p95(of.latencies) / p95(ours.latencies)
        if of.many:
            found[f"bulk: ours : {name}"] = median(ours.many) / median(of.many)
    return found


def interpreter() -> Path | None:
    """Return the interpreter that has the other queues; print an error and return None if they cannot be installed."""
    try:
        return bench_python("-r", str(ROOT / "benchmarks/peers.txt"))
    except subprocess.CalledProcessError as error:
        print(f"the other queues cannot be installed: {error}", file=sys.stderr)
        return None


def main() -> None:
    """Print a table of medians, and report the ratios of a complete run."""
    names = sys.argv[1:] or list(NAMES)
    others = interpreter() if names != ["ours"] else None
    figures = {name: Figures() for name in names}
    with bench_server() as bench:
        print(f"Redis {bench.version}\n")
        for _ in range(ROUNDS):
            for name in names:
                python = sys.executable if name == "ours" else others
                if python is None:
                    figures[name].error = "not installed"
                if python is None or figures[name].error:
                    continue
                try:
                    measure(bench, PeerRunner(bench, name, Path(python)), figures[name])
                except (PeerFailed, subprocess.TimeoutExpired) as error:
                    figures[name].error = str(error)
    print_table(HEAD, [row(NAMES[name], figures[name]) for name in names])
    if names == list(NAMES):
        results.report("redis_queue", ratios(figures))


if __name__ == "__main__":
    main()
