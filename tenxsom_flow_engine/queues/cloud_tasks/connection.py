"""The connection to Cloud Tasks: opened at the first call, after a fork, and after repeated timeouts.

A firewall that forgets an idle connection drops its packets without closing it. Every call then ends with its timeout
until the kernel gives up, a quarter of an hour later. So gRPC checks the connection during calls, and a connection is
replaced when its calls time out one after another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import grpc
from google.api_core.exceptions import DeadlineExceeded
from google.auth.credentials import Credentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.queues.cloud_tasks.access import credentials_and_project
from tenxsom_flow_engine.queues.cloud_tasks.loopback import is_loopback
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.timings import Timings

_log = logging.getLogger(__name__)

#: Consecutive calls with a timeout after which the connection is replaced.
MAX_TIMEOUTS = 2


@dataclass(frozen=True, slots=True)
class Clients:
    """Google's clients on one connection, and the project of the queue."""

    channel: grpc.Channel
    project: str
    v2: tasks_v2.CloudTasksClient


@dataclass(eq=False, slots=True)
class _Opened:
    """The connection of one process."""

    pid: int
    clients: Clients
    #: Number of running calls.
    calls: int = 0
    #: Number of timeouts since the last other result of a call.
    timeouts: int = 0


class Connection:
    """The connection of a process. Thread-safe; `open_clients` is called at the first use."""

    def __init__(self, open_clients: Callable[[], Clients]) -> None:
        self._open_clients = open_clients
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def clients(self) -> Clients:
        """Return the clients, for anything but calls."""
        with self._lock:
            return self._current().clients

    @contextlib.contextmanager
    def call(self) -> Iterator[Clients]:
        """Yield the clients for one call in the block, which must let the call's `DeadlineExceeded` through."""
        with self._lock:
            opened = self._current()
            opened.calls += 1
        timed_out = False
        try:
            yield opened.clients
        except DeadlineExceeded:
            timed_out = True
            raise
        finally:
            with self._lock:
                self._end(opened, timed_out)

    def close(self) -> None:
        """Close the connection. Can be called again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.clients.channel.close()

    def _current(self) -> _Opened:
        if self._opened is None or self._opened.pid != os.getpid():
            self._opened = _Opened(os.getpid(), self._open_clients())
        return self._opened

    def _end(self, opened: _Opened, timed_out: bool) -> None:
        opened.calls -= 1
        opened.timeouts = opened.timeouts + 1 if timed_out else 0
        if opened is self._opened and opened.timeouts >= MAX_TIMEOUTS:
            _log.warning("Google Cloud Tasks did not answer %d calls; the next one uses a new connection", MAX_TIMEOUTS)
            self._opened = None
        if opened is not self._opened and not opened.calls:
            opened.clients.channel.close()


def opener(settings: CloudTasksSettings, timings: Timings) -> Callable[[], Clients]:
    """Return a function that opens a connection to the emulator or to Google.

    It loads the credentials once, since that can need a network that fails. Raises `ConfigurationError`, or
    `QueueUnavailable` if the credentials cannot be loaded now.
    """
    credentials = cache(partial(credentials_and_project, settings))
    return lambda: _open(settings, timings, credentials)


def _open(settings: CloudTasksSettings, timings: Timings, load: Callable[[], tuple[Credentials, str]]) -> Clients:
    options = [
        # Only during calls: a server may refuse pings between them (https://grpc.io/docs/guides/keepalive).
        ("grpc.keepalive_time_ms", round(timings.task_ping * 1000)),
        # The first is for the kernel (TCP_USER_TIMEOUT); alone, gRPC 1.85 would wait 60 s for the answer to a ping.
        ("grpc.keepalive_timeout_ms", round(timings.task_ping_timeout * 1000)),
        ("grpc.http2.ping_timeout_ms", round(timings.task_ping_timeout * 1000)),
        # Else gRPC would give a new channel the socket of the old one.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    credentials, project = (None, settings.project) if settings.emulator_host else load()
    project = required(project, "GOOGLE_CLOUD_PROJECT")
    if credentials is None:
        if is_loopback(settings.emulator_host):
            options.append(("grpc.enable_http_proxy", 0))
        # The library does not support an emulator: it would use TLS for any address.
        channel = grpc.insecure_channel(settings.emulator_host, options=options)
    else:
        channel = CloudTasksGrpcTransport.create_channel(credentials=credentials, options=options)
    return Clients(channel, project, tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel)))


def required(value: str, variable: str) -> str:
    """Return a setting. Raises `ConfigurationError` if it is empty."""
    if not value:
        raise ConfigurationError(f"the Cloud Tasks queue needs {variable}", next_step=f"set {variable}")
    return value
