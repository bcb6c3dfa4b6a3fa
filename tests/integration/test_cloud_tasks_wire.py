"""Our calls of the Cloud Tasks API arrive at a server like those of Google's client library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.auth import exceptions as auth
from google.auth.transport.grpc import AuthMetadataPlugin
from google.cloud import tasks_v2, tasks_v2beta3
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.cloud.tasks_v2beta3.services.cloud_tasks.transports import CloudTasksGrpcTransport as BetaGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask

from tenxsom_flow_engine.errors import QueueUnavailable
from tenxsom_flow_engine.queues.cloud_tasks.api import Api, NewTask
from tenxsom_flow_engine.queues.cloud_tasks.calls import Calls
from tenxsom_flow_engine.queues.cloud_tasks.connection import Connection
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.store.values import DispatchLimits

PARENT = "projects/domain.test:p-1/locations/europe-west1"
QUEUE = f"{PARENT}/queues/videos"
TIMEOUT = 300.0


class Recorder(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers all calls with an empty message, and records them."""

    def __init__(self) -> None:
        #: The path, the request, and the header that routes each call.
        self.calls: list[tuple[str, bytes, str]] = []
        self.timeouts: list[float] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            headers = dict(context.invocation_metadata())
            self.calls.append((details.method, request, headers["x-goog-request-params"]))
            self.timeouts.append(context.time_remaining())
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


class Wire:
    """A recording server, and the settings of a queue on it."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.server = grpc.server(ThreadPoolExecutor(2), handlers=[self.recorder])
        port = self.server.add_insecure_port("127.0.0.1:0")
        #: A port for channels with credentials.
        self.secure_port = self.server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
        self.server.start()
        self.settings = CloudTasksSettings(
            project="domain.test:p-1", location="europe-west1", queue="videos", worker_url="https://worker.test",
            service_account="caller@p-1.test", audience="https://worker.test", emulator_host=f"127.0.0.1:{port}",
        )  # fmt: skip

    def recorded(self, act: Callable[[], object]) -> list[tuple[str, bytes, str]]:
        """Return the calls that a function makes."""
        self.recorder.calls.clear()
        act()
        return list(self.recorder.calls)

    def close(self) -> None:
        self.server.stop(None).wait()


@pytest.fixture
def wire() -> Iterator[Wire]:
    with closing(Wire()) as wire:
        yield wire


def test_each_call_is_like_that_of_googles_client(wire: Wire) -> None:
    """Each call has the path, the message and the routing header of Google's client, and a timeout."""
    at = 1_700_000_000.123457
    limits = DispatchLimits(2.5, 7)
    task = tasks_v2.Task(
        name=f"{QUEUE}/tasks/t-1",
        http_request=tasks_v2.HttpRequest(
            url="https://worker.test/process", http_method=tasks_v2.HttpMethod.POST, body=b"{}",
            headers={"Content-Type": "application/json"},
            oidc_token=tasks_v2.OidcToken(service_account_email="caller@p-1.test", audience="https://worker.test"),
        ),
        schedule_time=datetime.fromtimestamp(at, UTC), dispatch_deadline=timedelta(minutes=10),
    )  # fmt: skip
    queue = tasks_v2.Queue(
        name=QUEUE,
        rate_limits=tasks_v2.RateLimits(max_dispatches_per_second=2.5, max_concurrent_dispatches=7),
        retry_config=tasks_v2.RetryConfig(
            max_attempts=-1, min_backoff=timedelta(seconds=1), max_backoff=timedelta(minutes=1), max_doublings=6
        ),
    )
    paths = ["rate_limits.max_dispatches_per_second", "rate_limits.max_concurrent_dispatches"]
    paths += [f"retry_config.{name}" for name in ("max_attempts", "min_backoff", "max_backoff", "max_doublings")]
    with (
        closing(Api(wire.settings)) as api,
        grpc.insecure_channel(wire.settings.emulator_host) as channel,
    ):
        v2 = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        beta = tasks_v2beta3.CloudTasksClient(transport=BetaGrpcTransport(channel=channel))
        stats: dict[str, Any] = {"name": QUEUE, "read_mask": FieldMask(paths=["stats"])}

        def update() -> None:
            v2.get_queue(name=QUEUE)
            v2.update_queue(queue=queue, update_mask=FieldMask(paths=paths))

        pairs: list[tuple[Callable[[], object], Callable[[], object]]] = [
            (
                lambda: list(api.create_tasks([NewTask("t-1", b"{}", at)])),
                lambda: v2.create_task(parent=QUEUE, task=task),
            ),
            (lambda: api.existing_tasks(["t-1"]), lambda: v2.get_task(name=f"{QUEUE}/tasks/t-1")),
            (api.facts, lambda: v2.get_queue(name=QUEUE)),
            (api.task_count, lambda: beta.get_queue(request=stats)),
            (lambda: api.create_queue(limits), lambda: v2.create_queue(parent=PARENT, queue=queue)),
            (lambda: api.update_queue(limits), update),
            (api.pause, lambda: v2.pause_queue(name=QUEUE)),
            (api.resume, lambda: v2.resume_queue(name=QUEUE)),
            (api.purge, lambda: v2.purge_queue(name=QUEUE)),
        ]
        for ours, googles in pairs:
            wire.recorder.timeouts.clear()
            calls = wire.recorded(ours)
            assert max(wire.recorder.timeouts) < 6.0  # 5 s, rounded by gRPC
            assert calls == wire.recorded(googles)


def test_calls_of_a_batch_are_like_single_calls(wire: Wire) -> None:
    """The calls of a batch have the same content as single calls, and a timeout."""
    tasks = [NewTask(f"t-{n}", b"{}", 1.7e9) for n in range(100)]
    with closing(Api(wire.settings)) as api:
        singly = wire.recorded(lambda: [list(api.create_tasks([task])) for task in tasks])
        wire.recorder.timeouts.clear()
        assert sorted(wire.recorded(lambda: list(api.create_tasks(tasks)))) == sorted(singly)
        assert max(wire.recorder.timeouts) < 6.0  # 5 s, rounded by gRPC


def test_rejected_credentials(wire: Wire) -> None:
    """If the credentials fail during a call, the error names the reason and the variable to check."""

    class Revoked:
        def before_request(self, *_: object) -> None:
            raise auth.RefreshError("invalid_grant: the account was deleted")  # type: ignore[no-untyped-call]

    def open_calls() -> Calls:
        plugin = AuthMetadataPlugin(Revoked(), None)  # type: ignore[no-untyped-call]
        credentials = grpc.composite_channel_credentials(
            grpc.local_channel_credentials(), grpc.metadata_call_credentials(plugin)
        )
        return Calls(grpc.secure_channel(f"127.0.0.1:{wire.secure_port}", credentials), "p-1")

    settings = replace(wire.settings, emulator_host="")
    with closing(Api(settings, connection=Connection(open_calls, TIMEOUT))) as api:
        with pytest.raises(QueueUnavailable, match="the account was deleted") as refusal:
            api.facts()
        assert "GOOGLE_APPLICATION_CREDENTIALS" in refusal.value.next_step
