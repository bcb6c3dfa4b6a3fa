"""Our messages of the Cloud Tasks API have the same encoding as those of the installed client library."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import tasks_v2, tasks_v2beta3
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor

from tenxsom_flow_engine.queues.cloud_tasks import messages
from tenxsom_flow_engine.queues.cloud_tasks.messages import CLASSES, DISABLED, PAUSED, POST

#: The library's messages, by the name of our message.
GOOGLES: dict[str, list[Any]] = {
    "Timestamp": [timestamp_pb2.Timestamp],
    "Duration": [duration_pb2.Duration],
    "FieldMask": [field_mask_pb2.FieldMask],
    "BetaQueue": [tasks_v2beta3.Queue.pb()],
    "BetaQueueRequest": [tasks_v2beta3.GetQueueRequest.pb()],
    "QueueStats": [tasks_v2beta3.QueueStats.pb()],
    "NameRequest": [
        tasks_v2.GetTaskRequest.pb(), tasks_v2.GetQueueRequest.pb(), tasks_v2.PauseQueueRequest.pb(),
        tasks_v2.ResumeQueueRequest.pb(), tasks_v2.PurgeQueueRequest.pb(),
    ],
}  # fmt: skip


def googles(name: str) -> list[Any]:
    """Return the library's message classes, as descriptors, for one of our messages."""
    if name == "Header":
        return [tasks_v2.HttpRequest.pb().DESCRIPTOR.fields_by_name["headers"].message_type]
    return [kind.DESCRIPTOR for kind in GOOGLES.get(name) or [getattr(tasks_v2, name).pb()]]


@pytest.mark.parametrize("name", CLASSES)
def test_fields(name: str) -> None:
    """Each field has the library's number and encoding, and leads to the same message."""
    for theirs in googles(name):
        for field in CLASSES[name].DESCRIPTOR.fields:
            other = theirs.fields_by_name[field.name]
            encoding = FieldDescriptor.TYPE_INT32 if other.type == FieldDescriptor.TYPE_ENUM else other.type
            assert (field.number, field.type, field.is_repeated) == (other.number, encoding, other.is_repeated)
            if field.message_type is not None:
                assert other.message_type in googles(field.message_type.name)


def test_enums() -> None:
    """The values of enums are the library's."""
    assert tasks_v2.HttpMethod.POST == POST
    assert {tasks_v2.Queue.State.PAUSED, tasks_v2.Queue.State.DISABLED} == {PAUSED, DISABLED}


def test_the_library_reads_our_messages() -> None:
    """The library reads what we write, and a field that it adds is ignored here."""
    ours = messages.CreateTaskRequest(
        parent="q",
        task={
            "name": "q/tasks/ä", "schedule_time": {"seconds": 7, "nanos": 5000}, "dispatch_deadline": {"seconds": 600},
            "http_request": {
                "url": "https://w", "http_method": POST, "body": b"\xff", "headers": [{"key": "A", "value": "b"}],
                "oidc_token": {"service_account_email": "a@b", "audience": "c"},
            },
        },
    )  # fmt: skip
    theirs = tasks_v2.CreateTaskRequest.deserialize(ours.SerializeToString())
    assert theirs == tasks_v2.CreateTaskRequest(
        parent="q",
        task={
            "name": "q/tasks/ä", "schedule_time": {"seconds": 7, "nanos": 5000}, "dispatch_deadline": {"seconds": 600},
            "http_request": {
                "url": "https://w", "http_method": "POST", "body": b"\xff", "headers": {"A": "b"},
                "oidc_token": {"service_account_email": "a@b", "audience": "c"},
            },
        },
    )  # fmt: skip
    theirs.response_view = tasks_v2.Task.View.FULL
    theirs.task.dispatch_count = 3
    back = messages.CreateTaskRequest.FromString(tasks_v2.CreateTaskRequest.serialize(theirs))
    assert back.task.name == "q/tasks/ä"
