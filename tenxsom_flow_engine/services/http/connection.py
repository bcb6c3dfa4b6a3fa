"""HTTP connections that record whether a byte was sent, and that have an overall deadline.

Paid requests need both: the record proves whether anything can have been bought, which the type of an exception does
not; and after the deadline no create is sent, because other workers then consider it ended.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.connection import create_connection

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.services.http.addresses import public_addresses

#: Connects to an address and port within a time-out; raises `OSError`.
Connect = Callable[[tuple[str, int], Any], socket.socket]
#: The exceptions of a request that the network or the peer causes. The libraries wrap most of them, but http.client
#: raises ValueError for a chunk with a negative size.
NETWORK_FAULTS = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class Exchange:
    """A request and its answer on the current thread: whether its first byte was sent, and its deadline.

    The time-outs of single reads do not limit a server that sends a byte now and then; the deadline does. It cannot
    interrupt name resolution, but nothing is sent if it has passed by then.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: Whether the first byte might have been sent.
        self.sent = False
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()  # guards `_socket`
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._break_off)
        self._timer.daemon = True

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._ends

    def watch(self, connected: socket.socket) -> None:
        """Register the connection in use."""
        # A duplicate descriptor: wrapping a socket in TLS detaches the original object.
        duplicate = socket.socket(fileno=os.dup(connected.fileno()))
        with self._lock:
            self._close()
            self._socket = duplicate
        if self.over:
            self._break_off()

    def about_to_send(self) -> None:
        """Record that bytes are about to be sent. Raises `TimeoutError` after the deadline."""
        if self.over:
            raise TimeoutError("the deadline has passed")
        self.sent = True

    def __enter__(self) -> Exchange:
        self._outer = _current.set(self)
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        _current.reset(self._outer)
        with self._lock:
            self._close()

    def _break_off(self) -> None:
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes a blocked reader

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


class _Session(requests.Session):
    """Never resolves redirects: even with `allow_redirects=False`, `requests` reads the content of a redirect."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Report no redirect target."""


def new_session() -> requests.Session:
    """Return a session whose connections report to the current exchange.

    It ignores the environment (a `.netrc` would replace our keys), stores no cookies and never retries.
    """
    return _session(_ANYWHERE)


def new_public_session(connect: Connect = create_connection) -> requests.Session:
    """Return a `new_session` that only connects to public addresses."""
    return _session(_public_pools(connect))


def _session(pools: dict[str, type[HTTPConnectionPool]]) -> requests.Session:
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = f"tenxsom-flow-engine/{__version__}"
    # Compression gains nothing for small answers and finished videos, and the unpacked size would be unbounded.
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("http://", "https://"):
        adapter = HTTPAdapter()
        adapter.poolmanager.pool_classes_by_scheme = pools
        session.mount(scheme, adapter)
    return session


def describe_failure(error: BaseException, exchange: Exchange) -> str:
    """Return the cause of a failed exchange, without the URL, which might contain a signature."""
    if exchange.over or isinstance(error, requests.Timeout):
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
