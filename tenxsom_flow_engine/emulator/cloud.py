"""All queues of the server, the lock that guards them, and the conditions that its threads wait for."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection
from typing import Any

from grpc import StatusCode

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.emulator.protobuf import Refused, parent, project
from tenxsom_flow_engine.emulator.queue import Queue, StoredTask

#: Seconds for which the name of a deleted queue cannot be used (documented as "up to").
RECREATE_AFTER = 3 * 86_400.0
#: Seconds for which the name of a finished task cannot be used: the documented default for queues created by the API.
TOMBSTONE_TTL = 3600.0

_NO_QUEUE = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
_UNKNOWN = "Requested entity was not found."
_GONE = (
    "The task no longer exists, though a task with this name existed recently. The task either successfully completed "
    "or was deleted."
)


class Cloud:
    """Queues by name. Callers must hold `changed` while they read or change anything, and notify after a change.

    `due` has the same lock. Only the dispatcher waits for it, so that it does not run after each call.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        tombstone_ttl: float = TOMBSTONE_TTL,
        projects: Collection[str] | None = None,
        service_accounts: Collection[str] | None = None,
    ) -> None:
        self.clock = clock
        lock = threading.RLock()
        self.changed = threading.Condition(lock)
        self.due = threading.Condition(lock)
        #: When the dispatcher runs next without being woken.
        self.dispatcher_at = math.inf
        self.tombstone_ttl = tombstone_ttl
        self.queues: dict[str, Queue] = {}
        self._deleted: dict[str, float] = {}
        self._projects = projects
        self._service_accounts = service_accounts

    def next_dispatch(self) -> float | None:
        """Return when the next task can be dispatched; None for never."""
        now = self.clock.now()
        times = [at for queue in self.queues.values() if (at := queue.next_dispatch(now)) is not None]
        return min(times, default=None)

    def notify(self) -> None:
        """Notify the threads that wait for a change, and the dispatcher if a task is due before it runs next."""
        self.changed.notify_all()
        if (at := self.next_dispatch()) is not None and at < self.dispatcher_at:
            self.due.notify()

    def check_project(self, name: str) -> None:
        """Refuse a resource of an unknown project with PERMISSION_DENIED, as the service does."""
        if self._projects is not None and project(name) not in self._projects:
            raise Refused(
                StatusCode.PERMISSION_DENIED,
                f'The principal (user or service account) lacks IAM permission for the resource "{name}" '
                "(or the resource may not exist).",
            )

    def check_account(self, account: str) -> None:
        """Refuse an unknown service account."""
        if self._service_accounts is not None and account not in self._service_accounts:
            raise Refused(StatusCode.NOT_FOUND, f'The service account "{account}" does not exist.')

    def add_queue(self, message: Any) -> Queue:
        """Add a queue, unless its name is in use or was until recently."""
        name, now = message.name, self.clock.now()
        if name in self.queues:
            raise Refused(StatusCode.ALREADY_EXISTS, "Queue already exists")
        if name in self._deleted and now < self._deleted[name] + RECREATE_AFTER:
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                "The queue cannot be created because a queue with this name existed too recently.",
            )
        self._deleted.pop(name, None)
        self.queues[name] = queue = Queue(message, now, self.tombstone_ttl)
        return queue

    def queue(self, name: str) -> Queue:
        """Return an existing queue. Raises `Refused`."""
        self.check_project(name)
        if (queue := self.queues.get(name)) is None:
            raise Refused(StatusCode.NOT_FOUND, _NO_QUEUE)
        queue.forget(self.clock.now())
        return queue

    def delete_queue(self, name: str) -> None:
        """Delete a queue with its tasks."""
        self.check_project(name)
        if name not in self.queues:
            raise Refused(StatusCode.NOT_FOUND, _UNKNOWN)
        self.queue(name).purge(self.clock.now())
        del self.queues[name]
        self._deleted[name] = self.clock.now()

    def task(self, name: str) -> tuple[Queue, StoredTask]:
        """Return a task that has not ended, and its queue. Raises `Refused`."""
        queue = self.queue(parent(name))
        if (task := queue.tasks.get(name)) is None:
            raise Refused(StatusCode.NOT_FOUND, _GONE if queue.knows(name, self.clock.now()) else _UNKNOWN)
        return queue, task
