"""Run one job queue: `python -m benchmarks.peers NAME work`, `… fill ONE MANY TOTAL` or `… pick COUNT`.

Results go to standard output as JSON. Times exclude the start of the interpreter and the first connection.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable

from benchmarks.peers.base import ENTRY, TALLY, Peer

#: Jobs added before the measurement, so that connections are open and scripts are loaded.
WARM_UP = 50


def fill(peer: Peer, one: int, many: int, total: int) -> dict[str, float | None]:
    """Add `total` jobs; return the rates (jobs/s) of adding `one` jobs singly and then `many` in bulk, if supported."""
    peer.enqueue(WARM_UP)
    rates: dict[str, float | None] = {"one": _rate(peer.enqueue, one), "many": None}
    rest = total - WARM_UP - one
    if peer.has_bulk:
        rates["many"] = _rate(peer.enqueue_many, many)
        while (rest := rest - many) > 0:
            peer.enqueue_many(min(rest, many))
    else:
        peer.enqueue(rest)
    return rates


def pick(peer: Peer, count: int) -> list[float]:
    """Send single jobs to an idle worker; return the seconds from sending to the start of each."""
    started = os.path.getsize(TALLY) // ENTRY.size
    for _ in range(count):
        peer.enqueue(1)
        started += 1
        while os.path.getsize(TALLY) < started * ENTRY.size:
            time.sleep(0.002)
        time.sleep(0.05 + random.random() / 20)  # until the worker is idle, at a random phase of its polling
    with open(TALLY, "rb") as tally:
        tally.seek(-count * ENTRY.size, os.SEEK_END)
        return [latency for _, latency in ENTRY.iter_unpack(tally.read())]


def _rate(add: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    add(count)
    return count / (time.perf_counter() - began)


def main() -> None:
    """Run the command of the command line."""
    name, command, *numbers = sys.argv[1:]
    peer: Peer = importlib.import_module(f"benchmarks.peers.{name}").Adapter()
    match command:
        case "work":
            peer.work()
        case "fill":
            one, many, total = map(int, numbers)
            print(json.dumps(fill(peer, one, many, total)))
        case "pick":
            print(json.dumps(pick(peer, int(numbers[0]))))


if __name__ == "__main__":
    main()
