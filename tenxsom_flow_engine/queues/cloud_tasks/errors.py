"""Map Google's errors to `QueueError` and `ConfigurationError`, with the role to grant or another next step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from google.api_core import exceptions as api
from google.auth import exceptions as auth

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
    api.ServiceUnavailable,
    api.DeadlineExceeded,
    api.ResourceExhausted,
    api.TooManyRequests,
    api.InternalServerError,
    api.Aborted,
    api.Cancelled,
    api.ServerError,
)


def is_away(error: BaseException) -> bool:
    """Return whether the same call can succeed later."""
    return isinstance(error, _AWAY) and not isinstance(error, api.MethodNotImplemented)


@contextlib.contextmanager
def mapped(what: str, queue: str, role: str) -> Iterator[None]:
    """Map Google's errors in a block. `what` names the call in the message, `role` the role that the call needs."""
    try:
        yield
    except (api.GoogleAPIError, auth.GoogleAuthError) as error:
        raise _error(error, what, queue, role) from error


def _error(error: Exception, what: str, queue: str, role: str) -> FlowError:
    if isinstance(error, api.RetryError) and error.cause is not None:
        return _error(error.cause, what, queue, role)  # the error of each try, not the timeout of the retries
    text = getattr(error, "message", "") or str(error)
    failed = f"{what} failed: {text}"
    match error:
        case api.PermissionDenied() if "SERVICE_DISABLED" in str(error) or "has not been used" in text:
            return ConfigurationError(
                f"{what} failed: the Cloud Tasks API is not enabled in the project",
                next_step="gcloud services enable cloudtasks.googleapis.com",
            )
        case api.PermissionDenied() if "actAs" in text:
            return QueueForbidden(
                f"{what} was refused: {text}",
                next_step="grant roles/iam.serviceAccountUser on the account that CLOUD_TASKS_SERVICE_ACCOUNT names",
            )
        case api.Forbidden():
            return QueueForbidden(
                f"{what} was refused: {text}",
                next_step=f"grant {role} to the account, and check GOOGLE_CLOUD_PROJECT",
            )
        case api.NotFound() if "service account" in text.lower():
            return QueueMissing(failed, next_step="check CLOUD_TASKS_SERVICE_ACCOUNT")
        case api.NotFound():
            return QueueMissing(
                f"{what} failed: the queue {queue} does not exist",
                next_step="check CLOUD_TASKS_QUEUE and CLOUD_TASKS_LOCATION",
                actions=(Action.CREATE_QUEUE,),
            )
        case api.Conflict() if not isinstance(error, api.Aborted):
            return QueueError(
                f"{what} failed: the queue {queue} already exists",
                actions=(Action.UPDATE_QUEUE,),
            )
        case api.FailedPrecondition():
            return QueueError(
                failed,
                next_step="the name of a deleted queue cannot be used for some days: "
                "set CLOUD_TASKS_QUEUE to another name",
            )
        case api.Unauthorized() | auth.DefaultCredentialsError() | auth.RefreshError():
            return ConfigurationError(f"{what} failed: Google rejected the login: {text}", next_step=CREDENTIALS_STEP)
        case api.RetryError() | auth.TransportError():
            return QueueUnavailable(failed, next_step="check that Google Cloud Tasks can be reached from here")
        case api.MethodNotImplemented():
            return QueueError(
                f"{what} failed: this server of the Cloud Tasks API does not support the call: {text}",
                next_step="check CLOUD_TASKS_EMULATOR_HOST; the emulator command serves all calls that are needed",
            )
        case _ if is_away(error):
            return QueueUnavailable(failed, next_step="check that Google Cloud Tasks can be reached from here")
        case auth.GoogleAuthError():
            return ConfigurationError(f"{what} failed: {text}", next_step=CREDENTIALS_STEP)
        case _:
            return QueueError(failed, next_step="read the message of Google Cloud Tasks")
