"""The API calls for queues. Requests and answers are the protobuf messages of Google's client library."""

from __future__ import annotations

from typing import Any

from google.cloud import tasks_v2, tasks_v2beta3
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import empty_pb2, field_mask_pb2, json_format
from grpc import StatusCode

from tenxsom_flow_engine.emulator import rates, retries
from tenxsom_flow_engine.emulator.cloud import Cloud
from tenxsom_flow_engine.emulator.pages import page
from tenxsom_flow_engine.emulator.protobuf import Refused, check_location, check_queue, invalid, parent, write
from tenxsom_flow_engine.emulator.queue import TASK_TTL, Queue

MAX_PAGE = 9800

_State = tasks_v2.Queue.State
_QueueMessage: Any = tasks_v2.Queue.pb()
_ListQueuesResponse: Any = tasks_v2.ListQueuesResponse.pb()
_BetaQueue: Any = tasks_v2beta3.Queue.pb()


class QueueCalls:
    """Each method is the API call of the same name. Callers must hold the lock of `Cloud`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def create_queue(self, request: Any) -> Any:
        check_location(request.parent)
        check_queue(request.queue.name)
        if parent(request.queue.name) != request.parent:
            raise invalid("The queue's name must be in the location that is the parent.")
        self._cloud.check_project(request.parent)
        return self._cloud.add_queue(self._new(request.queue)).message

    def update_queue(self, request: Any) -> Any:
        """Change the fields in the mask, or all without a mask; a missing queue is created."""
        check_queue(request.queue.name)
        self._cloud.check_project(request.queue.name)
        queue = self._cloud.queues.get(request.queue.name)
        if queue is None:
            return self._cloud.add_queue(self._new(request.queue)).message
        mask = request.update_mask
        if not mask.paths:
            mask = field_mask_pb2.FieldMask()
            mask.AllFieldsFromDescriptor(_QueueMessage.DESCRIPTOR)
        elif not mask.IsValidForDescriptor(_QueueMessage.DESCRIPTOR):
            raise invalid(f"The update_mask names a field that a queue does not have: {', '.join(mask.paths)}.")
        changed = _QueueMessage()
        changed.CopyFrom(queue.message)
        mask.MergeMessage(request.queue, changed, True)  # replace messages instead of merging them
        # Output only: values from callers are ignored.
        changed.name, changed.state = queue.message.name, queue.message.state
        changed.purge_time.CopyFrom(queue.message.purge_time)
        if not queue.message.HasField("purge_time"):
            changed.ClearField("purge_time")
        _complete(changed)
        queue.message = changed
        queue.limits_changed(self._cloud.clock.now())
        return changed

    def get_queue(self, request: Any) -> Any:
        return self._found(request.name).message

    def get_beta_queue(self, request: Any) -> Any:
        """Return a queue in the form of v2beta3: with lifetimes, and with statistics if the mask names them."""
        queue = self._found(request.name)
        answer = _BetaQueue()
        json_format.ParseDict(json_format.MessageToDict(queue.message), answer, ignore_unknown_fields=True)
        answer.type_ = tasks_v2beta3.Queue.Type.PUSH
        answer.task_ttl.FromSeconds(int(TASK_TTL))
        answer.tombstone_ttl.FromSeconds(int(self._cloud.tombstone_ttl))
        mask = request.read_mask
        if not mask.paths:
            return answer
        if not mask.IsValidForDescriptor(_BetaQueue.DESCRIPTOR):
            raise invalid(f"The read_mask names a field that a queue does not have: {', '.join(mask.paths)}.")
        queue.write_stats(answer.stats, self._cloud.clock.now())
        masked = _BetaQueue()
        mask.MergeMessage(answer, masked)
        return masked

    def list_queues(self, request: Any) -> Any:
        check_location(request.parent)
        self._cloud.check_project(request.parent)
        if request.filter:
            raise Refused(StatusCode.UNIMPLEMENTED, "Filters are not served here; list all queues.")
        queues = {name: queue.message for name, queue in self._cloud.queues.items() if parent(name) == request.parent}
        found, token = page(queues, request.page_size, request.page_token, MAX_PAGE)
        return _ListQueuesResponse(queues=found, next_page_token=token)

    def delete_queue(self, request: Any) -> Any:
        check_queue(request.name)
        self._cloud.delete_queue(request.name)
        return empty_pb2.Empty()

    def purge_queue(self, request: Any) -> Any:
        """Remove all tasks at once; the service takes up to a minute."""
        queue = self._found(request.name)
        now = self._cloud.clock.now()
        queue.purge(now)
        write(queue.message.purge_time, now)
        return queue.message

    def pause_queue(self, request: Any) -> Any:
        return self._in_state(request.name, _State.PAUSED)

    def resume_queue(self, request: Any) -> Any:
        return self._in_state(request.name, _State.RUNNING)

    def get_iam_policy(self, request: Any) -> Any:
        return self._found(request.resource).policy or policy_pb2.Policy()

    def set_iam_policy(self, request: Any) -> Any:
        """Store a policy. It can be read again but has no other effect: this server checks no permissions."""
        queue = self._found(request.resource)
        queue.policy = policy_pb2.Policy()
        queue.policy.CopyFrom(request.policy)
        return queue.policy

    def test_iam_permissions(self, request: Any) -> Any:
        self._found(request.resource)
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)

    def _found(self, name: str) -> Queue:
        check_queue(name)
        return self._cloud.queue(name)

    def _in_state(self, name: str, state: int) -> Any:
        queue = self._found(name)
        queue.message.state = state
        return queue.message

    @staticmethod
    def _new(queue: Any) -> Any:
        message = _QueueMessage()
        message.CopyFrom(queue)
        message.state = _State.RUNNING
        message.ClearField("purge_time")
        _complete(message)
        return message


def _complete(queue: Any) -> None:
    """Refuse settings that the service refuses, and fill in its defaults."""
    if queue.HasField("http_target"):
        raise Refused(StatusCode.UNIMPLEMENTED, "Queue-level HTTP targets are not served here; set them on each task.")
    rates.complete(queue.rate_limits)
    retries.complete(queue.retry_config)
