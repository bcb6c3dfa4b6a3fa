"""A client for other programs: makes any call of a service when the limiter admits it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tenxsom_flow_engine.errors import Busy, FlowError, Misconfigured, OutOfCredit, ServiceError
from tenxsom_flow_engine.rate_limits.base import Admission, Closed
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.services.http.responses import read_retry_after

_log = logging.getLogger(__name__)

#: Statuses that mean busy, and the status that means busy if it has a `Retry-After`.
_BUSY, _UNAVAILABLE = (429, 529), 503

#: The share of its remaining wait, and the minimum of seconds, that a waiter sleeps before it reads its hint again.
PAUSE_SHARE, MIN_PAUSE_SECONDS = 0.1, 1.0


class RateLimitedAPIClient:
    """Makes calls of services that have limits, in an event loop. `sleep` replaces `asyncio.sleep` in tests."""

    def __init__(self, limiter: RateLimiter, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._limiter = limiter
        self._sleep = sleep

    async def make_request(self, service: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Wait for an admission, call `fn(*args, **kwargs)`, and return its result or raise its error.

        `fn` is a coroutine function, or a plain function, which runs in a separate thread. The limiter learns from the
        result: the duration; our `Busy`, `Misconfigured` and `OutOfCredit`; the status 429 or 529, or 503 with
        `Retry-After`, of a returned response or of the `response` of an error (as in requests, httpx and aiohttp).
        A call that is cancelled before it starts uses nothing of the limits.

        Raises `InvalidInput` for a service without limits, listing those with limits; `StoreError` before the call.
        """
        self._limiter.require(service)
        admission = await self._admission(service)
        began = time.monotonic()
        try:
            result = await self._call(admission, fn, args, kwargs)
        except Exception as error:
            await self._learn(service, _refusal(service, error), None)
            raise
        await self._learn(service, _refusal(service, result), time.monotonic() - began if _success(result) else None)
        return result

    async def _admission(self, service: str) -> Admission:
        """Wait for an admission."""
        waiter_id = secrets.token_hex(8)
        waiting = False
        try:
            while isinstance(answer := await self._ask(service, waiter_id), Closed):
                if not waiting:
                    _log.info("a call of %s waits: %s", service, answer.why)
                waiting = True
                await self._sleep(_pause(answer.ask_again_at - answer.at))
        except asyncio.CancelledError:
            if waiting:
                _afterwards(self._limiter.forget, service, waiter_id)
            raise
        return answer

    async def _ask(self, service: str, waiter_id: str) -> Admission | Closed:
        asking = asyncio.get_running_loop().run_in_executor(None, self._limiter.ask, service, waiter_id)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._return_unused, service, waiter_id))
            raise

    def _return_unused(self, service: str, waiter_id: str, asking: asyncio.Future[Admission | Closed]) -> None:
        """Give back an admission, or the place in the line, that arrived after its caller was cancelled."""
        if asking.cancelled() or asking.exception() is not None:
            return
        if isinstance(answer := asking.result(), Admission):
            _afterwards(self._limiter.give_back, answer)
        else:
            _afterwards(self._limiter.forget, service, waiter_id)

    async def _call(self, admission: Admission, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if inspect.iscoroutinefunction(fn):
            return await fn(*args, **kwargs)
        # In a shared pool the call could wait long after its admission.
        thread = ThreadPoolExecutor(1, thread_name_prefix=admission.service)
        calling = thread.submit(fn, *args, **kwargs)
        thread.shutdown(wait=False)
        try:
            result = await asyncio.wrap_future(calling)
        except asyncio.CancelledError:
            if calling.cancelled():  # it had not started
                _afterwards(self._limiter.give_back, admission)
            raise
        return await result if inspect.isawaitable(result) else result

    async def _learn(self, service: str, refusal: ServiceError | None, seconds: float | None) -> None:
        """Report the result of a call to the limiter; a failure to do so does not affect the caller."""
        try:
            if refusal is not None:
                await asyncio.to_thread(self._limiter.refused, service, refusal)
            elif seconds is not None:
                await asyncio.to_thread(self._limiter.answered, service, seconds)
        except FlowError as error:
            _log.warning("the result of a call of %s is not counted: %s", service, error)


def _pause(seconds: float) -> float:
    """Return how long to sleep before asking again: part of a long wait, because the waiter can be moved up."""
    return max(0.0, min(seconds, max(MIN_PAUSE_SECONDS, seconds * PAUSE_SHARE)))


def _afterwards(act: Callable[..., object], *args: object) -> None:
    """Run `act` in a thread, in the background."""

    def logged() -> None:
        try:
            act(*args)
        except FlowError as error:
            _log.warning("a call that was not made still counts: %s", error)

    asyncio.get_running_loop().run_in_executor(None, logged)


def _refusal(service: str, outcome: object) -> ServiceError | None:
    """Return the refusal in a result or error of a call, or None."""
    if isinstance(outcome, Busy | Misconfigured | OutOfCredit):
        return outcome
    response = getattr(outcome, "response", outcome) if isinstance(outcome, Exception) else outcome
    status = _status(response)
    headers = getattr(response, "headers", None)
    retry_after = read_retry_after(headers, None) if isinstance(headers, Mapping) else None
    if status in _BUSY or (status == _UNAVAILABLE and retry_after is not None):
        return Busy(service, f"it answered {status}", retry_after=retry_after)
    return None


def _success(result: object) -> bool:
    status = _status(result)
    return status is None or status < 400


def _status(response: object) -> int | None:
    for name in ("status_code", "status"):
        if isinstance(status := getattr(response, name, None), int):
            return status
    return None
