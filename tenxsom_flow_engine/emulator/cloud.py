"""All queues of the server, and the lock that guards them."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from grpc import StatusCode

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.emulator.protobuf import Refused, parent, project
from tenxsom_flow_engine.emulator.queue import Queue, StoredTask

#: Seconds for which a deleted queue's name is not free (documented; "up to").
RECREATE_AFTER = 3 * 86_400.0
#: Seconds for which a finished task's name is not free: the documented default of queues made by the API.
TOMBSTONE_TTL = 3600.0


class Cloud:
    """Queues by name. Whoever looks at or changes anything in it holds `changed`, and notifies after a change."""

    def __init__(
        self,
        clock: Clock,
        *,
        tombstone_ttl: float = TOMBSTONE_TTL,
        projects: Collection[str] | None = None,
        service_accounts: Collection[str] | None = None,
    ) -> None:
        self.clock = clock
        self.changed = threading.Condition()
        self.tombstone_ttl = tombstone_ttl
        self.queues: dict[str, Queue] = {}
        self._deleted: dict[str, float] = {}
        self._projects = projects
        self._service_accounts = service_accounts

    def check_project(self, name: str) -> None:
        """Refuse a resource of a project that is not there, as the service does: with a lack of permission."""
        if self._projects is not None and project(name) not in self._projects:
            raise Refused(
                StatusCode.PERMISSION_DENIED,
                f'The principal (user or service account) lacks IAM permission for the resource "{name}" '
                "(or the resource may not exist).",
            )

    def check_account(self, account: str) -> None:
        """Refuse a service account that is not there."""
        if self._service_accounts is not None and account not in self._service_accounts:
            raise Refused(StatusCode.NOT_FOUND, f'The service account "{account}" does not exist.')

    def add_queue(self, message: Any) -> Queue:
        """Add a queue, unless one of this name is there or was until recently."""
        name, now = message.name, self.clock.now()
        if name in self.queues:
            raise Refused(StatusCode.ALREADY_EXISTS, f'The queue "{name}" already exists.')
        if name in self._deleted and now < self._deleted[name] + RECREATE_AFTER:
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                "The queue cannot be created because a queue with this name existed too recently.",
            )
        self._deleted.pop(name, None)
        self.queues[name] = queue = Queue(message, now, self.tombstone_ttl)
        return queue

    def queue(self, name: str) -> Queue:
        """Return a queue that is there."""
        self.check_project(name)
        if (queue := self.queues.get(name)) is None:
            raise Refused(
                StatusCode.NOT_FOUND,
                "Requested entity was not found: the queue does not exist. "
                "If it was created just now, wait at least a minute for it to become ready.",
            )
        queue.forget(self.clock.now())
        return queue

    def delete_queue(self, name: str) -> None:
        """Delete a queue with its tasks."""
        self.queue(name).purge(self.clock.now())
        del self.queues[name]
        self._deleted[name] = self.clock.now()

    def task(self, name: str) -> tuple[Queue, StoredTask]:
        """Return a task that has not ended, and its queue."""
        queue = self.queue(parent(name))
        if (task := queue.tasks.get(name)) is None:
            recently = " It was executed or deleted recently." if queue.knows(name, self.clock.now()) else ""
            raise Refused(StatusCode.NOT_FOUND, f"Requested entity was not found: the task does not exist.{recently}")
        return queue, task
