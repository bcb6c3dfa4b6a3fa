"""Google's errors are mapped to errors of this package, each with a next step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
from tenxsom_flow_engine.queues.cloud_tasks.errors import ENQUEUER, QUEUE_ADMIN, mapped


def kinds(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def mapped_error(error: Exception, role: str = ENQUEUER) -> FlowError:
    """Return the mapped error of one of Google's errors."""
    with pytest.raises(FlowError) as raised, mapped("adding a task", "videos", role):
        raise error
    assert raised.value.__cause__ is error
    return raised.value


def build(kind: type[Exception], text: str = "text") -> Exception:
    return kind(text, RuntimeError("cause")) if issubclass(kind, api.RetryError) else kind(text)


@pytest.mark.parametrize("kind", [*kinds(api.GoogleAPICallError), api.RetryError], ids=lambda kind: kind.__name__)
def test_every_error_of_a_call(kind: type[Exception]) -> None:
    """Every error of a call is mapped to an error with the failed call and a next step."""
    error = mapped_error(build(kind))
    assert isinstance(error, QueueError | ConfigurationError)
    assert "adding a task" in error.message
    assert error.next_step or error.actions


@pytest.mark.parametrize("kind", list(kinds(auth.GoogleAuthError)), ids=lambda kind: kind.__name__)
def test_every_error_of_the_credentials(kind: type[Exception]) -> None:
    """Every error of the credentials is mapped to an error that says what to set, or that Google is unreachable."""
    error = mapped_error(kind("text"))
    assert isinstance(error, QueueUnavailable | ConfigurationError)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error.next_step or isinstance(error, QueueUnavailable)


@pytest.mark.parametrize(
    ("google_error", "text", "kind", "step"),
    [
        (api.PermissionDenied, "The principal lacks IAM permission", QueueForbidden, ENQUEUER),
        (api.PermissionDenied, "lacks iam.serviceAccounts.actAs", QueueForbidden, "roles/iam.serviceAccountUser"),
        (api.PermissionDenied, "Cloud Tasks API has not been used in project", ConfigurationError, "services enable"),
        (api.NotFound, "Queue does not exist.", QueueMissing, Action.CREATE_QUEUE),
        (api.NotFound, "The service account was not found", QueueMissing, "CLOUD_TASKS_SERVICE_ACCOUNT"),
        (api.AlreadyExists, "Queue already exists", QueueError, Action.UPDATE_QUEUE),
        (api.FailedPrecondition, "The queue cannot be created", QueueError, "CLOUD_TASKS_QUEUE"),
        (api.Unauthenticated, "no credentials", ConfigurationError, "GOOGLE_APPLICATION_CREDENTIALS"),
        (api.ServiceUnavailable, "connection refused", QueueUnavailable, "reached"),
        (api.DeadlineExceeded, "5 s", QueueUnavailable, "reached"),
        (api.ResourceExhausted, "quota", QueueUnavailable, "reached"),
        (auth.RefreshError, "invalid_grant", ConfigurationError, "GOOGLE_APPLICATION_CREDENTIALS"),
        (auth.TransportError, "no route", QueueUnavailable, "reached"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_step_to_take(google_error: type[Exception], text: str, kind: type[FlowError], step: str) -> None:
    """The common errors name the role to grant, the variable to set, or the action that helps."""
    error = mapped_error(build(google_error, text))
    assert type(error) is kind
    assert step in (error.actions if isinstance(step, Action) else error.next_step)


def test_a_call_that_failed_at_every_retry_reports_the_cause() -> None:
    """A call that failed at every retry reports the cause, not only the timeout."""
    cause = build(api.ServiceUnavailable, "connection refused")
    error = mapped_error(api.RetryError("Timeout of 20.0s exceeded", cause))  # type: ignore[no-untyped-call]
    assert type(error) is QueueUnavailable
    assert "connection refused" in error.message


def test_the_role_is_the_one_of_the_call() -> None:
    """A refused call reports the role that this call needs."""
    assert QUEUE_ADMIN in mapped_error(build(api.PermissionDenied), QUEUE_ADMIN).next_step
