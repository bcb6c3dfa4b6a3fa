"""The calls of the Cloud Tasks API on a gRPC channel, with plain protobuf messages.

They send what Google's client sends (google-cloud-tasks 2.26): the message, the header that routes the call to the
queue's region, and the timeout. `tests/integration/test_cloud_tasks_wire.py` compares the two.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter, methodcaller
from typing import Any
from urllib.parse import urlencode

import grpc

from tenxsom_flow_engine.queues.cloud_tasks.messages import BetaQueue, Queue

#: The header that routes a call, with a field of the request (https://google.aip.dev/client-libraries/4222).
ROUTING = "x-goog-request-params"


class Method:
    """A method of the API, the field of its request that routes it, and the class of its answer (None: not read)."""

    def __init__(self, name: str, routed_by: str, answer: Any = None, version: str = "v2") -> None:
        self.path = f"/google.cloud.tasks.{version}.CloudTasks/{name}"
        self.answer = answer
        self._routed_by = routed_by
        self._value = attrgetter(routed_by)

    def metadata(self, request: Any) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call."""
        return _routing(self._routed_by, self._value(request))


@lru_cache(maxsize=16)
def _routing(field: str, value: str) -> tuple[tuple[str, str], ...]:
    return ((ROUTING, urlencode({field: value}, safe="/")),)


CREATE_TASK = Method("CreateTask", "parent")
GET_TASK = Method("GetTask", "name")
GET_QUEUE = Method("GetQueue", "name", Queue)
#: With the mask `stats`, the queue's statistics, which only this version has.
GET_BETA_QUEUE = Method("GetQueue", "name", BetaQueue, "v2beta3")
CREATE_QUEUE = Method("CreateQueue", "parent")
UPDATE_QUEUE = Method("UpdateQueue", "queue.name")
PAUSE_QUEUE = Method("PauseQueue", "name")
RESUME_QUEUE = Method("ResumeQueue", "name")
PURGE_QUEUE = Method("PurgeQueue", "name")


class Calls:
    """The calls on one channel, and the project of the queue."""

    def __init__(self, channel: grpc.Channel, project: str) -> None:
        self.channel = channel
        self.project = project
        self._stubs: dict[Method, Any] = {}

    def call(self, method: Method, request: Any, timeout: float) -> Any:
        """Make a call and return its answer. Raises `grpc.RpcError`."""
        return self._stub(method)(request, timeout=timeout, metadata=method.metadata(request))

    def start(self, method: Method, request: Any, timeout: float) -> grpc.Future:
        """Start a call. For a single call, `call` takes half of the processor time."""
        return self._stub(method).future(request, timeout=timeout, metadata=method.metadata(request))

    def _stub(self, method: Method) -> Any:
        if (stub := self._stubs.get(method)) is None:
            stub = self._stubs[method] = self.channel.unary_unary(
                method.path,
                request_serializer=methodcaller("SerializeToString"),
                response_deserializer=method.answer and method.answer.FromString,
            )
        return stub
