"""The messages of the Cloud Tasks API that the queue sends and reads, with the fields that it uses.

Google's client library has them all, but importing one of its classes loads several clients and takes longer than the
rest of a command. `tests/unit/test_cloud_tasks_messages.py` compares every field with the installed library. Enums are
integers here, and the map of headers is a list of entries: both have the same encoding.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

#: Values of enums (`HttpMethod`, `Queue.State`).
POST, PAUSED, DISABLED = 1, 2, 3

#: By message and field: the number, and the type, which is a scalar or another message; `*` marks a repeated field.
FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "Timestamp": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "Duration": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "FieldMask": {"paths": (1, "string*")},
    "OidcToken": {"service_account_email": (1, "string"), "audience": (2, "string")},
    "Header": {"key": (1, "string"), "value": (2, "string")},
    "HttpRequest": {
        "url": (1, "string"), "http_method": (2, "int32"), "headers": (3, "Header*"), "body": (4, "bytes"),
        "oidc_token": (6, "OidcToken"),
    },
    "Task": {
        "name": (1, "string"), "http_request": (3, "HttpRequest"), "schedule_time": (4, "Timestamp"),
        "dispatch_deadline": (6, "Duration"),
    },
    "RateLimits": {"max_dispatches_per_second": (1, "double"), "max_concurrent_dispatches": (3, "int32")},
    "RetryConfig": {
        "max_attempts": (1, "int32"), "min_backoff": (3, "Duration"), "max_backoff": (4, "Duration"),
        "max_doublings": (5, "int32"),
    },
    "Queue": {
        "name": (1, "string"), "rate_limits": (3, "RateLimits"), "retry_config": (4, "RetryConfig"),
        "state": (5, "int32"),
    },
    "QueueStats": {"tasks_count": (1, "int64")},
    "BetaQueue": {"stats": (12, "QueueStats")},
    "NameRequest": {"name": (1, "string")},
    "BetaQueueRequest": {"name": (1, "string"), "read_mask": (2, "FieldMask")},
    "CreateTaskRequest": {"parent": (1, "string"), "task": (2, "Task")},
    "CreateQueueRequest": {"parent": (1, "string"), "queue": (2, "Queue")},
    "UpdateQueueRequest": {"queue": (1, "Queue"), "update_mask": (2, "FieldMask")},
}  # fmt: skip
_PACKAGE = "tenxsom.cloud_tasks"


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field_name, (number, of) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = FieldDescriptorProto.LABEL_REPEATED if of[-1] == "*" else FieldDescriptorProto.LABEL_OPTIONAL
            kind = of.rstrip("*")
            if kind in FIELDS:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in FIELDS}


CLASSES = _classes()
Task: Any = CLASSES["Task"]
Queue: Any = CLASSES["Queue"]
BetaQueue: Any = CLASSES["BetaQueue"]
NameRequest: Any = CLASSES["NameRequest"]
BetaQueueRequest: Any = CLASSES["BetaQueueRequest"]
CreateTaskRequest: Any = CLASSES["CreateTaskRequest"]
CreateQueueRequest: Any = CLASSES["CreateQueueRequest"]
UpdateQueueRequest: Any = CLASSES["UpdateQueueRequest"]
