"""Response times of the web worker while other clients linger, drip, are silent or do not read.

Run by `make bench-bad-clients`; takes eight minutes. Each row starts the worker as the README does, then the bad
clients in another process, and measures `GET /health` and `POST /process` in turn, each on a new connection.
`--server` compares other servers of the same application.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.table import print_table
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
#: The documented server, and the threads that gunicorn used before.
SERVERS = {
    "worker": "-m gunicorn -c gunicorn.conf.py -b 127.0.0.1:{port} cloud_tasks_worker:app",
    "script": "cloud_tasks_worker.py --port {port}",
    "gthread": "-m gunicorn -c gunicorn.conf.py -k gthread --keep-alive 620 -b 127.0.0.1:{port} cloud_tasks_worker:app",
}
#: Seconds: for the bad clients to connect, between two requests, and until a request counts as unanswered.
BEFORE, PAUSE, UNANSWERED = 3.0, 0.05, 10.0
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PROCESS = (
    b"POST /process HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
#: One bad client, until it is cancelled.
Client = Callable[[int], Awaitable[None]]


async def linger(request: bytes, port: int) -> None:
    """Send requests after which the server closes the connection, and keep this end open."""
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await asyncio.sleep(3)
        writer.close()


async def drip(start: bytes, port: int) -> None:
    """Send the start of a request, then a byte every four seconds."""
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(4)
                writer.write(b"x")
                await writer.drain()


async def be_silent(port: int) -> None:
    """Connect and send nothing."""
    while True:
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            await reader.read()


async def stay(port: int) -> None:
    """Send one request, and keep the connection."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            writer.write(HEALTH.replace(b"Connection: close\r\n", b""))
            while await reader.read(65536):
                pass


async def refuse_to_read(port: int) -> None:
    """Send many requests and read no response."""
    while True:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        request = b"GET /static/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with suppress(ConnectionError), sock:
            while True:
                await asyncio.get_running_loop().sock_sendall(sock, request)


def posting(path: bytes, kind: bytes) -> bytes:
    """Return the head of a request whose body is missing."""
    return (
        b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + kind + b"\r\nContent-Length: 9999\r\n\r\n"
    )


CASES: dict[str, tuple[Client | None, tuple[int, ...]]] = {
    "none": (None, (0,)),
    "linger after `Connection: close`": (partial(linger, HEALTH), (1, 20, 100)),
    "linger after a 400": (partial(linger, b"NO REQUEST\r\n\r\n"), (1, 20, 100)),
    "drip the head": (partial(drip, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Drip: "), (17, 200)),
    "drip a form to /login": (partial(drip, posting(b"/login", b"application/x-www-form-urlencoded")), (17, 200)),
    "drip a body to /process": (partial(drip, posting(b"/process", b"application/json")), (17, 200)),
    "send nothing": (be_silent, (1_000, 3_000)),
    "keep idle connections": (stay, (1_000,)),
    "do not read responses": (refuse_to_read, (20, 200)),
}


def be_bad(client: Client, count: int, port: int) -> None:
    """Run bad clients until killed."""

    async def run() -> None:
        await asyncio.gather(*(again(client, port) for _ in range(count)))

    asyncio.run(run())


async def again(client: Client, port: int) -> None:
    """Run a client, again after each failed attempt to connect."""
    while True:
        with suppress(OSError):
            await client(port)
        await asyncio.sleep(0.2)


def ask(port: int, request: bytes) -> float:
    """Return the seconds until the first line of a response, or `UNANSWERED`."""
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=UNANSWERED) as sock:
            sock.sendall(request)
            return time.monotonic() - began if sock.recv(12).startswith(b"HTTP/1.1 ") else UNANSWERED
    except OSError:
        return UNANSWERED


def measure(server: str, client: Client | None, count: int, seconds: float) -> list[str]:
    """Start a server and bad clients; return median, 99th percentile and maximum in ms, and unanswered requests."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home, open(os.devnull, "w") as nowhere:
        environment = os.environ | {
            "TENXSOM_HOME": home, "GOOGLE_CLOUD_PROJECT": "p", "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:1",
            "CLOUD_TASKS_WORKER_URL": f"http://127.0.0.1:{port}", "TENXSOM_QUEUE_TYPE": "cloud_tasks",
        }  # fmt: skip
        command = shlex.split(server.format(port=port))
        # An absolute path is another program, such as another server; the rest are arguments of Python.
        program = command if Path(command[0]).is_absolute() else [sys.executable, *command]
        process = subprocess.Popen(program, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere)
        bad = multiprocessing.Process(target=be_bad, args=(client, count, port), daemon=True) if client else None
        try:
            while ask(port, HEALTH) == UNANSWERED:
                time.sleep(0.1)
            if bad:
                bad.start()
                time.sleep(BEFORE)
            times = []
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                times += [ask(port, HEALTH), ask(port, PROCESS)]
                time.sleep(PAUSE)
        finally:
            if bad:
                bad.kill()
                bad.join()
            process.terminate()
            process.wait()
    p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
    lost = sum(one == UNANSWERED for one in times)
    return [f"{1000 * one:,.0f}" for one in (statistics.median(times), p99, max(times))] + [f"{lost} of {len(times)}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default="worker", help="a name of SERVERS, or a command with {port}")
    parser.add_argument("--case", default="", help="run only the cases whose name contains this text")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure each row")
    options = parser.parse_args()
    # The bad clients need as many descriptors as they have connections.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    server = SERVERS.get(options.server, options.server)
    table = [
        [case, f"{count:,}", *measure(server, client, count, options.seconds)]
        for case, (client, counts) in CASES.items()
        if options.case in case
        for count in counts
    ]
    print_table(["other clients", "number", "median ms", "p99 ms", "longest ms", "unanswered"], table)


if __name__ == "__main__":
    main()
