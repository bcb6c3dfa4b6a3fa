"""HTTP connections that record whether a byte was sent, and that have an overall deadline.

Paid requests need both: the record proves whether anything can have been bought, which the type of an exception does
not; and after the deadline no create is sent, because other workers then consider it ended.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import certifi
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.util.connection import create_connection

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.services.http.addresses import public_addresses
from tenxsom_flow_engine.timings import CallTimeouts

#: Connects to an address and port within a time-out; raises `OSError`.
Connect = Callable[[tuple[str, int], Any], socket.socket]
#: The exceptions of a request that the network or the peer causes. urllib3 wraps most of them, but http.client raises
#: ValueError for a chunk with a negative size.
NETWORK_FAULTS = (HTTPError, HTTPException, OSError, ValueError)
#: Idle connections that are kept for each host. As many as the most steps of a process, so that no step opens one while
#: another closes one.
MAX_KEPT = 256
#: Hosts with kept connections: the services, and the file stores of their videos.
MAX_HOSTS = 32


class Deadlines:
    """Breaks off exchanges when their deadlines pass. One thread does so for all exchanges of the process."""

    def __init__(self) -> None:
        self._condition = threading.Condition()  # guards the fields below
        self._running: set[Exchange] = set()
        self._wakes_at = math.inf
        self._started = False

    def add(self, exchange: Exchange) -> None:
        """Watch an exchange."""
        with self._condition:
            if not self._started:
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
                self._started = True
            self._running.add(exchange)
            if exchange.ends_at < self._wakes_at:
                self._condition.notify()

    def remove(self, exchange: Exchange) -> None:
        """Stop watching an exchange that has ended."""
        with self._condition:
            self._running.discard(exchange)

    def _watch(self) -> None:
        with self._condition:
            while True:
                for exchange in [one for one in self._running if one.over]:
                    self._running.remove(exchange)
                    exchange.break_off()
                self._wakes_at = min((one.ends_at for one in self._running), default=math.inf)
                pause = self._wakes_at - time.monotonic()
                self._condition.wait(None if pause == math.inf else max(pause, 0.0))


@cache
def _deadlines(process: int) -> Deadlines:
    """Return the deadlines of a process, by its id: a fork does not copy the thread."""
    return Deadlines()


class Exchange:
    """A request and its answer on the current thread: whether its first byte was sent, and its deadline.

    The time-outs of single reads do not limit a server that sends a byte now and then; the deadline does. It cannot
    interrupt name resolution, but nothing is sent if it has passed by then.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: Whether the first byte might have been sent.
        self.sent = False
        #: The deadline on the monotonic clock.
        self.ends_at = time.monotonic() + seconds
        self._lock = threading.Lock()  # guards `_socket`
        self._socket: socket.socket | None = None
        self._deadlines = _deadlines(os.getpid())

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.ends_at

    def watch(self, connected: socket.socket) -> None:
        """Register the connection in use."""
        # A duplicate descriptor: wrapping a socket in TLS detaches the original object.
        duplicate = socket.socket(fileno=os.dup(connected.fileno()))
        with self._lock:
            self._close()
            self._socket = duplicate
        if self.over:
            self.break_off()

    def about_to_send(self) -> None:
        """Record that bytes are about to be sent. Raises `TimeoutError` after the deadline."""
        if self.over:
            raise TimeoutError("the deadline has passed")
        self.sent = True

    def __enter__(self) -> Exchange:
        self._deadlines.add(self)
        self._outer = _current.set(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self._deadlines.remove(self)
        _current.reset(self._outer)
        with self._lock:
            self._close()

    def break_off(self) -> None:
        """End the connection in use, which wakes a blocked reader."""
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)

if TYPE_CHECKING:
    _Connection = HTTPConnection
else:
    _Connection = object


class _Reporting(_Connection):
    """Reports to the current exchange."""

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        if exchange := _current.get():
            exchange.watch(connected)
        return connected

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        elif exchange := _current.get():
            exchange.watch(self.sock)  # a kept-alive connection, not watched by this exchange yet
        if exchange := _current.get():
            exchange.about_to_send()
        super().send(data)


