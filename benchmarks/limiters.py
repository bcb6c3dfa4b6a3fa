"""Rate limiters (ours, limits and pyrate-limiter): decisions per second, and the exactness of a limit.

Run by `make bench`; the first run installs the other libraries into `.bench-venv`. All limiters use one Redis server
with an append-only file, or a SQLite file. Rounds are interleaved; the results are medians. The case `open` has one
window that is never full, `full` one that is; `quota` is a paid create with three windows of the service and four
global ones, for which the other libraries need a call per window or bucket. For exactness, four processes ask
continuously for ten seconds under a limit of 50 a second. Our limiter dates admissions itself; those of the others are
dated just before the call.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.venvs import ROOT, bench_python

#: The windows of each case, as (limit, seconds): those of the service, and the global ones.
Windows = list[tuple[int, int]]
CASES: dict[str, tuple[Windows, Windows]] = {
    "open": ([(100_000, 1)], []),
    "full": ([(50, 1)], []),
    "quota": (
        [(50_000, 1), (60_000, 60), (70_000, 3600)],
        [(80_000, 1), (85_000, 60), (90_000, 3600), (95_000, 86400)],
    ),
}
ROUNDS, SECONDS = 3, 0.7
LIMIT, EXACTNESS_SECONDS = 50, 10.0
#: Asks for an admission; returns its time in seconds since 1970, or None.
Ask = Callable[[], float | None]


def ours(url: str, own: Windows, shared: Windows) -> Ask:
    from tenxsom_flow_engine.clock import SystemClock
    from tenxsom_flow_engine.rate_limits.base import Admission
    from tenxsom_flow_engine.rate_limits.ledger import Ledger
    from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
    from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Window

    ledger: Ledger
    if url.startswith("redis"):
        from tenxsom_flow_engine.rate_limits.redis import RedisLedger
        from tenxsom_flow_engine.store.redis.connection import Connection

        address, _, prefix = url.partition("#")
        ledger = RedisLedger(Connection(address, prefix))
    else:
        from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
        from tenxsom_flow_engine.store.sqlite import SQLiteStore

        ledger = SQLiteLedger(SQLiteStore(Path(url), SystemClock()))
    named = {"service": own, GLOBAL: shared}
    limits = {name: tuple(Window(limit, float(span)) for limit, span in windows) for name, windows in named.items()}
    limiter = RateLimiter(ledger, limits)
    waiter_id = secrets.token_hex(4)

    def ask() -> float | None:
        decision = limiter.ask("service", waiter_id)
        return decision.at if isinstance(decision, Admission) else None

    return ask


def limits_moving(url: str, own: Windows, shared: Windows) -> Ask:
    from limits.strategies import MovingWindowRateLimiter

    return _limits(MovingWindowRateLimiter, url, own + shared)


def limits_fixed(url: str, own: Windows, shared: Windows) -> Ask:
    from limits.strategies import FixedWindowRateLimiter

    return _limits(FixedWindowRateLimiter, url, own + shared)


def _limits(strategy: Any, url: str, windows: Windows) -> Ask:
    from limits import RateLimitItemPerSecond
    from limits.storage import storage_from_string

    address, _, prefix = url.partition("#")
    limiter = strategy(storage_from_string(address))
    items = [RateLimitItemPerSecond(limit, span) for limit, span in windows]

    def ask() -> float | None:
        now = time.time()
        return now if all(limiter.hit(item, prefix) for item in items) else None

    return ask


def pyrate_log(url: str, own: Windows, shared: Windows) -> Ask:
    import redis
    from pyrate_limiter import Limiter, Rate, RedisBucket, SQLiteBucket

    address, _, prefix = url.partition("#")
    limiters = []
    for number, windows in enumerate(filter(None, (own, shared))):
        rates = [Rate(limit, span * 1000) for limit, span in windows]
        bucket: Any
        if url.startswith("redis"):
            bucket = RedisBucket.init(rates, redis.Redis.from_url(address), f"{prefix}{number}")
        else:
            bucket = SQLiteBucket.init_from_file(rates, db_path=url, use_file_lock=True)
        limiters.append(Limiter(bucket))
    return _pyrate(limiters)


def pyrate_gcra(url: str, own: Windows, shared: Windows) -> Ask:
    import redis
    from pyrate_limiter import GCRA, Limiter, Rate, RedisStateStore, StateBucket

    address, _, prefix = url.partition("#")
    rates = [Rate(limit, span * 1000) for limit, span in own]
    store = RedisStateStore(redis.Redis.from_url(address), prefix)
    return _pyrate([Limiter(StateBucket(rates, algorithm=GCRA(), store=store))])


def _pyrate(limiters: list[Any]) -> Ask:
    def ask() -> float | None:
        now = time.time()
        return now if all(limiter.try_acquire("create", blocking=False) for limiter in limiters) else None

    return ask


#: By name: the function that opens the limiter, whether it is from another library, and whether it uses a file.
LIMITERS: dict[str, tuple[Callable[[str, Windows, Windows], Ask], bool, bool]] = {
    "ours": (ours, False, False),
    "limits, moving window": (limits_moving, True, False),
    "pyrate-limiter, log": (pyrate_log, True, False),
    "ours, SQLite": (ours, False, True),
    "pyrate-limiter, log, SQLite": (pyrate_log, True, True),
    "limits, fixed window": (limits_fixed, True, False),
    "pyrate-limiter, GCRA": (pyrate_gcra, True, False),
}
#: The limiters whose speed is measured; exactness is measured for all.
FOR_SPEED = list(LIMITERS)[:4]


def run_limiter(name: str, url: str, case: str, seconds: float) -> None:
    """Ask continuously in this process; print the number of decisions and the times of the admissions as JSON."""
    ask = LIMITERS[name][0](url, *CASES[case])
    ask()
    print("ready", flush=True)
    sys.stdin.readline()
    decisions, admitted, deadline = 0, [], time.time() + seconds
    while time.time() < deadline:
        instant = ask()
        decisions += 1
        if instant is not None:
            admitted.append(instant)
    print(json.dumps({"decisions": decisions, "admitted": admitted}))


def ask_together(
    name: str, case: str, server_url: str, folder: Path, *, processes: int, seconds: float, pause: float = 0.0
) -> tuple[float, list[float]]:
    """Run a limiter in several processes; return decisions per second, and the sorted times of the admissions."""
    _, other, on_file = LIMITERS[name]
    url = str(folder / f"{secrets.token_hex(4)}.sqlite3") if on_file else f"{server_url}#{secrets.token_hex(4)}"
    python = str(bench_python("-r", str(ROOT / "benchmarks/limiter_peers.txt"))) if other else sys.executable
    command = [python, "-m", "benchmarks.limiters", "--one", name, url, case, repr(seconds)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{name} did not start")
    time.sleep(pause)
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [json.loads(process.communicate()[0]) for process in running]
    return sum(r["decisions"] for r in results) / seconds, sorted(at for r in results for at in r["admitted"])


def speed(server_url: str, folder: Path) -> None:
    """Print decisions per second, with one process and with four, and report their ratios."""
    rates: dict[tuple[str, int, str], list[float]] = {}
    for _ in range(ROUNDS):
        for processes in (1, 4):
            for case in CASES:
                for name in FOR_SPEED:
                    rate, _ = ask_together(name, case, server_url, folder, processes=processes, seconds=SECONDS)
                    rates.setdefault((name, processes, case), []).append(rate)
    print(f"{'':30}{'1 process':>27}{'4 processes':>30}")
    heads = "".join(f"{case:>9}" for case in CASES)
    print(f"{'decisions per second':30}{heads:>27}{heads:>30}")
    for name in FOR_SPEED:
        cells = [[statistics.median(rates[name, processes, case]) for case in CASES] for processes in (1, 4)]
        one, four = ("".join(f"{cell:9,.0f}" for cell in part) for part in cells)
        print(f"{name:30}{one:>27}{four:>30}")
    results.report(
        "limiters",
        {
            f"{case}, {processes} processes: ours : {peer}": statistics.median(rates["ours", processes, case])
            / statistics.median(rates[peer, processes, case])
            for peer in FOR_SPEED[1:3]
            for processes in (1, 4)
            for case in CASES
        },
    )


def exactness(server_url: str, folder: Path) -> None:
    """Print the most admissions in one second, and the used part of the limit."""
    from tests.contract.limiter_suite import sliding_maximum

    title = f"four processes for {EXACTNESS_SECONDS:.0f} s at {LIMIT} a second"
    print(f"\n{title:40}{'most in a second':>21}{f'used of {LIMIT * EXACTNESS_SECONDS:.0f}':>15}")
    for name in LIMITERS:
        # One second later, the window has room again after the first call of each process.
        _, admitted = ask_together(name, "full", server_url, folder, processes=4, seconds=EXACTNESS_SECONDS, pause=1.0)
        # The ten seconds start with the first admission.
        used = sum(at < admitted[0] + EXACTNESS_SECONDS for at in admitted)
        print(f"{name:40}{sliding_maximum(admitted, 1.0):21}{used:15}")


def main() -> None:
    """Print both tables, or run one limiter (`--one`) for another process."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.one:
        name, url, case, seconds = arguments.one
        run_limiter(name, url, case, float(seconds))
        return
    from tests.redis_server import RedisServer

    with tempfile.TemporaryDirectory() as name:
        server = RedisServer(Path(name), "--appendfsync", "everysec")
        try:
            speed(server.url, Path(name))
            exactness(server.url, Path(name))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
