"""The errors of calls to Cloud Tasks are mapped to errors of this package, each with a next step."""

from __future__ import annotations

import grpc
import pytest
from google.api_core import exceptions
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
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
from tenxsom_flow_engine.queues.cloud_tasks.errors import ENQUEUER, QUEUE_ADMIN, is_away, mapped


class Failure(grpc.RpcError):  # type: ignore[misc]
    """The error of a call, as gRPC raises it."""

    def __init__(self, code: StatusCode, details: str = "text", reason: str = "") -> None:
        super().__init__(details)
        self._code, self._details, self._reason = code, details, reason

    def code(self) -> StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...] | None:
        if not self._reason:
            return None
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=self._reason, domain="googleapis.com"))
        status = status_pb2.Status(code=7, message=self._details, details=[detail])
        return (("grpc-status-details-bin", status.SerializeToString()),)


def mapped_error(error: Exception, role: str = ENQUEUER) -> FlowError:
    """Return the mapped error of the error of a call."""
    with pytest.raises(FlowError) as raised, mapped("adding a task", "videos", role):
        raise error
    assert raised.value.__cause__ is error
    return raised.value


@pytest.mark.parametrize("code", list(StatusCode), ids=lambda code: code.name)
def test_every_error_of_a_call(code: StatusCode) -> None:
    """Every error of a call is mapped to an error with the failed call and a next step."""
    for text in ("text", ""):
        error = mapped_error(Failure(code, text))
        assert isinstance(error, QueueError | ConfigurationError)
        assert "adding a task" in error.message
        assert error.next_step or error.actions


@pytest.mark.parametrize("code", list(StatusCode), ids=lambda code: code.name)
def test_which_calls_are_repeated(code: StatusCode) -> None:
    """A call is repeated after the errors for which Google's library has the classes that can pass."""
    error = exceptions.from_grpc_status(code, "text")  # type: ignore[no-untyped-call]
    passes = (
        exceptions.ServerError, exceptions.ResourceExhausted, exceptions.Aborted, exceptions.Cancelled,
    )  # fmt: skip
    assert is_away(Failure(code)) is (isinstance(error, passes) and code is not StatusCode.UNIMPLEMENTED)


@pytest.mark.parametrize(
    ("code", "text", "kind", "step"),
    [
        (StatusCode.PERMISSION_DENIED, "The principal lacks IAM permission", QueueForbidden, ENQUEUER),
        (StatusCode.PERMISSION_DENIED, "lacks iam.serviceAccounts.actAs", QueueForbidden, "iam.serviceAccountUser"),
        (StatusCode.PERMISSION_DENIED, "the API has not been used in project", ConfigurationError, "services enable"),
        (StatusCode.NOT_FOUND, "Queue does not exist.", QueueMissing, Action.CREATE_QUEUE),
        (StatusCode.NOT_FOUND, "The service account was not found", QueueMissing, "CLOUD_TASKS_SERVICE_ACCOUNT"),
        (StatusCode.ALREADY_EXISTS, "Queue already exists", QueueError, Action.UPDATE_QUEUE),
        (StatusCode.FAILED_PRECONDITION, "The queue cannot be created", QueueError, "CLOUD_TASKS_QUEUE"),
        (StatusCode.UNAUTHENTICATED, "no credentials", ConfigurationError, "GOOGLE_APPLICATION_CREDENTIALS"),
        (StatusCode.UNAVAILABLE, "connection refused", QueueUnavailable, "reached"),
        (StatusCode.DEADLINE_EXCEEDED, "5 s", QueueUnavailable, "reached"),
        (StatusCode.RESOURCE_EXHAUSTED, "quota", QueueUnavailable, "reached"),
        (
            StatusCode.UNAVAILABLE, "Getting metadata from plugin failed with error: invalid_grant", QueueUnavailable,
            "GOOGLE_APPLICATION_CREDENTIALS",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_the_step_to_take(code: StatusCode, text: str, kind: type[FlowError], step: str) -> None:
    """The common errors name the role to grant, the variable to set, or the action that helps."""
    error = mapped_error(Failure(code, text))
    assert type(error) is kind
    assert step in (error.actions if isinstance(step, Action) else error.next_step)


def test_a_disabled_api() -> None:
    """A disabled API is recognized by the reason in the details of the status, whatever the message says."""
    error = mapped_error(Failure(StatusCode.PERMISSION_DENIED, "no", reason="SERVICE_DISABLED"))
    assert type(error) is ConfigurationError
    assert "services enable" in error.next_step
    assert type(mapped_error(Failure(StatusCode.PERMISSION_DENIED, "no", reason="OTHER"))) is QueueForbidden


def test_the_role_is_the_one_of_the_call() -> None:
    """A refused call reports the role that this call needs."""
    assert QUEUE_ADMIN in mapped_error(Failure(StatusCode.PERMISSION_DENIED), QUEUE_ADMIN).next_step
