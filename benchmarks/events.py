"""Events: none is lost while workers are killed and the receiver is away for a day; and how soon one is delivered.

Run by `make bench-events`. On both stores, 10,000 jobs end while three processes deliver the messages about them. One
of the processes is killed with -9 every few seconds. The receiver refuses everything for a day, through which the clock
of the store is moved, and then accepts. At the end each event must have been received, under one id and with one body.
Then one process delivers single events, with the time from the change to the request.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.events import DeliveryState, Endpoint, EndpointKind, signing
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.notifiers.base import Notifier
from tenxsom_flow_engine.notifiers.messenger import Messenger
from tenxsom_flow_engine.notifiers.webhook import WebhookNotifier
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import NewJob
from tests.http_target import HttpTarget, Received, Reply
from tests.redis_server import RedisServer

EVENTS, WORKERS, SINGLE = 10_000, 3, 200
DAY, STEPS = 86400.0, 48
#: Seconds between two kills, and of the right to deliver, so that another process continues soon.
KILL_EVERY, LEASE = 6.0, 3.0
#: Seconds between two moves of the clock.
MOVE_EVERY = 1.0
#: Seconds after which the run counts as stuck.
STUCK = 900.0
WEBHOOK, QUEUE = "we_bench", "local"


class MovedClock(SystemClock):
    """The machine's clock, ahead by the seconds in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> float:
        return super().now() + float(self._file.read_text() or 0)

    def move(self, seconds: float) -> None:
        """Set the clock ahead by more seconds; the file is replaced at once."""
        new = self._file.with_suffix(".new")
        new.write_text(repr(float(self._file.read_text() or 0) + seconds))
        new.replace(self._file)


def opened(scheme: str, url: str, clock: MovedClock) -> JobStore:
    """Open a store with the moved clock."""
    return RedisStore(url, "bench", clock) if scheme == "redis" else SQLiteStore(Path(url), clock)


class Receiver(HttpTarget):
    """Records each body by its id. While it is away, it answers 503."""

    def __init__(self) -> None:
        self.away = False
        self.refused = 0
        self.bodies: defaultdict[str, list[bytes]] = defaultdict(list)
        self.arrived: dict[str, float] = {}
        self._lock = threading.Lock()
        super().__init__(self._receive)

    def _receive(self, request: Received) -> Reply:
        with self._lock:
            if self.away:
                self.refused += 1
                return Reply(503)
            name = request.headers["webhook-id"]
            self.bodies[name].append(request.body)
            self.arrived.setdefault(name, time.monotonic())
        return Reply(204)


def work(scheme: str, url: str, offset: str) -> None:
    """Deliver until killed: the process of a worker."""
    from tenxsom_flow_engine.timings import Timings

    store = opened(scheme, url, MovedClock(Path(offset)))
    notifiers: dict[str, Notifier] = {EndpointKind.WEBHOOK: WebhookNotifier(allow_private=True)}
    name = f"worker-{random.getrandbits(40):x}"
    Messenger(store, notifiers, lambda: name, Timings(delivery_lease=LEASE)).run()


class Workers:
    """Processes that deliver, and are killed and started again."""

    def __init__(self, number: int, *arguments: str) -> None:
        self._arguments = [sys.executable, "-m", "benchmarks.events", "work", *arguments]
        self._running = [subprocess.Popen(self._arguments) for _ in range(number)]
        self.kills = 0

    def kill_one(self) -> None:
        """Kill a process with -9, and start another."""
        place = random.randrange(len(self._running))
        self._running[place].kill()
        self._running[place].wait()
        self._running[place] = subprocess.Popen(self._arguments)
        self.kills += 1

    def end(self) -> None:
        """Kill all."""
        for one in self._running:
            one.kill()
            one.wait()


