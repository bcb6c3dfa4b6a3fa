"""The base of all fake services: a threaded HTTP server on a free loopback port with scripted faults.

A fake names the route of each request and answers it. A test can script faults for a route: another answer, or a
connection that breaks or stalls before, during or after the requested work.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

#: Seconds between two bytes of a trickling answer.
_TRICKLE = 0.05


class At(Enum):
    """A moment of a request."""

    UNREAD = "unread"  # the first bytes have arrived, nothing has been read
    READ = "read"  # the request has been read, no work has been done
    DONE = "done"  # the work is done, no answer has been sent
    ANSWERING = "answering"  # half of the answer has been sent


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection."""

    at: At


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more until the client disconnects."""

    at: At


@dataclass(frozen=True, slots=True)
class Trickle:
    """Do the work and send the answer byte by byte: from its headers on (`head`), or its content only."""

    head: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. As a scripted fault it replaces the work, or with `done` only the answer."""

    status: int = 200
    #: Bytes are sent as they are, anything else as JSON.
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    done: bool = False

    def content(self) -> bytes:
        """Return the encoded body."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Fault = Cut | Hang | Trickle | Reply


@dataclass(frozen=True, slots=True)
class Request:
    """A received request. `path` is raw."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes
    #: When it had been received completely, in seconds since 1970 by this machine's clock.
    at: float = 0.0

    @property
    def query(self) -> dict[str, str]:
        """The fields of the query string."""
        return dict(parse_qsl(urlsplit(self.path).query))

    @property
    def bare_path(self) -> str:
        """The path without its query, raw."""
        return self.path.partition("?")[0]

    def json(self) -> Any:
        """Return the decoded content, or None if it is not JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


class FakeServer(ABC):
    """A fake service. Use it as a context manager."""

    def __init__(self) -> None:
        #: Faults for the next requests of each route, first in, first out.
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        #: Returns the fault of a request without a scripted one, by its route; None: no fault.
        self.fault_source: Callable[[str], Fault | None] = lambda route: None
        #: Faults for the next connections, applied before anything is read from them.
        self.unread: deque[Cut | Hang] = deque()
        #: Called at each moment of each request, for example to move a clock or to end a process.
        self.on_moment: Callable[[str, At, Request], None] = lambda route, at, request: None
        #: All requests, by route.
        self.seen: defaultdict[str, list[Request]] = defaultdict(list)
        #: Guards the state that the threads share.
        self.lock = threading.RLock()
        self._closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @abstractmethod
    def route(self, request: Request) -> str:
        """Return the name of a request's route."""

    @abstractmethod
    def work(self, route: str, request: Request) -> Reply:
        """Do the work of a request and return its answer."""

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.hang_up()

    def wrap(self, context: ssl.SSLContext) -> None:
        """Use TLS on new connections."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = self.url.replace("http:", "https:")

    def hang_up(self) -> None:
        """Close all connections."""
        with self.lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def hang(self, connection: socket.socket) -> None:
        """Wait until the client disconnects or this server closes."""
        connection.settimeout(0.05)
        while not self._closing.is_set():
            try:
                if not connection.recv(1 << 16):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def trickle(self, write: Callable[[bytes], object], content: bytes) -> None:
        """Write byte by byte."""
        for byte in content:
            write(bytes([byte]))
            if self._closing.wait(_TRICKLE):
                return

    def opened(self, connection: socket.socket) -> Cut | Hang | None:
        """Register a connection; return its scripted fault."""
        with self.lock:
            self._connections.add(connection)
            return self.unread.popleft() if self.unread else None

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self.lock:
            self._connections.discard(connection)

    def next_fault(self, route: str) -> Fault | None:
        """Return the fault for the next request of a route."""
        with self.lock:
            return self.faults[route].popleft() if self.faults[route] else self.fault_source(route)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: connections break here on purpose."""


class _Broken(Exception):
    """The connection was broken on purpose."""


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer is written in parts, and no part may wait for the next

        def handle(self) -> None:
            try:
                fault = fake.opened(self.connection)
                if fault is not None:
                    # Wait for the first byte: before it, the client could prove that it sent nothing.
                    self.connection.recv(1, socket.MSG_PEEK)
                    self._apply(fault)
                super().handle()
            except (_Broken, OSError):
                self.close_connection = True
            finally:
                fake.closed(self.connection)

        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers), content, time.time())
            route = fake.route(request)
            with fake.lock:
                fake.seen[route].append(request)
            fault = fake.next_fault(route)
            self._moment(route, At.READ, request, fault)
            if isinstance(fault, Reply) and not fault.done:
                reply = fault
            else:
                reply = fake.work(route, request)
                reply = fault if isinstance(fault, Reply) else reply
            self._moment(route, At.DONE, request, fault)
            self._answer(reply, lambda: self._moment(route, At.ANSWERING, request, fault), fault)

        do_POST = do_DELETE = do_GET

        def _moment(self, route: str, at: At, request: Request, fault: Fault | None) -> None:
            fake.on_moment(route, at, request)
            if isinstance(fault, Cut | Hang) and fault.at is at:
                self._apply(fault)

        def _answer(self, reply: Reply, halfway: Callable[[], None], fault: Fault | None) -> None:
            content = reply.content()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if not reply.headers.keys() & {"Content-Length", "Transfer-Encoding"}:
                self.send_header("Content-Length", str(len(content)))
            if isinstance(fault, Trickle):
                self.flush_headers() if fault.head else self.end_headers()
                fake.trickle(self.wfile.write, b"X-Slow: " + b"z" * 10_000 if fault.head else content)
                return
            self.end_headers()
            half = len(content) // 2
            self.wfile.write(content[:half])
            halfway()
            self.wfile.write(content[half:])
            self.close_connection = self.close_connection or reply.headers.get("Connection") == "close"

        def _apply(self, fault: Cut | Hang) -> None:
            if isinstance(fault, Hang):
                fake.hang(self.connection)
            else:
                # Without lingering the client gets a reset at once.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            raise _Broken

        def log_message(self, format: str, *arguments: Any) -> None:
            """Print nothing: `seen` has all requests."""

    return Handler
