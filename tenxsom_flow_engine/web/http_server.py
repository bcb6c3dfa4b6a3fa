"""The HTTP server of each process: waitress, with deadlines for clients and a bounded number of connections.

waitress reads requests and sends responses in one thread that waits for no client, and only a complete request gets one
of the threads that run the application. By itself it keeps a connection as long as a byte arrives now and then, and
stops accepting at its limit of connections. Here each request has a deadline, and the connections that wait longest
make room for new ones.
"""

from __future__ import annotations

import json
import logging
import resource
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, TcpWSGIServer, UnixWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import RequestEntityTooLarge

from tenxsom_flow_engine.web.file_streaming import PIECE
from tenxsom_flow_engine.web.headers import DATA

_log = logging.getLogger(__name__)

#: Maximum bytes of a request's head, and of its body. Cloud Tasks limits a task, with its headers, to 1 MiB.
MAX_HEAD, MAX_BODY = 64 * 1024, 1024 * 1024 + 64 * 1024
#: Bytes of a response that wait for a slow client before its thread waits: more than the longest piece of a video
#: (`file_streaming.PIECE`), so that only downloads occupy their thread.
UNSENT = PIECE + (1 << 20)
#: Maximum number of connections accepted in one turn of the loop; few, because other processes want some as well.
_BATCH = 16
#: Seconds between two searches for overdue connections, and between two log lines about them.
_CHECK, _REPORT = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients can use. Durations in seconds."""

    #: Number of threads that run the application.
    threads: int
    #: Maximum number of connections that wait for their first request, and of those that wait after a response.
    waiting: int = 500
    #: From the connection, or from the first byte of a later request, until the request is complete.
    request: float = 30.0
    #: From a response to the first byte of the next request.
    idle: float = 60.0
    #: Without progress, while a client does not read its response.
    stalled: float = 20.0
    #: After a refused request, for the client to read the refusal.
    linger: float = 10.0
    #: The first two durations, while the server stops.
    stopping: float = 2.0

    def within_descriptors(self) -> Limits:
        """Return these limits, reduced so that connections and their bodies use at most half of the descriptors."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return self if most == resource.RLIM_INFINITY else replace(self, waiting=min(self.waiting, max(most // 8, 1)))


