"""HTTP connections that know whether a byte went out, and that end in time.

Both are needed where a request costs money: whether anything can have been bought is known and not guessed from the
kind of an exception, and no create is sent after the moment at which others may think that it is over.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
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

#: What a request may raise when the network or the other side is at fault.
NETWORK_FAULTS = (requests.RequestException, HTTPError, OSError)


class Exchange:
    """A request and its answer on the present thread: whether its first byte went out, and its end in time.

    The time-outs of single reads do not bound a server that sends a byte now and then; this does. Not bounded is the
    time that the system takes to resolve a name, but after it nothing is sent if the time is over.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: Whether the first byte may have gone out.
        self.sent = False
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()  # of the socket
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._break_off)
        self._timer.daemon = True

    @property
    def over(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self._ends

    def watch(self, connected: socket.socket) -> None:
        """Take note of the connection in use."""
        # A descriptor of our own: wrapping a socket in TLS leaves the original object empty.
        own = socket.socket(fileno=os.dup(connected.fileno()))
        with self._lock:
            self._close()
            self._socket = own
        if self.over:
            self._break_off()

    def about_to_send(self) -> None:
        """Take note that bytes go out now. Raises `TimeoutError` if it is too late for that."""
        if self.over:
            raise TimeoutError("the time is over")
        self.sent = True

    def __enter__(self) -> Exchange:
        self._outer = _present.set(self)
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        _present.reset(self._outer)
        with self._lock:
            self._close()

    def _break_off(self) -> None:
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)  # whoever reads from it wakes up

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_present: ContextVar[Exchange | None] = ContextVar("exchange", default=None)

if TYPE_CHECKING:
    _Connection = HTTPConnection
else:
    _Connection = object


class _Reporting(_Connection):
    """Reports to the present exchange."""

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        if exchange := _present.get():
            exchange.watch(connected)
        return connected

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        elif exchange := _present.get():
            exchange.watch(self.sock)  # it may be a connection that was kept alive
        if exchange := _present.get():
            exchange.about_to_send()
        super().send(data)


class _PublicOnly(_Connection):
    """Connects to public addresses only. Certificates are checked by name all the same, since `host` stays."""

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        try:
            for address in public_addresses(self.host, self.port):
                try:
                    return create_connection((address, self.port), self.timeout)
                except OSError as error:
                    failure = error
        except OSError as error:
            failure = error
        raise NewConnectionError(self, str(failure)) from failure


class _Http(_Reporting, HTTPConnection):
    pass


class _Https(_Reporting, HTTPSConnection):
    pass


class _PublicHttp(_Reporting, _PublicOnly, HTTPConnection):
    pass


class _PublicHttps(_Reporting, _PublicOnly, HTTPSConnection):
    pass


def _pool(kind: type[HTTPConnectionPool], connection: type[HTTPConnection]) -> type[HTTPConnectionPool]:
    return type(kind.__name__, (kind,), {"ConnectionCls": connection})


_ANYWHERE = {"http": _pool(HTTPConnectionPool, _Http), "https": _pool(HTTPSConnectionPool, _Https)}
_PUBLIC = {"http": _pool(HTTPConnectionPool, _PublicHttp), "https": _pool(HTTPSConnectionPool, _PublicHttps)}


class _Session(requests.Session):
    """Follows no redirect: where told not to, the library's own still looks ahead, and reads a redirect's content."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that there is none."""


def new_session(*, public_only: bool = False) -> requests.Session:
    """Return a session of connections that report to the exchange in which they are used.

    It takes nothing from the environment (a `.netrc` would replace our keys), keeps no cookies and repeats nothing.
    """
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = f"tenxsom-flow-engine/{__version__}"
    # Nothing is gained by compressing small answers and finished videos, and what a file unpacks to has no bound.
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("http://", "https://"):
        adapter = HTTPAdapter()
        adapter.poolmanager.pool_classes_by_scheme = _PUBLIC if public_only else _ANYWHERE
        session.mount(scheme, adapter)
    return session


def in_words(error: BaseException, exchange: Exchange) -> str:
    """Say what broke an exchange. No address is told: it may carry a signature."""
    if exchange.over or isinstance(error, requests.Timeout):
        return f"no whole answer within {exchange.seconds:g} s" if exchange.sent else "no connection in time"
    inner = _innermost(error)
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return type(inner).__name__ if exchange.sent else f"no connection ({type(inner).__name__})"


def _innermost(error: BaseException) -> BaseException:
    """Return the fault that the libraries have wrapped."""
    for inner in (getattr(error, "reason", None), error.__cause__, *reversed(error.args), error.__context__):
        if isinstance(inner, BaseException):
            return _innermost(inner)
    return error
