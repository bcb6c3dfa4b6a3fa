"""The API calls that create or delete many tasks: long-running operations, which the emulator completes at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from google.cloud import tasks_v2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import status_pb2
from grpc import StatusCode

from tenxsom_flow_engine.emulator.cloud import Cloud
from tenxsom_flow_engine.emulator.protobuf import Refused, check_queue, invalid, parent, write
from tenxsom_flow_engine.emulator.task_calls import TaskCalls

#: Documented limits.
MAX_CREATES, MAX_DELETES = 100, 1000

_CreateMetadata: Any = tasks_v2.BatchCreateTasksMetadata.pb()
_CreateResponse: Any = tasks_v2.BatchCreateTasksResponse.pb()
_DeleteMetadata: Any = tasks_v2.BatchDeleteTasksMetadata.pb()
_DeleteRequest: Any = tasks_v2.DeleteTaskRequest.pb()


class BatchCalls:
    """Each method is the API call of the same name. A batch is not atomic; its metadata list failures by index."""

    def __init__(self, cloud: Cloud, tasks: TaskCalls) -> None:
        self._cloud = cloud
        self._tasks = tasks
        self._operations: dict[str, Any] = {}

    def batch_create_tasks(self, request: Any) -> Any:
        if len(request.requests) > MAX_CREATES:
            raise invalid(f"A batch must create at most {MAX_CREATES} tasks.")
        if any(one.parent not in ("", request.parent) for one in request.requests):
            raise invalid("All tasks of a batch must be in the queue that is its parent.")

        def create(one: Any) -> Any:
            one.parent = request.parent
            return self._tasks.create_task(one)

        def answer(tasks: Sequence[Any]) -> Any:
            return _CreateResponse(tasks=tasks)

        return self._operation(request, request.requests, create, answer, _CreateMetadata())

    def batch_delete_tasks(self, request: Any) -> Any:
        if len(request.names) > MAX_DELETES:
            raise invalid(f"A batch must delete at most {MAX_DELETES} tasks.")
        if any(parent(name) != request.parent for name in request.names):
            raise invalid("All tasks of a batch must be in the queue that is its parent.")

        def delete(name: str) -> Any:
            return self._tasks.delete_task(_DeleteRequest(name=name))

        return self._operation(request, request.names, delete, lambda done: empty_pb2.Empty(), _DeleteMetadata())

    def get_operation(self, request: Any) -> Any:
        if (operation := self._operations.get(request.name)) is None:
            raise Refused(StatusCode.NOT_FOUND, f'The operation "{request.name}" does not exist.')
        return operation

    def _operation(
        self,
        request: Any,
        items: Sequence[Any],
        act: Callable[[Any], Any],
        answer: Callable[[Sequence[Any]], Any],
        metadata: Any,
    ) -> Any:
        check_queue(request.parent)
        self._cloud.queue(request.parent)
        name = f"{parent(request.parent)}/operations/{request.request_id or uuid.uuid4()}"
        if (known := self._operations.get(name)) is not None:
            return known  # the request was repeated
        done, failed = [], metadata.failed_requests
        for index, item in enumerate(items):
            try:
                done.append(act(item))
            except Refused as refused:
                failed[index].CopyFrom(status_pb2.Status(code=refused.code.value[0], message=refused.message))
        metadata.state = metadata.State.Value("PARTIALLY_SUCCEEDED" if failed else "SUCCEEDED")
        for moment in (metadata.start_time, metadata.end_time):
            write(moment, self._cloud.clock.now())
        operation = operations_pb2.Operation(name=name, done=True)
        if failed and not done:
            operation.error.code = StatusCode.ABORTED.value[0]
            operation.error.message = "None of the requests succeeded; the metadata's failed_requests say why."
        else:
            operation.response.Pack(answer(done))
        operation.metadata.Pack(metadata)
        self._operations[name] = operation
        return operation
