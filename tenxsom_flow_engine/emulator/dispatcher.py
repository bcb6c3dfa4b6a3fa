"""Deliver due tasks: one thread watches the queues, and each attempt under way has a thread."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from google.cloud import tasks_v2

from tenxsom_flow_engine.emulator import delivery
from tenxsom_flow_engine.emulator.attempts import Attempt, HttpAttempt, headers, write_status
from tenxsom_flow_engine.emulator.cloud import Cloud
from tenxsom_flow_engine.emulator.delivery import DEADLINE_PASSED, Answer, Request
from tenxsom_flow_engine.emulator.faults import Faults
from tenxsom_flow_engine.emulator.limits import encoded
from tenxsom_flow_engine.emulator.protobuf import seconds, short, write
from tenxsom_flow_engine.emulator.queue import Queue, StoredTask
from tenxsom_flow_engine.emulator.retries import RetryRule
from tenxsom_flow_engine.emulator.tokens import TokenIssuer

#: Maximum Retry-After of a target, in seconds. Our choice: the service's maximum is unknown.
_LONGEST_RETRY_AFTER = 3600.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """Starts attempts when they are due and settles them when they end."""

    def __init__(
        self,
        cloud: Cloud,
        tokens: TokenIssuer,
        faults: Faults,
        on_delivery: Callable[[HttpAttempt], None],
        *,
        real_time: bool,
    ) -> None:
        self._cloud = cloud
        self._tokens = tokens
        self._faults = faults
        self._on_delivery = on_delivery
        self._real_time = real_time
        self._attempts: set[Attempt] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Start to deliver."""
        self._thread.start()

    def close(self) -> None:
        """Stop deliveries; ignore the answers of the attempts under way."""
        with self._cloud.changed:
            self._closed = True
            self._cloud.due.notify()
        self._thread.join()
        with self._cloud.changed:
            for attempt in self._attempts:
                attempt.ended = True
                attempt.hang_up()

    @property
    def busy(self) -> bool:
        """Whether an attempt is under way."""
        return bool(self._attempts)

    def next_at(self) -> float | None:
        """Return when the next task is due for delivery or the next deadline passes; None for never."""
        times = [attempt.deadline for attempt in self._attempts]
        if (at := self._cloud.next_dispatch()) is not None:
            times.append(at)
        return min(times, default=None)

    def run(self, queue: Queue, task: StoredTask) -> None:
        """Deliver a task now, in addition to the queue's regular dispatch."""
        task.place = None
        self._begin(queue, task, self._cloud.clock.now(), forced=True)
        self._cloud.due.notify()  # for the deadline of the attempt

    def _watch(self) -> None:
        with self._cloud.changed:
            while not self._closed:
                self._act(self._cloud.clock.now())
                self._cloud.changed.notify_all()  # threads can wait for the change
                at = self.next_at() if self._real_time else None
                self._cloud.dispatcher_at = math.inf if at is None else at
                self._cloud.due.wait(None if at is None else max(0.0, at - self._cloud.clock.now()))

    def _act(self, now: float) -> None:
        for attempt in [attempt for attempt in self._attempts if attempt.deadline <= now]:
            self._end(attempt, DEADLINE_PASSED)
            attempt.hang_up()
        for queue in self._cloud.queues.values():
            queue.forget(now)
            while (task := queue.take(now, self._faults.shuffle)) is not None:
                self._begin(queue, task, now, forced=False)
                if self._faults.twin():
                    self._send(queue, task, now, twin=True)

    def _begin(self, queue: Queue, task: StoredTask, now: float, *, forced: bool) -> None:
        message = task.message
        if task.first_attempt is None:
            task.first_attempt = now
            write(message.first_attempt.dispatch_time, now)
        message.dispatch_count += 1
        message.last_attempt.Clear()
        write(message.last_attempt.schedule_time, task.due)
        write(message.last_attempt.dispatch_time, now)
        self._send(queue, task, now, forced=forced)

    def _send(self, queue: Queue, task: StoredTask, now: float, *, forced: bool = False, twin: bool = False) -> None:
        deadline = now + seconds(task.message.dispatch_deadline)
        retry_count = task.message.dispatch_count - 1
        attempt = Attempt(
            queue, task, started=now, deadline=deadline, retry_count=retry_count, forced=forced, twin=twin
        )
        self._attempts.add(attempt)
        queue.concurrent += 1
        sent = delivery.allowed(task.message.http_request.headers) | headers(queue, task)
        threading.Thread(target=self._deliver, args=(attempt, sent), name=task.name, daemon=True).start()

    def _deliver(self, attempt: Attempt, sent: dict[str, str]) -> None:
        wanted = attempt.task.message.http_request

        def connected(hang_up: Callable[[], None]) -> None:
            attempt.hang_up = hang_up
            if attempt.ended:
                hang_up()

        try:
            if wanted.HasField("oidc_token"):
                account, audience = wanted.oidc_token.service_account_email, wanted.oidc_token.audience
                sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
                sent["Authorization"] = f"Bearer {self._tokens.issue(account, audience or wanted.url)}"
            request = Request(tasks_v2.HttpMethod(wanted.http_method).name, encoded(wanted.url), sent, wanted.body)
            # Real time, longer than the deadline: `_act` enforces the deadline by the emulator's clock.
            answer = delivery.send(request, seconds(attempt.task.message.dispatch_deadline) + 10, connected)
        except Exception as error:  # after any error the attempt must end
            _log.exception("a delivery of %s failed", attempt.task.name)
            answer = Answer(None, f"{type(error).__name__}: {error}")
        with self._cloud.changed:
            self._end(attempt, answer)
            self._cloud.changed.notify_all()
            self._cloud.due.notify()

    def _end(self, attempt: Attempt, answer: Answer) -> None:
        queue, task, now = attempt.queue, attempt.task, self._cloud.clock.now()
        if attempt.ended:
            return  # its deadline has passed, so its answer is ignored
        attempt.ended = True
        self._attempts.remove(attempt)
        queue.concurrent -= 1
        queue.answered(answer.status, now)
        then, next_at = "ignored", None
        if queue.tasks.get(task.name) is task and not attempt.twin:
            then, next_at = self._settle(attempt, answer, now)
        self._on_delivery(
            HttpAttempt(
                at=attempt.started, took=now - attempt.started, queue=queue.id, task=short(task.name),
                url=task.message.http_request.url, retry_count=attempt.retry_count, status=answer.status,
                reason=answer.reason, then=then, next_at=next_at,
            )
        )  # fmt: skip

    def _settle(self, attempt: Attempt, answer: Answer, now: float) -> tuple[str, float | None]:
        queue, task, message = attempt.queue, attempt.task, attempt.task.message
        received = not (answer.success and self._faults.unheard())
        if answer.success and received:
            queue.remove(task, now)
            return "done", None
        task.previous = answer.status if received else None
        if answer is not DEADLINE_PASSED and answer.status is not None and received:
            message.response_count += 1
            task.executions += answer.status < 500
        write_status(message.last_attempt, task.previous, answer.reason, now)
        rule = RetryRule.of(
            queue.message.retry_config, message.retry_config if message.HasField("retry_config") else None
        )
        assert task.first_attempt is not None
        if rule.used_up(message.dispatch_count, now - task.first_attempt):
            queue.remove(task, now)
            return "given up", None
        wait = rule.delay(message.dispatch_count - 1)
        if answer.status in (429, 503):
            wait = max(wait, min(answer.retry_after, _LONGEST_RETRY_AFTER))
        # After RunTask, the backoff counts from the call.
        due = (attempt.started if attempt.forced else now) + wait
        write(message.schedule_time, due)
        queue.wait(task, due)
        return "retried", due
