"""Map the errors of calls to `QueueError` and `ConfigurationError`, with the role to grant or another next step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc
from grpc import StatusCode

from tenxsom_flow_engine.errors import (
    Action,
    ConfigurationError,
    FlowError,
    QueueError,
    QueueForbidden,
    QueueMissing,
    QueueUnavailable,
)
from tenxsom_flow_engine.queues.cloud_tasks.access import CREDENTIALS_STEP

#: The role that each kind of call needs (https://docs.cloud.google.com/iam/docs/roles-permissions/cloudtasks).
ENQUEUER, QUEUE_ADMIN, VIEWER = "roles/cloudtasks.enqueuer", "roles/cloudtasks.queueAdmin", "roles/cloudtasks.viewer"

_AWAY = (
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.INTERNAL,
    StatusCode.ABORTED,
    StatusCode.CANCELLED,
    StatusCode.UNKNOWN,
    StatusCode.DATA_LOSS,
)
#: How gRPC begins the details of an error in the credentials; its code is UNAVAILABLE, whatever the error is.
_CREDENTIALS_FAILED = "Getting metadata from plugin failed"


def is_away(error: grpc.RpcError) -> bool:
    """Return whether the same call can succeed later."""
    return error.code() in _AWAY


@contextlib.contextmanager
def mapped(what: str, queue: str, role: str) -> Iterator[None]:
    """Map errors of calls in a block. `what` names the call in the message, `role` the role that the call needs."""
    try:
        yield
    except grpc.RpcError as error:
        raise _error(error, what, queue, role) from error


def _error(error: grpc.RpcError, what: str, queue: str, role: str) -> FlowError:
    text = error.details() or error.code().name
    failed = f"{what} failed: {text}"
    match error.code():
        case StatusCode.PERMISSION_DENIED if _service_disabled(error) or "has not been used" in text:
            return ConfigurationError(
                f"{what} failed: the Cloud Tasks API is not enabled in the project",
                next_step="gcloud services enable cloudtasks.googleapis.com",
            )
        case StatusCode.PERMISSION_DENIED if "actAs" in text:
            return QueueForbidden(
                f"{what} was refused: {text}",
                next_step="grant roles/iam.serviceAccountUser on the account that CLOUD_TASKS_SERVICE_ACCOUNT names",
            )
        case StatusCode.PERMISSION_DENIED:
            return QueueForbidden(
                f"{what} was refused: {text}",
                next_step=f"grant {role} to the account, and check GOOGLE_CLOUD_PROJECT",
            )
        case StatusCode.NOT_FOUND if "service account" in text.lower():
            return QueueMissing(failed, next_step="check CLOUD_TASKS_SERVICE_ACCOUNT")
        case StatusCode.NOT_FOUND:
            return QueueMissing(
                f"{what} failed: the queue {queue} does not exist",
                next_step="check CLOUD_TASKS_QUEUE and CLOUD_TASKS_LOCATION",
                actions=(Action.CREATE_QUEUE,),
            )
        case StatusCode.ALREADY_EXISTS:
            return QueueError(
                f"{what} failed: the queue {queue} already exists",
                actions=(Action.UPDATE_QUEUE,),
            )
        case StatusCode.FAILED_PRECONDITION:
            return QueueError(
                failed,
                next_step="the name of a deleted queue cannot be used for some days: "
                "set CLOUD_TASKS_QUEUE to another name",
            )
        case StatusCode.UNAUTHENTICATED:
            return ConfigurationError(f"{what} failed: Google rejected the login: {text}", next_step=CREDENTIALS_STEP)
        case StatusCode.UNIMPLEMENTED:
            return QueueError(
                f"{what} failed: this server of the Cloud Tasks API does not support the call: {text}",
                next_step="check CLOUD_TASKS_EMULATOR_HOST; the emulator command serves all calls that are needed",
            )
        case StatusCode.UNAVAILABLE if text.startswith(_CREDENTIALS_FAILED):
            return QueueUnavailable(
                failed, next_step=f"check that Google can be reached from here; if the login is no longer valid, "
                f"{CREDENTIALS_STEP}",
            )  # fmt: skip
        case _ if is_away(error):
            return QueueUnavailable(failed, next_step="check that Google Cloud Tasks can be reached from here")
        case _:
            return QueueError(failed, next_step="read the message of Google Cloud Tasks")


def _service_disabled(error: grpc.RpcError) -> bool:
    """Return whether the status details name that reason; they are a message of `google.rpc.Status`, with its text."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    return b"SERVICE_DISABLED" in bytes(details)
