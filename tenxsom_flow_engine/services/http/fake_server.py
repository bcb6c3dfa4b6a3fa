"""What all fake services share: a server of threads on a free loopback port, whose every request a test may spoil.

A fake names the route of each request and answers it. What a test has scripted for that route comes first: another
answer, or a connection that breaks or stalls before, in or after the work that the request asks for.
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

#: Seconds between the bytes of an answer that trickles.
_TRICKLE = 0.05


class At(Enum):
    """A moment of a request."""

    UNREAD = "unread"  # the request's first bytes have come, nothing has been read
    READ = "read"  # the request has been read, nothing has been done
    DONE = "done"  # its work is done, the answer has not begun
    ANSWERING = "answering"  # half of the answer is out


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks."""

    at: At


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more comes until the other side hangs up."""

    at: At


@dataclass(frozen=True, slots=True)
class Trickle:
    """The work is done, and the answer comes byte by byte: its headers already (`head`), or its content only."""

    head: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. Scripted, it comes instead of the work, or after it with `done`."""

    status: int = 200
    #: Bytes go out as they are, anything else as JSON.
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    done: bool = False

    def content(self) -> bytes:
        """Return what goes out."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Fault = Cut | Hang | Trickle | Reply


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came. `path` is raw."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes
    #: When it had come, in seconds since 1970 by this machine's clock.
    at: float = 0.0

    @property
    def query(self) -> dict[str, str]:
        """The query's fields."""
        return dict(parse_qsl(urlsplit(self.path).query))

    @property
    def bare_path(self) -> str:
        """The path without its query, raw."""
        return self.path.partition("?")[0]

    def json(self) -> Any:
        """Return the content, or None if it is no JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


class FakeServer(ABC):
    """One fake service. Use as a context manager."""

    def __init__(self) -> None:
        #: What happens to the next requests of each route; then all is well.
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        #: What happens to a request for which nothing is scripted, by its route; None: all is well.
        self.weather: Callable[[str], Fault | None] = lambda route: None
        #: What happens to the next connections before anything is read from them.
        self.unread: deque[Cut | Hang] = deque()
        #: Called at each moment of each request: the place to let the world move on, or end.
        self.on_moment: Callable[[str, At, Request], None] = lambda route, at, request: None
        #: All requests, by route.
        self.seen: defaultdict[str, list[Request]] = defaultdict(list)
        #: Guards what the threads share.
        self.lock = threading.RLock()
        self._closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @abstractmethod
    def route(self, request: Request) -> str:
        """Name what a request asks for."""

    @abstractmethod
    def work(self, route: str, request: Request) -> Reply:
        """Do what a request asks for."""

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
        """Speak TLS on new connections."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = self.url.replace("http:", "https:")

    def hang_up(self) -> None:
        """End all connections."""
        with self.lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def hang(self, connection: socket.socket) -> None:
        """Wait until the other side hangs up, or this server closes."""
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
        """Take note of a connection; return what shall happen to it."""
        with self.lock:
            self._connections.add(connection)
            return self.unread.popleft() if self.unread else None

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self.lock:
            self._connections.discard(connection)

    def next_fault(self, route: str) -> Fault | None:
        """Return what shall happen to this request of a route."""
        with self.lock:
            return self.faults[route].popleft() if self.faults[route] else self.weather(route)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections break here on purpose."""


class _Broken(Exception):
    """The connection ends here."""


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer goes out in pieces, and none shall wait for the next

        def handle(self) -> None:
            try:
                fault = fake.opened(self.connection)
                if fault is not None:
                    # Until bytes have come the other side could know that none went out.
                    self.connection.recv(1, socket.MSG_PEEK)
                    self._spoil(fault)
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
                self._spoil(fault)

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

        def _spoil(self, fault: Cut | Hang) -> None:
            if isinstance(fault, Hang):
                fake.hang(self.connection)
            else:
                # No lingering: the other side is told at once, and rudely.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            raise _Broken

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing: `seen` tells all."""

    return Handler
