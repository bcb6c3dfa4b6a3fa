"""The rate limiter beside limits and pyrate-limiter: decisions a second, and how exactly a limit is held.

Run by `make bench`; the first run installs the others into `.bench-venv`. Every contestant asks the same Redis server
(or a SQLite file), which keeps an append-only file. Rounds are interleaved, and medians are given. `open` asks for one
window that is never full, `full` for one that is; `quota` is a paid create: three windows of a service and four of all
together, where others need a call for each window or bucket. For exactness four processes ask without pause for ten
seconds under a limit of 50 a second; the instants of admissions are the limiter's own, or those just before the call.
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

from benchmarks.venvs import ROOT, bench_python

#: The windows of each case, as (limit, seconds): of the service, and of all together.
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
LIMIT, HAMMER = 50, 10.0
#: Returns the instant of an admission, or None.
Ask = Callable[[], float | None]


def ours(url: str, own: Windows, overall: Windows) -> Ask:
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
    named = {"service": own, GLOBAL: overall}
    limits = {name: tuple(Window(limit, float(span)) for limit, span in some) for name, some in named.items()}
    limiter = RateLimiter(ledger, limits)
    waiter_id = secrets.token_hex(4)

    def ask() -> float | None:
        answer = limiter.ask("service", waiter_id)
        return answer.at if isinstance(answer, Admission) else None

    return ask


def limits_moving(url: str, own: Windows, overall: Windows) -> Ask:
    from limits.strategies import MovingWindowRateLimiter

    return _limits(MovingWindowRateLimiter, url, own + overall)


def limits_fixed(url: str, own: Windows, overall: Windows) -> Ask:
    from limits.strategies import FixedWindowRateLimiter

    return _limits(FixedWindowRateLimiter, url, own + overall)


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


def pyrate_log(url: str, own: Windows, overall: Windows) -> Ask:
    import redis
    from pyrate_limiter import Limiter, Rate, RedisBucket, SQLiteBucket

    address, _, prefix = url.partition("#")
    limiters = []
    for number, windows in enumerate(filter(None, (own, overall))):
        rates = [Rate(limit, span * 1000) for limit, span in windows]
        bucket: Any
        if url.startswith("redis"):
            bucket = RedisBucket.init(rates, redis.Redis.from_url(address), f"{prefix}{number}")
        else:
            bucket = SQLiteBucket.init_from_file(rates, db_path=url, use_file_lock=True)
        limiters.append(Limiter(bucket))
    return _pyrate(limiters)


def pyrate_gcra(url: str, own: Windows, overall: Windows) -> Ask:
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


#: How each contestant is opened, whether it is one of the others, and whether it is asked on a file.
CONTESTANTS: dict[str, tuple[Callable[[str, Windows, Windows], Ask], bool, bool]] = {
    "ours": (ours, False, False),
    "limits, moving window": (limits_moving, True, False),
    "pyrate-limiter, log": (pyrate_log, True, False),
    "ours, SQLite": (ours, False, True),
    "pyrate-limiter, log, SQLite": (pyrate_log, True, True),
    "limits, fixed window": (limits_fixed, True, False),
    "pyrate-limiter, GCRA": (pyrate_gcra, True, False),
}
#: Those whose speed is measured; the others are there for their exactness.
QUICK = list(CONTESTANTS)[:4]


def contestant(name: str, url: str, case: str, seconds: float) -> None:
    """Ask as often as one process can, and print how often that was, and when it was admitted."""
    ask = CONTESTANTS[name][0](url, *CASES[case])
    ask()
    print("ready", flush=True)
    sys.stdin.readline()
    asked, admitted, ends = 0, [], time.time() + seconds
    while time.time() < ends:
        instant = ask()
        asked += 1
        if instant is not None:
            admitted.append(instant)
    print(json.dumps({"asked": asked, "admitted": admitted}))


def ask_together(
    name: str, case: str, place: str, folder: Path, *, processes: int, seconds: float, pause: float = 0.0
) -> tuple[float, list[float]]:
    """Let processes ask at the same time; return decisions a second, and when the admissions were."""
    _, other, on_file = CONTESTANTS[name]
    url = str(folder / f"{secrets.token_hex(4)}.sqlite3") if on_file else f"{place}#{secrets.token_hex(4)}"
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
    answers = [json.loads(process.communicate()[0]) for process in running]
    return sum(a["asked"] for a in answers) / seconds, sorted(at for a in answers for at in a["admitted"])


def speed(place: str, folder: Path) -> None:
    found: dict[tuple[str, int, str], list[float]] = {}
    for _ in range(ROUNDS):
        for processes in (1, 4):
            for case in CASES:
                for name in QUICK:
                    rate, _ = ask_together(name, case, place, folder, processes=processes, seconds=SECONDS)
                    found.setdefault((name, processes, case), []).append(rate)
    print(f"{'':30}{'1 process':>27}{'4 processes':>30}")
    heads = "".join(f"{case:>9}" for case in CASES)
    print(f"{'decisions a second':30}{heads:>27}{heads:>30}")
    for name in QUICK:
        cells = [[statistics.median(found[name, processes, case]) for case in CASES] for processes in (1, 4)]
        one, four = ("".join(f"{cell:9,.0f}" for cell in part) for part in cells)
        print(f"{name:30}{one:>27}{four:>30}")


def exactness(place: str, folder: Path) -> None:
    from tests.contract.limiter_suite import sliding_maximum

    title = f"four processes for {HAMMER:.0f} s at {LIMIT} a second"
    print(f"\n{title:40}{'most in a second':>21}{f'used of {LIMIT * HAMMER:.0f}':>15}")
    for name in CONTESTANTS:
        # A second after the start what that used is free again.
        _, admitted = ask_together(name, "full", place, folder, processes=4, seconds=HAMMER, pause=1.0)
        # From the first one on, since nobody asked before.
        used = sum(at < admitted[0] + HAMMER for at in admitted)
        print(f"{name:40}{sliding_maximum(admitted, 1.0):21}{used:15}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        name, url, case, seconds = chosen.one
        contestant(name, url, case, float(seconds))
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