class Server:
    """Serves a WSGI application on listening sockets. `wake` is for any thread, all else for one."""

    def __init__(self, application: Callable[..., Any], listeners: Sequence[socket.socket], limits: Limits) -> None:
        self.limits = limits
        self.stopping = False
        self._map: dict[int, Any] = {}
        self._check_at = self._report_at = 0.0
        self._dropped = 0
        #: Connections whose client sent more requests before the response to the first.
        self.pipelining: deque[_Connection] = deque()
        # waitress would log each client that leaves and each request that waits for a thread.
        logging.getLogger("waitress").setLevel(logging.WARNING)
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._pool = ThreadedTaskDispatcher()
        self._pool.set_thread_count(limits.threads)
        options = Adjustments(
            sockets=list(listeners),
            ident="",
            max_request_header_size=MAX_HEAD,
            max_request_body_size=MAX_BODY + 1,  # waitress refuses this size
            inbuf_overflow=64 * 1024,
            outbuf_overflow=2 * UNSENT,  # never: it would write to a file
            outbuf_high_watermark=UNSENT,
            log_socket_errors=False,
            clear_untrusted_proxy_headers=False,  # `dashboard.session` reads some, as statements of the client
        )
        self._listeners = [self._listen(application, listener, options) for listener in listeners]

    def _listen(self, application: Callable[..., Any], listener: socket.socket, options: Adjustments) -> _Listener:
        kind = _UnixListener if listener.family == socket.AF_UNIX else _TcpListener
        where = (listener.family, listener.type, listener.proto, listener.getsockname())
        made: _Listener = kind(
            application,
            self._map,
            False,
            listener,
            dispatcher=self._pool,
            adj=options,
            sockinfo=where,
            bind_socket=False,
        )
        made.owner, made.accepting = self, True
        return made

    def turn(self, timeout: float = 1.0) -> None:
        """Handle what clients sent or read, after waiting at most `timeout` seconds for it."""
        wasyncore.poll2(timeout, self._map)
        for _ in range(len(self.pipelining)):
            connection = self.pipelining.popleft()
            if not connection.resume():
                self.pipelining.append(connection)
        # Not during `poll2`: a new connection could get the descriptor of a closed one, and then its events. Also while
        # none is accepted: responses can have been sent since, to clients that do not read them.
        if self.crowded or any(listener.accepted for listener in self._listeners):
            self._make_room()
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + _CHECK
            self._close_overdue()

    def stop(self) -> None:
        """Accept no more connections, and close each one after its response."""
        self.stopping = True
        self.limits = replace(self.limits, request=self.limits.stopping, idle=self.limits.stopping)
        self._check_at = 0.0
        for listener in self._listeners:
            listener.del_channel()
            listener.socket.close()

    def close(self) -> None:
        """Close everything. Call it only after the last request: its thread would write to a closed descriptor."""
        self._pool.shutdown()
        wasyncore.close_all(self._map)

    def wake(self) -> None:
        """End the wait of `turn`. Re-entrant, for signal handlers."""
        self._listeners[0].pull_trigger()

    @property
    def connections(self) -> list[_Connection]:
        """The open connections."""
        return [one for one in list(self._map.values()) if isinstance(one, _Connection)]

    @property
    def crowded(self) -> bool:
        """Whether so many requests wait for a thread that no connection can be accepted."""
        return len(self._map) > 3 * self.limits.waiting

    def _make_room(self) -> None:
        for listener in self._listeners:
            listener.accepted = False
        free = [one for one in self.connections if not one.requests]
        for served in (False, True):
            group = sorted((one for one in free if one.served is served), key=lambda one: one.since)
            self._drop(group[: max(len(group) - self.limits.waiting, 0)])

    def _close_overdue(self) -> None:
        now = time.monotonic()
        for listener in self._listeners:
            listener.exhausted = False
        self._drop([one for one in self.connections if one.overdue(now)])
        if self._dropped and now >= self._report_at:
            _log.info("closed connections: %d clients sent no complete request or read no response", self._dropped)
            self._dropped, self._report_at = 0, now + _REPORT

    def _drop(self, connections: Sequence[_Connection]) -> None:
        self._dropped += sum(not one.polite for one in connections)
        for one in connections:
            one.lingering = True  # closes immediately
            one.handle_close()


class _Task(WSGITask):  # type: ignore[misc]
    """A request that the application answers."""

    def get_environment(self) -> dict[str, Any]:
        environment: dict[str, Any] = super().get_environment()
        # It would keep a static file open until the client has read it.
        environment.pop("wsgi.file_wrapper", None)
        return environment

    def build_response_header(self) -> bytes:
        self.channel.refused = self.request.too_long
        if self.channel.server.owner.stopping or self.request.too_long:
            self.set_close_on_finish()
        head: bytes = super().build_response_header()
        return head


