"""A fake of UseAPI's PixVerse API that renders in real time, behind a proxy that delays every byte, in its own process.

Run by `remote_service.py` as `python -m benchmarks.distant_vendor SECONDS ROUND_TRIP`: prints its address as one line
of JSON, and its `Traffic` when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tenxsom_flow_engine.services.http.fake_server import Reply, Request
from tenxsom_flow_engine.services.http.fake_vendor import MUCH_MONEY, PLENTY
from tenxsom_flow_engine.services.pixverse.fake import FakeUseApi, Sale


@dataclass(frozen=True, slots=True)
class Traffic:
    """What reached the vendor."""

    connections: int
    #: The number of requests by route.
    requests: dict[str, int]
    #: The instant of the first request, in seconds since 1970.
    first_at: float


class TimedUseApi(FakeUseApi):
    """A video is ready `seconds` after its create, however often it is polled."""

    def __init__(self, seconds: float) -> None:
        super().__init__(most=PLENTY)
        self.balance = MUCH_MONEY
        self.life: Sequence[str] = ("GENERATING",)
        self._seconds = seconds
        #: The renders that have not ended, with the instants of their ends, in order.
        self._rendering: deque[tuple[float, Sale]] = deque()

    def work(self, route: str, request: Request) -> Reply:
        with self.lock:
            while self._rendering and self._rendering[0][0] <= time.monotonic():
                self._rendering.popleft()[1].life = deque(["COMPLETED"])
            reply = super().work(route, request)
            if route == "create" and reply.status == 200:
                self._rendering.append((time.monotonic() + self._seconds, self.sold[-1]))
        return reply


class DistantProxy:
    """Forwards connections to a port of this machine as if it were `round_trip` seconds away.

    Each direction is delayed by half of it. A new connection needs a whole one before its first byte can be sent, as
    the handshake of TCP does.
    """

    def __init__(self, port: int, round_trip: float) -> None:
        self.connections = 0
        self._target = port
        #: The open connections: asyncio itself keeps no strong reference to its tasks.
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._round_trip = round_trip
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024))
        self.port: int = self._server.sockets[0].getsockname()[1]
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(task := asyncio.current_task())
        connected_at = self._loop.time() + self._round_trip
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(
            self._forward(reader, server_writer, not_before=connected_at), self._forward(server_reader, writer)
        )
        self._tasks.discard(task)

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, not_before: float = 0) -> None:
        """Send everything that arrives at one end to the other after the delay, and then its end."""
        late: deque[bytes] = deque()

        def send() -> None:
            if data := late.popleft():
                target.write(data)
            else:
                target.close()

        try:
            data = b"."
            while data:
                data = await source.read(1 << 16)
                late.append(data)
                self._loop.call_at(max(self._loop.time(), not_before) + self._round_trip / 2, send)
        except OSError:
            target.close()


def main(seconds: float, round_trip: float) -> None:
    """Run until the standard input ends."""
    with TimedUseApi(seconds) as vendor:
        proxy = DistantProxy(int(vendor.url.rpartition(":")[2]), round_trip)
        vendor.url = f"http://127.0.0.1:{proxy.port}"  # the videos are as far away
        print(json.dumps({"url": vendor.url, "key": vendor.key}), flush=True)
        sys.stdin.read()
        seen = vendor.seen
        first_at = min((requests[0].at for requests in seen.values()), default=0.0)
        traffic = Traffic(proxy.connections, {route: len(requests) for route, requests in seen.items()}, first_at)
        print(json.dumps(asdict(traffic)), flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
