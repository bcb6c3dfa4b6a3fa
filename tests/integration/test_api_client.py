"""`RateLimitedAPIClient`: calls to any API, made when the rate limiter admits them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tenxsom_flow_engine.errors import Busy, InvalidInput, OutOfCredit, Rejected, StoreUnavailable
from tenxsom_flow_engine.rate_limits.base import Admission, Closed, Share
from tenxsom_flow_engine.rate_limits.client import RateLimitedAPIClient
from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
from tenxsom_flow_engine.rate_limits.windows import parse_limits
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA

Client = RateLimitedAPIClient
ROOT = Path(__file__).resolve().parents[2]
LIMITS = parse_limits("alpha=2/m; beta=1/s; global=9/s")


@pytest.fixture
def ledger(tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    store = SQLiteStore(tmp_path / "jobs.sqlite3", clock)
    yield SQLiteLedger(store)
    store.close()


@pytest.fixture
def limiter(ledger: Ledger) -> RateLimiter:
    return RateLimiter(ledger, LIMITS)


@pytest.fixture
def client(limiter: RateLimiter, clock: ManualClock) -> Client:
    """Return a client that waits by moving the clock."""

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    return Client(limiter, sleep=sleep)


def counts(limiter: RateLimiter) -> dict[str, Any]:
    stats: dict[str, Any] = limiter.get_rate_limit_stats()["services"][ALPHA]
    return stats


async def add(one: int, *, other: int) -> int:
    return one + other


class Adder:
    """A callable with a coroutine `__call__`, which `inspect.iscoroutinefunction` does not recognise."""

    async def __call__(self, one: int, *, other: int) -> int:
        return one + other


def add_plainly(one: int, *, other: int) -> int:
    assert threading.current_thread() is not threading.main_thread()
    return one + other


@pytest.mark.parametrize("fn", [add, add_plainly, Adder()], ids=["coroutine", "plain", "callable"])
def test_results_pass(client: Client, fn: Callable[..., Any]) -> None:
    """A coroutine function is awaited and a plain one runs in a thread; arguments and results are passed on."""
    assert asyncio.run(client.make_request(ALPHA, fn, 40, other=2)) == 42


def test_calls_wait_for_their_turn(client: Client, limiter: RateLimiter, clock: ManualClock) -> None:
    """Calls beyond the limit are made when the windows admit them, and counted as delayed."""
    start = clock.now()
    made: list[float] = []

    async def call() -> None:
        made.append(clock.now() - start)

    async def all_of_them() -> None:
        for _ in range(5):
            await client.make_request(ALPHA, call)

    asyncio.run(all_of_them())
    assert made == [0, 0, 60, 60, 120]
    assert (counts(limiter)["admitted_at_once"], counts(limiter)["delayed"]) == (3, 2)


@pytest.mark.parametrize("plain", [False, True])
def test_errors_pass(client: Client, limiter: RateLimiter, plain: bool) -> None:
    """The caller gets the exception of a call unchanged; it affects the gate only if it concerns the service."""
    error = ValueError("mine")

    def fail() -> None:
        raise error

    async def fail_later() -> None:
        raise error

    with pytest.raises(ValueError, match="mine") as raised:
        asyncio.run(client.make_request(ALPHA, fail if plain else fail_later))
    assert raised.value is error
    with pytest.raises(Rejected):
        asyncio.run(client.make_request(ALPHA, raising(Rejected(ALPHA, "no"))))
    stats = counts(limiter)
    assert (stats["state"], stats["refused_by_service"], stats["answered"]) == ("full", 0, 0)


def raising(error: Exception) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail


def answer(status: int, **headers: str) -> Any:
    return SimpleNamespace(status_code=status, headers={name.replace("_", "-"): text for name, text in headers.items()})


def error_with(response: Any) -> Exception:
    error = requests.HTTPError("no")
    error.response = response
    return error


LATER = formatdate(1_800_000_100, usegmt=True)
NOW = formatdate(1_800_000_000, usegmt=True)
LESSONS: list[tuple[Any, str, float]] = [
    (answer(200), "open", 0),
    (answer(404), "open", 0),
    (answer(500), "open", 0),
    (answer(503), "open", 0),
    (answer(429), "closed", 30),
    (answer(429, Retry_After="77"), "closed", 77),
    (answer(429, Retry_After=LATER, Date=NOW), "closed", 100),
    (answer(529), "closed", 30),
    (answer(503, Retry_After="5"), "closed", 5),
    (SimpleNamespace(status=429, headers={}), "closed", 30),
    (error_with(answer(429, Retry_After="77")), "closed", 77),
    (error_with(answer(400)), "open", 0),
    (Busy(ALPHA, "full", retry_after=40), "closed", 40),
    (OutOfCredit(ALPHA, "no money"), "stopped", 300),
    ({"status_code": 429}, "open", 0),
    (None, "open", 0),
]


@pytest.mark.parametrize(("outcome", "state", "seconds"), LESSONS)
def test_an_outcome_changes_the_gate(ledger: Ledger, outcome: Any, state: str, seconds: float) -> None:
    """Statuses, headers and errors that report a busy or broken account close the gate for the time that they give."""
    limiter = RateLimiter(ledger, parse_limits("alpha=100/s"))
    client = Client(limiter)

    def call() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    if isinstance(outcome, Exception):
        with pytest.raises(type(outcome)):
            asyncio.run(client.make_request(ALPHA, call))
    else:
        assert asyncio.run(client.make_request(ALPHA, call)) is outcome
    stats = counts(limiter)
    assert (stats["state"], stats["opens_in"]) == (state, seconds)


def test_durations_are_counted(client: Client, limiter: RateLimiter) -> None:
    """The answers of a service are counted with their durations."""
    asyncio.run(client.make_request(ALPHA, add, 1, other=2))
    stats = counts(limiter)
    assert stats["answered"] == 1
    assert stats["response"]["p95"] > 0


def test_an_unknown_service_is_refused(client: Client) -> None:
    """The error for a service without limits lists the services that have some; no call is made."""
    with pytest.raises(InvalidInput, match="gamma") as error:
        asyncio.run(client.make_request("gamma", raising(AssertionError("called"))))
    assert "alpha, beta" in error.value.next_step


def test_a_waiting_call_that_is_cancelled_takes_nothing(limiter: RateLimiter) -> None:
    """A call that is cancelled while it waits is never made, takes no admission and is no longer a waiter."""
    reached = threading.Event()

    async def sleep(seconds: float) -> None:
        reached.set()
        await asyncio.Event().wait()

    async def cancel_one() -> None:
        for _ in range(2):
            limiter.ask(ALPHA, "other")
        call = asyncio.create_task(Client(limiter, sleep=sleep).make_request(ALPHA, raising(AssertionError("called"))))
        await asyncio.to_thread(reached.wait)
        assert counts(limiter)["waiting"] == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancel_one())  # ends when its threads have
    assert (counts(limiter)["waiting"], counts(limiter)["requests"]) == (0, 2)


def test_calls_behind_cancelled_ones_move_up(limiter: RateLimiter, clock: ManualClock) -> None:
    """Calls that wait behind cancelled ones are made in their places, and not after them."""
    some_left = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await some_left.wait()
        until = clock.now() + seconds
        while clock.now() < until:
            clock.advance(1.0)
            await asyncio.sleep(0)

    async def call_all() -> float:
        client, begin = Client(limiter, sleep=sleep), clock.now()
        calls = [asyncio.create_task(client.make_request(ALPHA, add, 1, other=2)) for _ in range(20)]
        while counts(limiter)["waiting"] < 18:
            await asyncio.sleep(0)
        for call in calls[:18]:
            call.cancel()
        while counts(limiter)["waiting"] > 2:
            await asyncio.sleep(0)
        some_left.set()
        await asyncio.gather(*calls, return_exceptions=True)
        return clock.now() - begin

    # Two a minute: the last of 20 would be made after nine minutes.
    assert asyncio.run(call_all()) < 200


def test_a_call_cancelled_at_its_admission_gives_it_back(ledger: Ledger) -> None:
    """A call that is cancelled while it is being admitted gives the admission back."""
    asked, released = threading.Event(), threading.Event()

    class SlowLimiter(RateLimiter):
        def ask(self, service: str, waiter_id: str, share: Share = Share()) -> Admission | Closed:
            asked.set()
            assert released.wait(60)
            return super().ask(service, waiter_id)

    limiter = SlowLimiter(ledger, LIMITS)

    async def cancel_one() -> None:
        call = asyncio.create_task(Client(limiter).make_request(ALPHA, raising(AssertionError("called"))))
        await asyncio.to_thread(asked.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        released.set()
        while counts(limiter)["given_back"] == 0:
            await asyncio.sleep(0)

    asyncio.run(cancel_one())
    assert counts(limiter)["windows"][0]["used"] == 0


def test_a_result_is_not_lost_with_the_store(ledger: Ledger) -> None:
    """The caller gets the result of a call even if the store became unavailable during the call."""

    class LimiterOfALostStore(RateLimiter):
        def answered(self, service: str, seconds: float) -> None:
            raise StoreUnavailable("the store is away")

    client = Client(LimiterOfALostStore(ledger, LIMITS))
    assert asyncio.run(client.make_request(ALPHA, add, 1, other=2)) == 3


class Service(BaseHTTPRequestHandler):
    """Accepts three calls, then answers 429."""

    def do_POST(self) -> None:
        self.server.calls += 1  # type: ignore[attr-defined]
        busy = self.server.calls > 3  # type: ignore[attr-defined]
        self.send_response(429 if busy else 200)
        self.send_header("Retry-After", "90")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_real_service(ledger: Ledger, clock: ManualClock) -> None:
    """A 429 of a real HTTP server with `Retry-After: 90` closes the gate for 90 seconds."""
    limiter = RateLimiter(ledger, parse_limits("alpha=9/m"))
    server = HTTPServer(("127.0.0.1", 0), Service)
    server.calls = 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    async def call_often() -> list[int]:
        client = Client(limiter, sleep=sleep)
        url = f"http://127.0.0.1:{server.server_port}/"
        return [(await client.make_request(ALPHA, requests.post, url, timeout=30)).status_code for _ in range(5)]

    try:
        assert asyncio.run(call_often()) == [200, 200, 200, 429, 429]
    finally:
        server.shutdown()
        server.server_close()
    assert sum(waits) == pytest.approx(90.0)


def test_the_guides_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented snippet works as written, with settings from the environment."""
    monkeypatch.setenv("TENXSOM_HOME", str(tmp_path))
    monkeypatch.setenv("TENXSOM_QUEUE_TYPE", "local")
    monkeypatch.setenv("TENXSOM_ENV_FILE", "")
    from rate_limiter import RateLimitedAPIClient, UseAPIRateLimiter

    async def generate_video_function() -> str:
        return "a video"

    limiter = UseAPIRateLimiter()
    client = RateLimitedAPIClient(limiter)

    async def main() -> str:
        response: str = await client.make_request("pixverse", generate_video_function)
        return response

    assert asyncio.run(main()) == "a video"
    assert limiter.get_rate_limit_stats()["efficiency_metrics"]["efficiency_score"] > 90
    assert limiter.services == ("pixverse", "ltx_studio", "heygen")
    limiter.close()