@contextlib.contextmanager
def places() -> Iterator[list[tuple[str, str, Path]]]:
    """Yield scheme, URL and the file of the clock for a new store of each kind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder)
        try:
            found = [("sqlite", str(folder / "jobs.sqlite3")), ("redis", server.url)]
            for scheme, _ in found:
                (folder / scheme).write_text("0")
            yield [(scheme, url, folder / scheme) for scheme, url in found]
        finally:
            server.kill()


def lose_nothing(scheme: str, url: str, offset: Path) -> None:
    """Deliver all events through kills and a day without the receiver; raise `AssertionError` if one is lost."""
    clock, receiver = MovedClock(offset), Receiver()
    store = opened(scheme, url, clock)
    store.swap_endpoint(
        None, Endpoint(id=WEBHOOK, kind=EndpointKind.WEBHOOK, url=receiver.url, secret=signing.new_secret())
    )
    names = [f"job-{number}" for number in range(EVENTS)]
    store.add(QUEUE, [NewJob(VideoJob(job_id=name, topic="Tides", created_at=0.0)) for name in names])
    workers, began = Workers(WORKERS, scheme, url, str(offset)), time.monotonic()

    def end_jobs() -> None:
        for place, name in enumerate(names):
            receiver.away = receiver.away or place > EVENTS // 4
            store.cancel(name)

    ending = threading.Thread(target=end_jobs)
    ending.start()
    steps, moved, killed_at, moved_at = STEPS, 0.0, time.monotonic(), 0.0
    try:
        while True:
            here = time.monotonic()
            assert here - began < STUCK, store.delivery_counts(WEBHOOK)
            if here - killed_at > KILL_EVERY:
                workers.kill_one()
                killed_at = here
            if not ending.is_alive():
                if steps and here - moved_at < MOVE_EVERY:
                    pass
                elif steps:
                    moved_at = here
                    clock.move(DAY / STEPS)
                    steps, moved = steps - 1, moved + DAY / STEPS
                    receiver.away = steps > 0
                elif not store.delivery_counts(WEBHOOK).get(DeliveryState.PENDING):
                    break
                else:  # to the next attempt
                    due = max(store.next_delivery(WEBHOOK) or 0.0, store.health(WEBHOOK).paused_until)
                    if due - store.now() > 60:
                        clock.move(due - store.now())
            time.sleep(0.25)
    finally:
        workers.end()
        ending.join()
    events = {one.message.event_id: one for one in store.deliveries(WEBHOOK, 2 * EVENTS)}
    lost = events.keys() - receiver.bodies.keys()
    differing = [name for name, bodies in receiver.bodies.items() if len(set(bodies)) > 1 or name not in events]
    twice = sum(len(bodies) - 1 for bodies in receiver.bodies.values())
    assert (len(events), {one.message.subject for one in events.values()}) == (EVENTS, set(names))
    print(
        f"{scheme}: {EVENTS:,} events, {workers.kills} kills, receiver away for {moved / 3600:.0f} h"
        f" ({receiver.refused:,} attempts refused): {len(lost)} lost, {len(differing)} with another id or body,"
        f" {twice:,} delivered again, in {time.monotonic() - began:.0f} s"
    )
    receiver.close()
    store.close()
    assert not lost
    assert not differing


def measure(scheme: str, url: str, offset: Path) -> None:
    """Print the time from a change to the arrival of its message, with one process at rest."""
    clock, receiver = MovedClock(offset), Receiver()
    store = opened(scheme, url, clock)
    known = store.endpoint(WEBHOOK)
    store.swap_endpoint(known, None)
    store.swap_endpoint(
        None, Endpoint(id=WEBHOOK, kind=EndpointKind.WEBHOOK, url=receiver.url, secret=signing.new_secret())
    )
    workers = Workers(1, scheme, url, str(offset))
    time.sleep(10)  # it finds the endpoint, and the right to deliver of a killed one ends
    changed: dict[str, float] = {}
    for number in range(SINGLE):
        name = f"single-{number}"
        store.add(QUEUE, [NewJob(VideoJob(job_id=name, topic="Tides", created_at=0.0))])
        time.sleep(random.uniform(0.1, 0.4))
        changed[name] = time.monotonic()
        store.cancel(name)
    time.sleep(2)
    arrived = {one.message.subject: receiver.arrived[one.message.event_id] for one in store.deliveries(WEBHOOK, SINGLE)}
    waits = sorted(arrived[name] - changed[name] for name in changed)
    p95 = waits[int(len(waits) * 0.95)]
    print(f"{scheme}: change to arrival: median {statistics.median(waits) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
    workers.end()
    receiver.close()
    store.close()


def main() -> None:
    """Run all parts on both stores."""
    with places() as found:
        for place in found:
            lose_nothing(*place)
            measure(*place)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:])
    else:
        main()
