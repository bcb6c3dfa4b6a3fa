"""The connection to Cloud Tasks when the network between them fails in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.errors import QueueUnavailable
from tenxsom_flow_engine.queues.cloud_tasks.api import Api, NewTask
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.timings import Timings
from tests.silent_proxy import SilentProxy

#: Longer than any test takes, in seconds.
LONG = 600.0


@pytest.fixture
def server() -> Iterator[CloudTasksServer]:
    with CloudTasksServer() as server:
        yield server


@pytest.fixture
def proxy(server: CloudTasksServer) -> Iterator[SilentProxy]:
    with closing(SilentProxy(server.target)) as proxy:
        yield proxy


def api(proxy: SilentProxy, timings: Timings) -> Api:
    """Return the API behind the proxy, with a paused queue and an open connection."""
    settings = CloudTasksSettings(project="p-1", worker_url="http://127.0.0.1:9", emulator_host=proxy.target)
    api = Api(settings, timings)
    api.create_queue(DispatchLimits(10.0, 5))
    api.pause()
    return api


def test_a_silent_connection_is_replaced_within_one_create(proxy: SilentProxy) -> None:
    """After two timeouts a task is created on a new connection, while the retries of the same create last."""
    with closing(api(proxy, Timings(task_call=0.5, task_ping=LONG))) as cloud:
        proxy.silence()
        assert list(cloud.create_tasks([NewTask("t-1", b"{}")])) == ["t-1"]
        assert list(cloud.existing_tasks(["t-1"])) == ["t-1"]
        assert proxy.connections > 1


def test_calls_without_retries_replace_it_too(proxy: SilentProxy) -> None:
    """Of calls that are not retried, two fail; then the next one has a new connection."""
    with closing(api(proxy, Timings(task_call=0.5, task_ping=LONG))) as cloud:
        proxy.silence()
        for _ in range(2):
            with pytest.raises(QueueUnavailable, match="Deadline Exceeded"):
                cloud.facts()
        while proxy.connections == 1:
            with suppress(QueueUnavailable):  # a busy machine
                assert cloud.facts().paused


def test_a_silent_connection_is_found_during_a_call(proxy: SilentProxy) -> None:
    """A call without an answer has its connection checked, so it ends before its timeout."""
    with closing(api(proxy, Timings(task_call=LONG, task_ping=1.0, task_ping_timeout=0.5))) as cloud:
        proxy.silence()
        with pytest.raises(QueueUnavailable, match="ping timeout"):
            cloud.facts()
        while proxy.connections == 1:  # gRPC may still be closing the old connection
            with suppress(QueueUnavailable):
                assert cloud.facts().paused
