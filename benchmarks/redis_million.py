"""Our queue on Redis with a million waiting jobs, alternately with an empty queue on the same server.

Run by `make bench-million`; takes some minutes and 3 GB of memory. The million jobs are due for the enqueue rates and
the throughput; for pick-up and idle CPU they are due in a day, since a new job would otherwise wait behind them.
"""

from __future__ import annotations

import statistics

from benchmarks.runner import BenchServer, PeerRunner, bench_server, p95
from benchmarks.table import print_table

MILLION, ROUNDS = 1_000_000, 5
ONE, MANY = 1_000, 10_000
FIRST, SECONDS = 30, 2.0
IDLE, SINGLE = 3.0, 20
EMPTY, FULL = "few", "million"


def runner(bench: BenchServer, prefix: str, delay: float = 0.0) -> PeerRunner:
    """Return a runner of the queue under a key prefix, whose jobs are due `delay` seconds after they are added."""
    return PeerRunner(bench, "ours", BENCH_PREFIX=prefix, BENCH_DELAY=str(delay))


def fill(bench: BenchServer, delay: float) -> float:
    """Add a million jobs; return the bytes of memory per job."""
    bench.clear()
    before = bench.used_memory()
    runner(bench, FULL, delay).fill(ONE, MANY, MILLION)
    return (bench.used_memory() - before) / MILLION


def row(label: str, few: list[float], million: list[float]) -> list[str]:
    """Return the medians, and the median of the ratios of the rounds."""
    ratio = statistics.median(b / a for a, b in zip(few, million, strict=True))
    return [label, f"{statistics.median(few):,.1f}", f"{statistics.median(million):,.1f}", f"{ratio:.2f}"]


def measure_due(bench: BenchServer) -> list[list[str]]:
    """Measure enqueue rates and throughput, with a million due jobs."""
    rates: dict[str, dict[str, list[float]]] = {prefix: {"one": [], "many": [], "jobs": []} for prefix in (EMPTY, FULL)}
    for _ in range(ROUNDS):
        bench.delete_prefix(EMPTY)
        for prefix, by in rates.items():
            queue = runner(bench, prefix)
            for kind, rate in queue.fill(ONE, MANY, ONE + MANY).items():
                by[kind].append(rate or 0.0)
            by["jobs"].append(queue.throughput(SECONDS, FIRST))
    names = {
        "enqueue one by one, jobs/s": "one",
        "enqueue in bulk, jobs/s": "many",
        "one worker process, jobs/s": "jobs",
    }
    return [row(name, rates[EMPTY][kind], rates[FULL][kind]) for name, kind in names.items()]


def measure_delayed(bench: BenchServer) -> list[list[str]]:
    """Measure idle CPU and pick-up latency, with a million jobs that are due in a day."""
    idle: dict[str, list[float]] = {EMPTY: [], FULL: []}
    latency: dict[str, list[float]] = {EMPTY: [], FULL: []}
    for _ in range(ROUNDS):
        bench.delete_prefix(EMPTY)
        for prefix in (EMPTY, FULL):
            cpu, latencies = runner(bench, prefix).idle_and_pick(IDLE, SINGLE)
            idle[prefix].append(cpu * 100)
            latency[prefix].append(p95(latencies))
    return [row("pick-up p95, ms", latency[EMPTY], latency[FULL]), row("idle worker, % CPU", idle[EMPTY], idle[FULL])]


def main() -> None:
    """Print a table of medians and ratios."""
    with bench_server() as bench:
        size = fill(bench, 0.0)
        rows = measure_due(bench)
        fill(bench, 86_400.0)
        rows += measure_delayed(bench)
    print_table(("", "none waiting", "1,000,000 waiting", "ratio"), rows)
    print(f"each of the million jobs takes {size:,.0f} bytes")


if __name__ == "__main__":
    main()
