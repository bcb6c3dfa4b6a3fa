"""The connection to Cloud Tasks: opened at the first call, after a fork, and after repeated timeouts.

A firewall that forgets an idle connection drops its packets without closing it. Every call then ends with its timeout
until the kernel gives up, a quarter of an hour later. So gRPC checks the connection during calls, and a connection is
replaced when its calls time out one after another.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.queues.cloud_tasks.access import SCOPE, credentials_and_project
from tenxsom_flow_engine.queues.cloud_tasks.calls import Calls, Method
from tenxsom_flow_engine.queues.cloud_tasks.loopback import is_loopback
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.timings import Timings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

_Key = TypeVar("_Key")
_log = logging.getLogger(__name__)

#: Address of the API.
HOST = "cloudtasks.googleapis.com"
#: Consecutive calls with a timeout after which the connection is replaced.
MAX_TIMEOUTS = 2


@dataclass(eq=False, slots=True)
class _Opened:
    """The connection of one process."""

    pid: int
    calls: Calls
    #: Number of running calls.
    running: int = 0
    #: Number of timeouts since the last other result of a call.
    timeouts: int = 0


class Connection:
    """The connection of a process. Thread-safe; `open_calls` is called at the first use.

    `timeout`: the seconds that each call may take.
    """

    def __init__(self, open_calls: Callable[[], Calls], timeout: float) -> None:
        self._open_calls = open_calls
        self._timeout = timeout
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def project(self) -> str:
        """Return the project of the queue."""
        with self._lock:
            return self._current().calls.project

    def call(self, method: Method, request: Any) -> Any:
        """Make a call and return its answer. Raises `grpc.RpcError`."""
        opened = self._begin()
        timed_out = False
        try:
            return opened.calls.call(method, request, self._timeout)
        except grpc.RpcError as error:
            timed_out = _timed_out(error)
            raise
        finally:
            self._end(opened, timed_out)

    def call_each(
        self, method: Method, keys: Iterable[_Key], request_of: Callable[[_Key], Any], at_once: int
    ) -> Generator[tuple[_Key, grpc.RpcError | None], None, None]:
        """Make a call for each key, `at_once` at a time; yield each key with its error, in the order of the answers.

        This thread serves all calls: a thread for each would take more processor time than the calls. A key is taken
        when its call starts. Calls that run when the caller stops are cancelled.
        """
        if at_once == 1:
            for key in keys:
                error = None
                try:
                    self.call(method, request_of(key))
                except grpc.RpcError as failure:
                    error = failure
                yield key, error
            return
        waiting, ended = iter(keys), SimpleQueue[grpc.Future]()
        running: dict[grpc.Future, tuple[_Key, _Opened]] = {}
        try:
            while True:
                for key in islice(waiting, at_once - len(running)):
                    request, opened = request_of(key), self._begin()
                    try:
                        future = opened.calls.start(method, request, self._timeout)
                    except BaseException:
                        self._end(opened, timed_out=False)
                        raise
                    running[future] = key, opened
                    future.add_done_callback(ended.put)
                if not running:
                    return
                future = ended.get()
                key, opened = running.pop(future)
                error = future.exception()
                self._end(opened, timed_out=error is not None and _timed_out(error))
                yield key, error
        finally:
            for future, (_, opened) in running.items():
                future.cancel()
                self._end(opened, timed_out=False)

    def close(self) -> None:
        """Close the connection. Can be called again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.calls.channel.close()

    def _current(self) -> _Opened:
        if self._opened is None or self._opened.pid != os.getpid():
            self._opened = _Opened(os.getpid(), self._open_calls())
        return self._opened

    def _begin(self) -> _Opened:
        with self._lock:
            opened = self._current()
            opened.running += 1
        return opened

    def _end(self, opened: _Opened, timed_out: bool) -> None:
        with self._lock:
            opened.running -= 1
            opened.timeouts = opened.timeouts + 1 if timed_out else 0
            if opened is self._opened and opened.timeouts >= MAX_TIMEOUTS:
                _log.warning(
                    "Google Cloud Tasks did not answer %d calls; the next one uses a new connection", MAX_TIMEOUTS
                )
                self._opened = None
            if opened is not self._opened and not opened.running:
                opened.calls.channel.close()


def _timed_out(error: grpc.RpcError) -> bool:
    return bool(error.code() is grpc.StatusCode.DEADLINE_EXCEEDED)


def opener(settings: CloudTasksSettings, timings: Timings) -> Callable[[], Calls]:
    """Return a function that opens a connection to the emulator or to Google.

    It loads the credentials once, since that can need a network that fails. Raises `ConfigurationError`, or
    `QueueUnavailable` if the credentials cannot be loaded now.
    """
    credentials = cache(partial(credentials_and_project, settings))
    return lambda: _open(settings, timings, credentials)


def _open(settings: CloudTasksSettings, timings: Timings, load: Callable[[], tuple[Credentials, str]]) -> Calls:
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
        channel = grpc.insecure_channel(settings.emulator_host, options=options)
    else:
        # As Google's client opens it. Loaded here because it is slow to import, and an emulator does not need it.
        from google.api_core.grpc_helpers import create_channel

        channel = create_channel(HOST, credentials, default_scopes=[SCOPE], default_host=HOST, options=options)
    return Calls(channel, project)


def required(value: str, variable: str) -> str:
    """Return a setting. Raises `ConfigurationError` if it is empty."""
    if not value:
        raise ConfigurationError(f"the Cloud Tasks queue needs {variable}", next_step=f"set {variable}")
    return value
