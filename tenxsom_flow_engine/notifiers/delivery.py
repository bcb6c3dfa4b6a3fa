"""Deliver a few due messages of one endpoint, and store what came of it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from tenxsom_flow_engine.events import Delivery, DeliveryState, Endpoint, EventType, Settled, retries
from tenxsom_flow_engine.events.incidents import Report, report_of
from tenxsom_flow_engine.events.outbox import KEPT_ATTEMPTS, Attempt, Health
from tenxsom_flow_engine.notifiers.base import Answer, Notifier
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.text import duration

_log = logging.getLogger(__name__)

#: Seconds, besides those of an attempt, after which a message counts as not sent because its worker has ended.
MARGIN = 30.0
#: Failures in a row from which an endpoint gets one message at a time, whatever its answers mean.
FEW_FAILURES = 5

#: Seconds until a message is checked again that waits for its incident to last long enough.
CHECK_AGAIN = 15.0

Uniform = Callable[[float, float], float]


def deliver(
    store: JobStore,
    endpoint: Endpoint,
    notifier: Notifier,
    *,
    uniform: Uniform = random.uniform,
    monotonic: Callable[[], float] = time.monotonic,
) -> Health | None:
    """Send some due messages of an endpoint, and return how it answers; None if none was due. Raises `StoreError`.

    While the endpoint does not work, one message at a time is sent, so that others are not sent in vain. Messages about
    one job are sent one after another; after a failure the later ones wait, too.
    """
    health = store.health(endpoint.id)
    if store.now() < health.paused_until:
        return health
    limit = 1 if health.failures else notifier.at_once
    taken = store.take_deliveries(endpoint.id, limit, notifier.seconds * limit + MARGIN)
    if not taken:
        return None
    sending = _Sending(store, endpoint, notifier, monotonic)
    by_subject: defaultdict[str, list[Delivery]] = defaultdict(list)
    for one in taken:
        by_subject[one.message.subject].append(one)
    answered = _concurrently(sending.send_all, list(by_subject.values()))
    now = store.now()
    settled, attempts = [], []
    for answers in answered:
        waits_until = 0.0
        for sent in answers:
            settled.append(_settled(sent, now, waits_until, uniform))
            waits_until = max(waits_until, settled[-1].next_at or 0.0)
            if sent.answer is not None and sent.attempt is not None:
                attempts.append((sent.attempt, sent.answer))
    health = _health(health, attempts, now, uniform)
    store.settle_deliveries(endpoint.id, settled, health)
    _disable(store, endpoint, health, [answer for _, answer in attempts], now)
    return health


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message, and the answer to its attempt; without one, `report` says why none was made."""

    delivery: Delivery
    answer: Answer | None = None
    attempt: Attempt | None = None
    report: Report = Report.SEND


def _concurrently(
    send: Callable[[Sequence[Delivery]], list[_Sent]], groups: Sequence[Sequence[Delivery]]
) -> list[list[_Sent]]:
    """Send groups of messages, each in a thread that does not keep the process from ending.

    A group whose thread failed has no answers, so its messages are due again when their attempt counts as lost.
    """
    if len(groups) == 1:
        return [send(groups[0])]
    answered: list[list[_Sent]] = [[] for _ in groups]

    def run(place: int) -> None:
        try:
            answered[place] = send(groups[place])
        except Exception:
            _log.exception("a message about an event")

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(groups))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return answered


