"""The complete server: gRPC for the API, HTTP for certificates, and the dispatcher."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.cloud import tasks_v2, tasks_v2beta3
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.cloud.tasks_v2beta3.services.cloud_tasks.transports import CloudTasksGrpcTransport as BetaGrpcTransport

from tenxsom_flow_engine.clock import Clock, SystemClock, WatchableClock
from tenxsom_flow_engine.emulator.attempts import HttpAttempt
from tenxsom_flow_engine.emulator.certificates import CertificateServer
from tenxsom_flow_engine.emulator.cloud import TOMBSTONE_TTL, Cloud
from tenxsom_flow_engine.emulator.dispatcher import Dispatcher
from tenxsom_flow_engine.emulator.faults import Faults
from tenxsom_flow_engine.emulator.service import handlers
from tenxsom_flow_engine.emulator.tokens import TokenIssuer
from tenxsom_flow_engine.errors import ConfigurationError

_T = TypeVar("_T")

#: Calls served concurrently.
_THREADS = 16
_OPTIONS = (
    # A port in use is an error; it is not shared.
    ("grpc.so_reuseport", 0),
    # A batch holds up to 100 tasks of 1 MiB.
    ("grpc.max_receive_message_length", 128 << 20),
    ("grpc.max_send_message_length", 1 << 30),
)
#: Maximum length of `deliveries`.
_REMEMBERED = 100_000


class CloudTasksServer:
    """A Cloud Tasks API server on the loopback interface, started and stopped as a context manager.

    It stores everything in memory and checks no permissions; it only refuses projects and service accounts that are
    not in `projects` and `service_accounts` (None: any). With a `WatchableClock` (`testing.clock.ManualClock`) it uses
    that clock for schedules, backoff, rates, deadlines and tombstones; tokens always use the machine's clock.
    `on_delivery` is called with each delivery that ends.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        port: int = 0,
        certificates_port: int = 0,
        projects: Collection[str] | None = None,
        service_accounts: Collection[str] | None = None,
        tombstone_ttl: float = TOMBSTONE_TTL,
        on_delivery: Callable[[HttpAttempt], None] | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._port = port
        self._certificates_port = certificates_port
        self._on_delivery = on_delivery
        self._open = contextlib.ExitStack()
        self._cloud = Cloud(
            self._clock, tombstone_ttl=tombstone_ttl, projects=projects, service_accounts=service_accounts
        )
        #: Injected faults.
        self.faults = Faults()
        #: Issues the tokens of deliveries, and forged tokens for tests.
        self.tokens = TokenIssuer()
        #: Serves the certificates of the tokens.
        self.certificates: CertificateServer
        #: Deliveries that have ended, latest last.
        self.deliveries: deque[HttpAttempt] = deque(maxlen=_REMEMBERED)
        #: The address of the API as `host:port`, for CLOUD_TASKS_EMULATOR_HOST.
        self.target = ""
        self._dispatcher = Dispatcher(
            self._cloud,
            self.tokens,
            self.faults,
            self._delivered,
            real_time=not isinstance(self._clock, WatchableClock),
        )

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            threads = opening.enter_context(ThreadPoolExecutor(_THREADS, thread_name_prefix="api"))
            server = grpc.server(threads, options=_OPTIONS)
            server.add_generic_rpc_handlers(handlers(self._cloud, self.faults, self._dispatcher.run))
            self.target = f"127.0.0.1:{_on_port(self._port, lambda port: _listen(server, port))}"
            self.certificates = _on_port(self._certificates_port, self._serve_certificates)
            opening.callback(self.certificates.close)
            server.start()
            opening.callback(lambda: server.stop(grace=None).wait())
            if isinstance(self._clock, WatchableClock):
                self._clock.watch(self._wake)
            self._dispatcher.start()
            opening.callback(self._dispatcher.close)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def certs_url(self) -> str:
        """The URL of the tokens' certificates."""
        return self.certificates.url

    def client(self) -> tasks_v2.CloudTasksClient:
        """Return Google's client, connected to this server."""
        return tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=self._channel()))

    def beta_client(self) -> tasks_v2beta3.CloudTasksClient:
        """Return Google's v2beta3 client, connected to this server."""
        return tasks_v2beta3.CloudTasksClient(transport=BetaGrpcTransport(channel=self._channel()))

    def next_at(self) -> float | None:
        """Return when the next task is due for delivery or the next deadline passes; None for never."""
        with self._cloud.changed:
            return self._dispatcher.next_at()

    def wait_idle(self, timeout: float = 30.0) -> None:
        """Wait until no attempt is under way and none can start before the clock advances."""

        def idle() -> bool:
            at = self._dispatcher.next_at()
            return not self._dispatcher.busy and (at is None or at > self._clock.now())

        self.wait_until(idle, "idle", timeout)

    def wait_empty(self, timeout: float = 30.0) -> None:
        """Wait until no queue holds a task."""
        self.wait_until(lambda: not any(queue.tasks for queue in self._cloud.queues.values()), "empty", timeout)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Wait until a condition holds, checked after each event. Raises TimeoutError after `timeout` real seconds.

        The condition must not call the API: the server is locked while the condition is checked.
        """
        ends = time.monotonic() + timeout
        with self._cloud.changed:
            while not condition():
                if not self._cloud.changed.wait(max(0.0, ends - time.monotonic())) and time.monotonic() >= ends:
                    raise TimeoutError(f"the server is not {what} after {timeout:g} s: {list(self.deliveries)[-3:]}")

    def _serve_certificates(self, port: int) -> CertificateServer:
        return CertificateServer(self.tokens, port=port)

    def _channel(self) -> grpc.Channel:
        channel = grpc.insecure_channel(self.target)
        self._open.callback(channel.close)
        return channel

    def _delivered(self, delivery: HttpAttempt) -> None:
        self.deliveries.append(delivery)
        if self._on_delivery is not None:
            self._on_delivery(delivery)

    def _wake(self) -> None:
        with self._cloud.changed:
            self._cloud.changed.notify_all()
            self._cloud.due.notify()


def _listen(server: grpc.Server, port: int) -> int:
    """Make the server listen on a port (0: any free port); return the port."""
    # Bind the port briefly first, because gRPC's error does not give the cause.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    bound: int = server.add_insecure_port(f"127.0.0.1:{port}")
    return bound


def _on_port(port: int, listen: Callable[[int], _T]) -> _T:
    try:
        return listen(port)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"cannot listen on port {port} of 127.0.0.1: {error}",
            next_step="stop the program that uses it, or choose another",
        ) from error
