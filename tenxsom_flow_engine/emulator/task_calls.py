"""The API calls for tasks. Requests and answers are the protobuf messages of Google's client library."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from google.cloud import tasks_v2
from google.protobuf import empty_pb2
from grpc import StatusCode

from tenxsom_flow_engine.emulator import limits
from tenxsom_flow_engine.emulator.cloud import Cloud
from tenxsom_flow_engine.emulator.pages import page
from tenxsom_flow_engine.emulator.protobuf import (
    Refused,
    check_queue,
    check_task,
    instant,
    invalid,
    parent,
    write,
)
from tenxsom_flow_engine.emulator.queue import Queue, StoredTask

MAX_PAGE = 1000

_Task: Any = tasks_v2.Task.pb()
_ListTasksResponse: Any = tasks_v2.ListTasksResponse.pb()
_FULL, _BASIC = tasks_v2.Task.View.FULL, tasks_v2.Task.View.BASIC
#: Output-only fields: values from callers are ignored.
_OUTPUT = ("create_time", "dispatch_count", "response_count", "first_attempt", "last_attempt", "view")


class TaskCalls:
    """Each method is the API call of the same name. Callers must hold the lock of `Cloud`."""

    def __init__(self, cloud: Cloud, run: Callable[[Queue, StoredTask], None]) -> None:
        self._cloud = cloud
        self._run = run

    def create_task(self, request: Any) -> Any:
        check_queue(request.parent)
        queue, now = self._cloud.queue(request.parent), self._cloud.clock.now()
        self._check_name(request)
        limits.check_task(request.task, now)
        if request.task.http_request.HasField("oidc_token"):
            self._cloud.check_account(request.task.http_request.oidc_token.service_account_email)
        message = _Task()
        message.CopyFrom(request.task)
        for field in _OUTPUT:
            message.ClearField(field)
        message.name = message.name or f"{request.parent}/tasks/{secrets.randbelow(9 * 10**18) + 10**18}"
        message.http_request.http_method = message.http_request.http_method or tasks_v2.HttpMethod.POST
        if not message.HasField("dispatch_deadline"):
            message.dispatch_deadline.FromSeconds(limits.DEFAULT_DEADLINE)
        due = max(now, instant(message.schedule_time))  # an unset time is 1970, so the task is due now
        write(message.schedule_time, due)
        message.create_time.FromSeconds(int(now))
        limits.check_size(message)
        if queue.knows(message.name, now):
            text = "The task cannot be created because a task with this name existed too recently."
            if message.name in queue.tasks:
                text = "Requested entity already exists"
            raise Refused(StatusCode.ALREADY_EXISTS, text)
        task = StoredTask(message, due=due, created=now)
        queue.add(task)
        return _view(task, request.response_view)

    def get_task(self, request: Any) -> Any:
        return _view(self._found(request.name)[1], request.response_view)

    def list_tasks(self, request: Any) -> Any:
        check_queue(request.parent)
        tasks, token = page(self._cloud.queue(request.parent).tasks, request.page_size, request.page_token, MAX_PAGE)
        return _ListTasksResponse(tasks=[_view(task, request.response_view) for task in tasks], next_page_token=token)

    def delete_task(self, request: Any) -> Any:
        """Remove a task. An attempt under way continues, but its answer is ignored."""
        queue, task = self._found(request.name)
        queue.remove(task, self._cloud.clock.now())
        return empty_pb2.Empty()

    def run_task(self, request: Any) -> Any:
        """Deliver a task now, regardless of its schedule and of the queue's state and limits."""
        queue, task = self._found(request.name)
        self._run(queue, task)
        return _view(task, request.response_view)

    def _found(self, name: str) -> tuple[Queue, StoredTask]:
        check_task(name)
        return self._cloud.task(name)

    @staticmethod
    def _check_name(request: Any) -> None:
        if name := request.task.name:
            check_task(name)
            if parent(name) != request.parent:
                raise invalid(
                    f"The queue name from request ('{request.parent}') must be the same as the queue name in the named "
                    f"task ('{parent(name)}')."
                )


def _view(task: StoredTask, view: int) -> Any:
    """Return the API's view of a task; only the view FULL contains the body."""
    message = _Task()
    message.CopyFrom(task.message)
    message.view = _FULL if view == _FULL else _BASIC
    if view != _FULL:
        message.http_request.ClearField("body")
    return message