class _Sending:
    """The attempts of one batch."""

    def __init__(self, store: JobStore, endpoint: Endpoint, notifier: Notifier, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._endpoint = endpoint
        self._notifier = notifier
        self._monotonic = monotonic

    def send_all(self, deliveries: Sequence[Delivery]) -> list[_Sent]:
        """Send messages about one subject in order, until one fails."""
        sent: list[_Sent] = []
        for one in deliveries:
            failed = any(earlier.answer is not None and not earlier.answer.ok for earlier in sent)
            sent.append(_Sent(one) if failed else self._send(one))
        return sent

    def _send(self, delivery: Delivery) -> _Sent:
        message = delivery.message
        if message.type == EventType.VERDICT_RAISED:
            report = report_of(self._store, self._endpoint, message.subject)
            if report is not Report.SEND:
                return _Sent(delivery, report=report)
        at, began = self._store.now(), self._monotonic()
        answer = self._notifier.send(self._endpoint, message)
        level = logging.DEBUG if answer.ok else logging.INFO
        _log.log(
            level, "%s to the %s %s: %s", message.type, self._endpoint.kind.value, self._endpoint.id, answer.text,
            extra={"event_id": message.event_id, "subject": message.subject, "attempt": delivery.tries},
        )  # fmt: skip
        attempt = Attempt(
            at=at, event_id=message.event_id, type=message.type, ok=answer.ok, answer=answer.text,
            seconds=round(self._monotonic() - began, 3),
        )  # fmt: skip
        return _Sent(delivery, answer, attempt)


def _settled(sent: _Sent, now: float, waits_until: float, uniform: Uniform) -> Settled:
    """Return the result of an attempt; a message that waited for an earlier one of its job is due after that."""
    delivery, answer = sent.delivery, sent.answer
    event_id, tries = delivery.message.event_id, delivery.tries
    if sent.report is Report.WITHDRAW:
        return Settled(event_id, tries, DeliveryState.WITHDRAWN)
    if sent.report is Report.WAIT and now - delivery.message.at <= retries.GIVE_UP:
        return Settled(event_id, tries, DeliveryState.PENDING, now + CHECK_AGAIN, sent=False)
    if answer is not None and answer.ok:
        return Settled(event_id, tries, DeliveryState.DELIVERED)
    at = retries.next_attempt(tries, delivery.message.at, now, answer.retry_after if answer else None, uniform)
    if at is None:
        return Settled(event_id, tries, DeliveryState.FAILED)
    return Settled(event_id, tries, DeliveryState.PENDING, max(at, waits_until + 0.001), sent=answer is not None)


def _health(before: Health, attempts: Sequence[tuple[Attempt, Answer]], now: float, uniform: Uniform) -> Health:
    """Return how an endpoint answers after some attempts."""
    health, kept = before, before.attempts
    for attempt, answer in attempts:
        kept = (attempt, *kept)[:KEPT_ATTEMPTS]
        if answer.ok:
            health = Health(last_success_at=attempt.at)
            continue
        failures = health.failures + 1
        earlier = kept[1].at if len(kept) > 1 else attempt.at
        outage = health.failing_since if attempt.at - earlier <= retries.SAME_OUTAGE else 0.0
        rests = answer.down or failures >= FEW_FAILURES or answer.retry_after
        health = replace(
            health,
            failures=failures,
            failing_since=outage or attempt.at,
            paused_until=now + retries.pause(failures, answer.retry_after, uniform) if rests else 0.0,
        )
    return replace(health, attempts=kept)


def _disable(store: JobStore, endpoint: Endpoint, health: Health, answers: Sequence[Answer], now: float) -> None:
    """Disable an endpoint whose receiver wants no more messages, or that has failed for days."""
    if any(answer.gone for answer in answers):
        why = "the receiver answered HTTP 410: it wants no more messages"
    elif health.failing_since and now - health.failing_since >= retries.DISABLE_AFTER:
        why = f"no message was delivered for {duration(now - health.failing_since)}"
    else:
        return
    current = store.endpoint(endpoint.id)
    if current is not None and not current.disabled and store.swap_endpoint(current, replace(current, disabled=why)):
        _log.error("the %s %s (%s) is disabled: %s", endpoint.kind.value, endpoint.id, endpoint.shown_url, why)


def notifier_of(endpoint: Endpoint, notifiers: Mapping[str, Notifier]) -> Notifier | None:
    """Return the notifier for an endpoint; None if this process has none, or it is disabled."""
    return None if endpoint.disabled else notifiers.get(endpoint.kind)