class _PublicOnly(_Connection):
    """Connects to public addresses only. `host` is unchanged, so certificates are still verified by name."""

    #: Set by `_public_pools`.
    connect_to: Connect

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        try:
            for address in public_addresses(self.host, self.port):
                try:
                    return self.connect_to((address, self.port), self.timeout)
                except OSError as error:
                    failure = error
        except OSError as error:
            failure = error
        raise NewConnectionError(self, str(failure)) from failure


class _Http(_Reporting, HTTPConnection):
    pass


class _Https(_Reporting, HTTPSConnection):
    pass


def _pool(kind: type[HTTPConnectionPool], connection: type[HTTPConnection]) -> type[HTTPConnectionPool]:
    return type(kind.__name__, (kind,), {"ConnectionCls": connection})


_ANYWHERE = {"http": _pool(HTTPConnectionPool, _Http), "https": _pool(HTTPSConnectionPool, _Https)}


def _public_pools(connect: Connect) -> dict[str, type[HTTPConnectionPool]]:
    class PublicHttp(_Reporting, _PublicOnly, HTTPConnection):
        connect_to = staticmethod(connect)

    class PublicHttps(_Reporting, _PublicOnly, HTTPSConnection):
        connect_to = staticmethod(connect)

    return {"http": _pool(HTTPConnectionPool, PublicHttp), "https": _pool(HTTPSConnectionPool, PublicHttps)}


@cache
def _trusted() -> ssl.SSLContext:
    """Return the TLS settings: the authorities of certifi. Reading them takes longer than a request, so only once."""
    return ssl.create_default_context(cafile=certifi.where())


def new_connections() -> PoolManager:
    """Return connections that report to the current exchange and are kept for later requests."""
    return _connections(_ANYWHERE, None)


def new_public_connections(connect: Connect = create_connection, tls: ssl.SSLContext | None = None) -> PoolManager:
    """Return `new_connections` to public addresses only. `tls` replaces the trusted authorities."""
    return _connections(_public_pools(connect), tls)


def _connections(pools: dict[str, type[HTTPConnectionPool]], tls: ssl.SSLContext | None) -> PoolManager:
    manager = PoolManager(MAX_HOSTS, maxsize=MAX_KEPT, ssl_context=tls or _trusted())
    manager.pool_classes_by_scheme = pools
    return manager


def send(
    connections: PoolManager,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    timeouts: CallTimeouts,
    query: Mapping[str, str | int] | None = None,
    body: bytes | None = None,
) -> BaseHTTPResponse:
    """Send a request once, and return the answer with its content unread. Raises `NETWORK_FAULTS`.

    It follows no redirects.
    """
    return connections.request(
        method,
        url,
        fields={name: str(value) for name, value in query.items()} if query else None,
        body=body,
        # Compression gains nothing for small answers and finished videos, and the unpacked size would be unbounded.
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers},
        timeout=Timeout(connect=timeouts.connect, read=timeouts.read),
        retries=False,
        redirect=False,
        preload_content=False,
        decode_content=False,
    )


_USER_AGENT = f"tenxsom-flow-engine/{__version__}"


def describe_failure(error: BaseException, exchange: Exchange) -> str:
    """Return the cause of a failed exchange, without the URL, which might contain a signature."""
    refused = isinstance(error, NewConnectionError)  # a subclass of `ConnectTimeoutError` too
    if exchange.over or (isinstance(error, ConnectTimeoutError | ReadTimeoutError) and not refused):
        return f"no complete answer within {exchange.seconds:g} s" if exchange.sent else "no connection in time"
    inner = _innermost(error)
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return type(inner).__name__ if exchange.sent else f"no connection ({type(inner).__name__})"


def _innermost(error: BaseException) -> BaseException:
    """Return the exception at the bottom of the libraries' wrappers."""
    for inner in (getattr(error, "reason", None), error.__cause__, *reversed(error.args), error.__context__):
        if isinstance(inner, BaseException):
            return _innermost(inner)
    return error