class _Refusal(ErrorTask):  # type: ignore[misc]
    """A request that is no valid HTTP, or has too long a head or too many chunks; answered as JSON like all errors."""

    def execute(self) -> None:
        error = self.request.error
        reason = {"code": error.reason.lower().replace(" ", "_"), "message": error.body}
        body = json.dumps({"error": reason}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", "application/json"), *DATA.items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.refused = True
        self.write(body)


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """A request, with rules of HTTP/1.1 that waitress does not enforce."""

    #: waitress logs it of a client that has left, also if the request has none because it is invalid.
    path = ""
    error: Any = None
    #: Whether its body is not read because it is too long. The application refuses it by its `Content-Length`, in the
    #: words of the page or route that it was for.
    too_long = False
    #: What the client sent after this request: it is read when the response is sent.
    rest = b""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ParsingError as error:  # it can quote a header line, such as a cookie
            raise ParsingError(str(error).partition(' "')[0]) from None
        except ValueError as error:  # such as a `Content-Length` with thousands of digits
            raise ParsingError("Invalid header") from error
        # RFC 9112: section 3.2 for `Host`, section 6.1 for two lengths of one body.
        if self.version == "1.1" and self.headers.get("HOST", ",").count(","):
            raise ParsingError("HTTP/1.1 needs one Host header")
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if not self.chunked and isinstance(self.error, RequestEntityTooLarge):
            self.error = None
            self.too_long = True
        if self.error or self.too_long:
            self.expect_continue = False  # else waitress would ask for the body of a request that is refused
        if self.completed and not self.empty and consumed < len(data):
            self.rest = data[consumed:]
            return len(data)
        return consumed


class _Connection(HTTPChannel):  # type: ignore[misc]
    """One client's connection.

    It has one request at a time: the next is read when the response is sent. So a client that sends many, and reads
    nothing, occupies no thread, and at most the memory of one response and one read.
    """

    task_class = _Task
    error_task_class = _Refusal
    parser_class = _Parser
    #: Whether it has had a response.
    served = False
    #: Whether its request was refused, so that the client might still be sending it.
    refused = False
    #: Whether the response is sent, and only the client's end of the connection is awaited.
    lingering = False
    #: What the client sent after its present request.
    rest = b""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: When its present state began, or sending last made progress: the time of its deadline counts from here.
        self.since = time.monotonic()

    @property
    def polite(self) -> bool:
        """Whether the client owes nothing: it can send another request, but has not begun."""
        return self.served and self.request is None and not self.total_outbufs_len

    def overdue(self, now: float) -> bool:
        """Return whether the client has exceeded a deadline."""
        limits = self.server.owner.limits
        if self.lingering:
            return bool(now > self.since + limits.linger)
        if self.total_outbufs_len:
            return bool(now > self.since + limits.stalled)
        if self.requests:
            return False
        return bool(now > self.since + (limits.idle if self.polite else limits.request))

    def received(self, data: bytes) -> bool:
        between = self.request is None
        taken: bool = super().received(data)
        if between and self.served and self.request is not None:
            self.since = time.monotonic()
        return taken

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent: int = super().send(data, do_close)
        if sent:
            self.since = time.monotonic()
        return sent

    def service(self) -> None:
        request = self.requests[0]
        if request.rest and not (request.error or request.too_long):  # else it is the body of a refused request
            self.rest = request.rest
            self.server.owner.pipelining.append(self)
        super().service()
        self.served = True

    def resume(self) -> bool:
        """Read the client's next request if the response is sent; return whether there is nothing to wait for."""
        if not self.connected:
            return True
        if self.requests or self.total_outbufs_len:
            return False
        rest, self.rest = self.rest, b""
        self.received(rest)
        return True

    def readable(self) -> bool:
        # In this order: `service` sets `rest` before it removes its request.
        return self.lingering or (bool(super().readable()) and not self.rest)

    def writable(self) -> bool:
        return not self.lingering and bool(super().writable())

    def handle_read(self) -> None:
        if not self.lingering:
            super().handle_read()
            return
        try:
            self.recv(MAX_HEAD)  # closes the connection at its end
        except OSError:
            self.handle_close()

    def handle_close(self) -> None:
        if self.refused and self.connected and not self.lingering:
            # Closing a socket with unread input resets the connection, and the client could lose the response.
            self.lingering = True
            self.since = time.monotonic()
            try:
                self.socket.shutdown(socket.SHUT_WR)
                return
            except OSError:
                pass
        super().handle_close()


class _Listener(BaseWSGIServer):  # type: ignore[misc]
    """Accepts connections, many in one turn."""

    channel_class = _Connection
    owner: Server
    #: Whether a connection was accepted since the last turn.
    accepted = False
    #: Whether the process has no descriptor for another connection.
    exhausted = False

    def readable(self) -> bool:
        return not self.exhausted and not self.owner.crowded

    def handle_accept(self) -> None:
        for _ in range(_BATCH):
            try:
                sock, address = self.socket.accept()
            except OSError as error:
                self.exhausted = not isinstance(error, BlockingIOError | ConnectionAbortedError)
                return
            self.accepted = True
            self.set_socket_options(sock)
            self.channel_class(self, sock, self.fix_addr(address), self.adj, map=self._map)


class _TcpListener(_Listener, TcpWSGIServer):  # type: ignore[misc]
    """A TCP port."""


class _UnixListener(_Listener, UnixWSGIServer):  # type: ignore[misc]
    """A Unix socket."""
