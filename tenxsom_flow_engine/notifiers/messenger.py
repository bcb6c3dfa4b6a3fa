"""Deliver the messages of a store in the background of a worker process.

Each endpoint has a thread while it has due messages, so a slow one delays no other, and no thread waits where nothing
is due. Of all processes that share a store, one delivers the messages of an endpoint, as long as it renews that right.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from tenxsom_flow_engine.errors import FlowError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.events import Endpoint, EndpointKind
from tenxsom_flow_engine.events.endpoints import ON_VIDEO
from tenxsom_flow_engine.notifiers.base import Notifier
from tenxsom_flow_engine.notifiers.delivery import deliver, notifier_of
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.outage import Outage
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.timings import Timings

_log = logging.getLogger(__name__)

#: The longest wait for a change of the store, and the shortest time between two checks, in seconds.
LONGEST_WAIT, SHORTEST_WAIT = 1.0, 0.1
#: The kind of the memo that says that workers still have a command, how long it lasts, and how often it is renewed.
COMMAND_MEMO, COMMAND_KEPT, COMMAND_RENEWED = "endpoint", 3 * 86400.0, 3600.0


class Messenger:
    """Delivers messages to the endpoints for which this process has notifiers. `owner` names the process."""

    def __init__(
        self,
        store: JobStore,
        notifiers: Mapping[str, Notifier],
        owner: Callable[[], str],
        timings: Timings = Timings(),
        outage: Outage | None = None,
    ) -> None:
        self._store = store
        self._notifiers = notifiers
        self._owner = owner
        self._timings = timings
        self._outage = outage or Outage(_log, "the store")
        self._ended = WakeupEvent()
        self._lock = threading.Lock()  # guards `_busy`
        #: The endpoints whose messages are being sent.
        self._busy: set[str] = set()
        #: Until when this process has the right to deliver to an endpoint, and when it asks again if it has not.
        self._owned_until: dict[str, float] = {}
        self._ask_again_at: dict[str, float] = {}
        self._paused_until: dict[str, float] = {}
        self._command_kept_at = float("-inf")
        #: Whether there was an endpoint at the latest check.
        self._used = True

    def register(self) -> None:
        """Let the store know the command of this process, if it has one. Raises `StoreError`."""
        if EndpointKind.COMMAND in self._notifiers:
            known = self._store.endpoint(ON_VIDEO)
            if known is None or known.disabled:  # a disabled one gets another chance by a restart
                now = self._store.now()
                self._store.swap_endpoint(known, Endpoint(id=ON_VIDEO, kind=EndpointKind.COMMAND, created_at=now))
        self._used = bool(self._endpoints())
        self._keep_command()

    def run(self) -> None:
        """Deliver until `end` is called."""
        while not self._ended.is_set():
            revision: object = None
            wait = self._timings.store_retry
            try:
                revision = self._store.revision()
                found = self.check()
                self._outage.succeeded("messages")
                wait = self._timings.endpoint_check if found is None else min(max(found, SHORTEST_WAIT), LONGEST_WAIT)
                if found is not None and not self._ended.wait(SHORTEST_WAIT):
                    self._store.wait(revision, timeout=wait, wake=self._ended)
                    continue
            except (StoreUnavailable, StoreFull) as error:
                if not self._ended.is_set():  # after the end, the store can be closed
                    self._outage.failed("messages", f"messages about events wait for the store: {error}")
            except FlowError as error:
                _log.warning("messages about events are not delivered: %s", error)
            except Exception:
                if not self._ended.is_set():
                    _log.exception("messages about events")
            self._ended.wait(wait)

    def check(self) -> float | None:
        """Start to deliver what is due, and return the seconds until more can be due; None without an endpoint.

        Raises `StoreError`.
        """
        endpoints = self._endpoints()
        self._used = bool(endpoints)
        self._keep_command()
        if not endpoints:
            return None
        now, soonest = self._store.now(), LONGEST_WAIT
        for endpoint in endpoints:
            if endpoint.id in self._busy:
                self._owns(endpoint.id)
                continue
            due = self._store.next_delivery(endpoint.id)
            if due is None:
                continue
            due = max(due, self._paused_until.get(endpoint.id, 0.0))
            if due > now:
                soonest = min(soonest, due - now)
            elif self._owns(endpoint.id):
                self._start(endpoint)
        return soonest

    def finish(self, seconds: float, abandon: threading.Event) -> None:
        """Deliver what is due: a process that ends might be the last one for a long time.

        New attempts begin for at most `seconds`; those under way end, unless `abandon` is set.
        """
        if not self._used:
            return
        ends = time.monotonic() + seconds
        try:
            while not abandon.wait(SHORTEST_WAIT / 2):
                late = time.monotonic() >= ends
                if late:
                    self._ended.set()
                found = None if late else self.check()
                with self._lock:
                    busy = set(self._busy)
                if not busy and (found is None or not self._has_due()):
                    return
                for endpoint_id in busy:
                    self._owns(endpoint_id)
        except FlowError as error:
            _log.debug("the last messages about events are left to other workers: %s", error)

    def end(self) -> None:
        """End soon. A message that is being sent is sent again by another worker, unless its answer arrives in time."""
        self._ended.set()

    def release(self) -> None:
        """Give up the right to deliver, so that another process continues at once. Raises `StoreError`."""
        for endpoint_id in list(self._owned_until):
            self._store.acquire_lock(_lock_name(endpoint_id), self._owner(), 0.0)
        self._owned_until.clear()

    def _has_due(self) -> bool:
        now = self._store.now()
        for one in self._endpoints():
            due = self._store.next_delivery(one.id)
            owned = self._owned_until.get(one.id, 0.0) > time.monotonic()
            if due is not None and max(due, self._paused_until.get(one.id, 0.0)) <= now and owned:
                return True
        return False

    def _endpoints(self) -> list[Endpoint]:
        """Return the endpoints to which this process can deliver."""
        return [one for one in self._store.endpoints() if notifier_of(one, self._notifiers) is not None]

    def _start(self, endpoint: Endpoint) -> None:
        with self._lock:
            if endpoint.id in self._busy:
                return
            self._busy.add(endpoint.id)
        name = f"messages-{endpoint.id}"
        threading.Thread(target=self._deliver, args=(endpoint,), name=name, daemon=True).start()

    def _deliver(self, endpoint: Endpoint) -> None:
        """Deliver the due messages of an endpoint."""
        try:
            while not self._ended.is_set():
                notifier = notifier_of(endpoint, self._notifiers)
                health = deliver(self._store, endpoint, notifier) if notifier is not None else None
                if health is None:
                    return
                if health.failures and health.paused_until:
                    self._paused_until[endpoint.id] = health.paused_until
                    return
                self._paused_until.pop(endpoint.id, None)
                current = self._store.endpoint(endpoint.id)  # its secret can have been replaced
                if current is None or not self._owns(endpoint.id):
                    return
                endpoint = current
        except (StoreUnavailable, StoreFull) as error:
            if not self._ended.is_set():
                self._outage.failed("messages", f"messages about events wait for the store: {error}")
        except Exception:
            if not self._ended.is_set():
                _log.exception("messages for %s", endpoint.id)
        finally:
            with self._lock:
                self._busy.discard(endpoint.id)

    def _owns(self, endpoint_id: str) -> bool:
        """Return whether this process delivers the messages of an endpoint; renew that right in time."""
        here, lease = time.monotonic(), self._timings.delivery_lease
        until = self._owned_until.get(endpoint_id, float("-inf"))
        if here < until - lease * 2 / 3:
            return True
        if here < self._ask_again_at.get(endpoint_id, float("-inf")):
            return here < until
        name, owner = _lock_name(endpoint_id), self._owner()
        # Reading is cheaper than a write that is refused.
        if self._store.lock_owner(name) in (None, owner) and self._store.acquire_lock(name, owner, lease):
            self._owned_until[endpoint_id] = here + lease
            return True
        self._owned_until.pop(endpoint_id, None)
        self._ask_again_at[endpoint_id] = here + min(lease / 3, LONGEST_WAIT)
        return False

    def _keep_command(self) -> None:
        """Keep the command's endpoint as long as a worker has one; remove it three days after that."""
        here = time.monotonic()
        if here - self._command_kept_at < COMMAND_RENEWED:
            return
        memo = self._store.memo(COMMAND_MEMO, ON_VIDEO)
        if EndpointKind.COMMAND in self._notifiers:
            self._store.put_memo(COMMAND_MEMO, ON_VIDEO, "used", COMMAND_KEPT, instead_of=memo)
        elif memo is None and (unused := self._store.endpoint(ON_VIDEO)) is not None:
            self._store.swap_endpoint(unused, None)
        self._command_kept_at = here


def _lock_name(endpoint_id: str) -> str:
    return f"messages:{endpoint_id}"
