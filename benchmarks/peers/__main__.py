"""Drive one job queue: `python -m benchmarks.peers NAME work`, `… fill ONE MANY TOTAL` or `… pick COUNT`.

Results go to standard output as JSON. Times hold no start of an interpreter and no first connection.
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

#: Jobs added before the clock starts, so that connections are open and scripts are loaded.
WARM_UP = 50


def fill(peer: Peer, one: int, many: int, total: int) -> dict[str, float | None]:
    """Add jobs until `total` wait; return the rates at which the first `one` and then `many` went in, in jobs/s."""
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
    """Send single jobs to an idle worker; return after how many seconds each began."""
    done = os.path.getsize(TALLY) // ENTRY.size
    for _ in range(count):
        peer.enqueue(1)
        done += 1
        while os.path.getsize(TALLY) < done * ENTRY.size:
            time.sleep(0.002)
        time.sleep(0.05 + random.random() / 20)  # back to rest, at no fixed phase of a worker that polls
    with open(TALLY, "rb") as tally:
        tally.seek(-count * ENTRY.size, os.SEEK_END)
        return [taken for _, taken in ENTRY.iter_unpack(tally.read())]


def _rate(add: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    add(count)
    return count / (time.perf_counter() - began)


def main() -> None:
    """Do what the command line says."""
    name, act, *numbers = sys.argv[1:]
    peer: Peer = importlib.import_module(f"benchmarks.peers.{name}").Contestant()
    match act:
        case "work":
            peer.work()
        case "fill":
            one, many, total = map(int, numbers)
            print(json.dumps(fill(peer, one, many, total)))
        case "pick":
            print(json.dumps(pick(peer, int(numbers[0]))))


if __name__ == "__main__":
    main()
