"""The gRPC handlers of the API: call names, message classes, and the mapping of refusals to gRPC errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from google.cloud import tasks_v2, tasks_v2beta3
from google.iam.v1 import iam_policy_pb2
from google.longrunning import operations_pb2

from tenxsom_flow_engine.emulator.batches import BatchCalls
from tenxsom_flow_engine.emulator.cloud import Cloud
from tenxsom_flow_engine.emulator.faults import Faults
from tenxsom_flow_engine.emulator.protobuf import Refused
from tenxsom_flow_engine.emulator.queue import Queue, StoredTask
from tenxsom_flow_engine.emulator.queue_calls import QueueCalls
from tenxsom_flow_engine.emulator.task_calls import TaskCalls

V2, BETA = "google.cloud.tasks.v2.CloudTasks", "google.cloud.tasks.v2beta3.CloudTasks"
OPERATIONS = "google.longrunning.Operations"

_Call = Callable[[Any], Any]
#: A call and the class of its request.
_Method = tuple[_Call, Any]


def handlers(cloud: Cloud, faults: Faults, run: Callable[[Queue, StoredTask], None]) -> list[Any]:
    """Return the handlers of all gRPC services. `run` delivers a task at once."""
    queues, tasks = QueueCalls(cloud), TaskCalls(cloud, run)
    batches = BatchCalls(cloud, tasks)
    v2: dict[str, _Method] = {
        "ListQueues": (queues.list_queues, tasks_v2.ListQueuesRequest.pb()),
        "GetQueue": (queues.get_queue, tasks_v2.GetQueueRequest.pb()),
        "CreateQueue": (queues.create_queue, tasks_v2.CreateQueueRequest.pb()),
        "UpdateQueue": (queues.update_queue, tasks_v2.UpdateQueueRequest.pb()),
        "DeleteQueue": (queues.delete_queue, tasks_v2.DeleteQueueRequest.pb()),
        "PurgeQueue": (queues.purge_queue, tasks_v2.PurgeQueueRequest.pb()),
        "PauseQueue": (queues.pause_queue, tasks_v2.PauseQueueRequest.pb()),
        "ResumeQueue": (queues.resume_queue, tasks_v2.ResumeQueueRequest.pb()),
        "GetIamPolicy": (queues.get_iam_policy, iam_policy_pb2.GetIamPolicyRequest),
        "SetIamPolicy": (queues.set_iam_policy, iam_policy_pb2.SetIamPolicyRequest),
        "TestIamPermissions": (queues.test_iam_permissions, iam_policy_pb2.TestIamPermissionsRequest),
        "ListTasks": (tasks.list_tasks, tasks_v2.ListTasksRequest.pb()),
        "GetTask": (tasks.get_task, tasks_v2.GetTaskRequest.pb()),
        "CreateTask": (tasks.create_task, tasks_v2.CreateTaskRequest.pb()),
        "BatchCreateTasks": (batches.batch_create_tasks, tasks_v2.BatchCreateTasksRequest.pb()),
        "BatchDeleteTasks": (batches.batch_delete_tasks, tasks_v2.BatchDeleteTasksRequest.pb()),
        "DeleteTask": (tasks.delete_task, tasks_v2.DeleteTaskRequest.pb()),
        "RunTask": (tasks.run_task, tasks_v2.RunTaskRequest.pb()),
    }
    beta: dict[str, _Method] = {"GetQueue": (queues.get_beta_queue, tasks_v2beta3.GetQueueRequest.pb())}
    operations: dict[str, _Method] = {"GetOperation": (batches.get_operation, operations_pb2.GetOperationRequest)}
    services = {V2: v2, BETA: beta, OPERATIONS: operations}
    return [_service(name, methods, cloud, faults) for name, methods in services.items()]


def _service(name: str, methods: dict[str, _Method], cloud: Cloud, faults: Faults) -> Any:
    return grpc.method_handlers_generic_handler(
        name,
        {
            method: grpc.unary_unary_rpc_method_handler(
                _served(method, call, cloud, faults),
                request_deserializer=request.FromString,
                response_serializer=_serialize,
            )
            for method, (call, request) in methods.items()
        },
    )


def _served(method: str, call: _Call, cloud: Cloud, faults: Faults) -> Callable[[Any, Any], bytes]:
    def serve(request: Any, context: Any) -> bytes:
        try:
            with cloud.changed:
                fault = faults.next_call(method)
                if fault is not None and not fault.done:
                    _abort(context, fault.code, f"Injected fault: {method} failed and had no effect.")
                # Serialized under the lock, so that the answer is consistent.
                answer: bytes = call(request).SerializeToString()
                cloud.notify()
        except Refused as refused:
            _abort(context, refused.code, refused.message)
        if fault is not None:
            _abort(context, fault.code, f"Injected fault: {method} took effect, but its answer is lost.")
        return answer

    return serve


def _abort(context: Any, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError("abort raises")


def _serialize(answer: bytes) -> bytes:
    return answer
