"""Calls over a real socket: what each fault proves about a purchase, and the time limits of calls."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from urllib3 import PoolManager

from tenxsom_flow_engine.errors import (
    Busy,
    ConfigurationError,
    OutOfCredit,
    Rejected,
    ServiceError,
    Transient,
    Uncertain,
)
from tenxsom_flow_engine.services.http.client import MAX_ANSWER, HttpApi, ProcessConnections, make_connections, post
from tenxsom_flow_engine.services.http.config import check_base_url, check_key
from tenxsom_flow_engine.services.http.connection import send
from tenxsom_flow_engine.services.http.fake_server import (
    At,
    Cut,
    FakeServer,
    Fault,
    Hang,
    Reply,
    Request,
    Trickle,
)
from tenxsom_flow_engine.services.http.responses import ErrorRow
from tenxsom_flow_engine.timings import CallTimeouts, Timings
from tests.ports import free_port

KEY = "a-key-that-must-appear-nowhere"
ROWS = (
    ErrorRow(400, Rejected, "no such model", "change it"),
    ErrorRow(402, OutOfCredit, "no money", code="insufficient"),
    ErrorRow(402, Rejected, "this plan does not have it"),
    ErrorRow(429, Busy, "too many"),
    ErrorRow(503, Transient, "it is down"),
)
#: For calls that must time out.
SHORT = CallTimeouts(connect=0.6, read=0.6, total=1.2)


class Echo(FakeServer):
    """Sells on every order."""

    sold = 0
    connections = 0

    def opened(self, connection: socket.socket) -> Cut | Hang | None:
        with self.lock:
            self.connections += 1
        return super().opened(connection)

    def route(self, request: Request) -> str:
        return "order" if request.method == "POST" else "read"

    def work(self, route: str, request: Request) -> Reply:
        if route == "order":
            self.sold += 1
        return Reply(200, {"id": "v-1", "sent": request.json()})


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def api(url: str, **changes: Any) -> HttpApi:
    options: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {KEY}"}, "secrets": [KEY], "errors": ROWS,
    }  # fmt: skip
    return HttpApi("echo", url, **(options | changes))


def hurried(url: str) -> HttpApi:
    """Return a client with short time limits."""
    return api(url, timings=Timings(read_call=SHORT, paid_call=SHORT))


def ordered(client: HttpApi) -> ServiceError:
    """Send an order that must fail, and return its error."""
    with pytest.raises(ServiceError) as caught:
        client.result(client.post_paid(post("/videos", {"prompt": "x"})), paid=True)
    return caught.value


def test_calls_and_their_answers(echo: Echo) -> None:
    """A call sends the key and the content, and returns the object of the answer."""
    client = api(echo.url + "/v2/")
    assert client.result(client.get("/videos/a:b@c", {"limit": 40}))["id"] == "v-1"
    answer = client.post_paid(post("/videos", {"prompt": "x"}), {"Idempotency-Key": "k"})
    assert client.result(answer, paid=True)["sent"] == {"prompt": "x"}
    (read,), (order,) = echo.seen["read"], echo.seen["order"]
    assert read.path == "/v2/videos/a:b@c?limit=40"
    assert read.headers["Authorization"] == order.headers["Authorization"] == f"Bearer {KEY}"
    assert order.headers["Idempotency-Key"] == "k"
    assert order.headers["User-Agent"].startswith("tenxsom-flow-engine/")


UNCERTAIN: dict[str, Fault] = {
    "cut after it was read": Cut(At.READ),
    "cut when it was done": Cut(At.DONE),
    "cut in the answer": Cut(At.ANSWERING),
    "no answer": Hang(At.READ),
    "half an answer": Hang(At.ANSWERING),
    "a slow answer": Trickle(),
    "a slow head": Trickle(head=True),
    "no JSON": Reply(200, b"<html>fine</html>", done=True),
    "half a JSON": Reply(200, b'{"id": "v-', done=True),
    "no object": Reply(200, ["v-1"], done=True),
    "nothing": Reply(204, b"", done=True),
    "too much": Reply(200, b'{"id": "' + b"v" * MAX_ANSWER + b'"}', done=True),
    "wrong bytes": Reply(200, b"\xff\xfe\x00", done=True),
    "a deep answer": Reply(200, b"[" * 200_000, done=True),
    "a redirect": Reply(302, b"", {"Location": "/elsewhere"}),
    "500": Reply(500, {"error": "x"}),
    "503": Reply(503, {"error": "x"}),
    "a gateway's page": Reply(502, b"<html>bad gateway</html>"),
    "an undocumented refusal": Reply(418, {"error": "teapot"}),
}


@pytest.mark.parametrize("fault", UNCERTAIN.values(), ids=UNCERTAIN)
def test_what_proves_nothing_about_a_purchase(echo: Echo, fault: Fault) -> None:
    """Once a byte of an order was sent, every result except a good answer or a documented refusal is uncertain."""
    echo.faults["order"].append(fault)
    error = ordered(hurried(echo.url) if isinstance(fault, Hang | Trickle) else api(echo.url))
    assert type(error) is Uncertain
    assert len(echo.seen["order"]) == 1
    assert KEY not in str(error)


@pytest.mark.parametrize("fault", [Cut(At.UNREAD), Hang(At.UNREAD)])
def test_a_connection_that_breaks_before_it_was_read_is_uncertain_all_the_same(echo: Echo, fault: Cut | Hang) -> None:
    """A client cannot know that the server has read nothing."""
    echo.unread.append(fault)
    assert type(ordered(hurried(echo.url))) is Uncertain
    assert echo.sold == 0


def test_an_order_is_never_sent_twice_nor_over_an_old_connection(echo: Echo) -> None:
    """A kept-alive connection that has died since does not affect an order, which uses a new one."""
    client = api(echo.url)
    client.get("/videos")
    echo.hang_up()
    assert client.result(client.post_paid(post("/videos", {})), paid=True)["id"] == "v-1"
    assert echo.sold == 1


REFUSALS: list[tuple[Reply, type[ServiceError], str]] = [
    (Reply(400, {"error": "model v9"}), Rejected, "echo: no such model (HTTP 400): model v9 (change it)"),
    (Reply(400, b"<html>"), Rejected, "echo: no such model (HTTP 400) (change it)"),
    (Reply(402, {"error": {"code": "insufficient"}}), OutOfCredit, "echo: no money (HTTP 402)"),
    (Reply(402, {"error": "plan"}), Rejected, "echo: this plan does not have it (HTTP 402): plan"),
    (Reply(429, {}, {"x-request-id": "r-1"}), Busy, "echo: too many (HTTP 429, request r-1)"),
]


@pytest.mark.parametrize(("reply", "kind", "words"), REFUSALS)
@pytest.mark.parametrize("broken", [False, True])
def test_documented_refusals_are_proof(
    echo: Echo, reply: Reply, kind: type[ServiceError], words: str, broken: bool
) -> None:
    """A refusal in the table proves that nothing was bought, even if its body is incomplete."""
    if broken:
        reply = Reply(reply.status, b"{", {"Content-Length": "99", "Connection": "close"})
    echo.faults["order"].append(reply)
    error = ordered(api(echo.url))
    assert not isinstance(error, Transient)
    if not broken:
        assert (type(error), str(error)) == (kind, words)


@pytest.mark.parametrize(("header", "seconds"), [(None, 30.0), ("5", 30.0), ("90", 90.0), ("1e9", 86400.0)])
def test_the_pause_of_a_busy_service(echo: Echo, header: str | None, seconds: float) -> None:
    """The pause after a busy answer is as long as the service asks, at least half a minute and at most a day."""
    echo.faults["order"].append(Reply(429, {}, {} if header is None else {"Retry-After": header}))
    assert ordered(api(echo.url)).retry_after == seconds


READ_FAULTS = [*UNCERTAIN.values(), Cut(At.READ)]


@pytest.mark.parametrize("fault", READ_FAULTS, ids=[*UNCERTAIN, "cut"])
def test_a_read_that_fails_is_transient(echo: Echo, fault: Fault) -> None:
    """The same faults of a call that costs nothing are transient errors."""
    echo.faults["read"].append(fault)
    client = hurried(echo.url) if isinstance(fault, Hang | Trickle) else api(echo.url)
    with pytest.raises(ServiceError) as caught:
        client.result(client.get("/videos"))
    assert type(caught.value) is Transient


def test_a_refused_connection_proves_that_nothing_was_bought() -> None:
    """A refused connection is transient: nothing was bought."""
    error = ordered(api(f"http://127.0.0.1:{free_port()}"))
    assert type(error) is Transient
    assert "Connection refused" in str(error)
    assert "can reach 127.0.0.1" in error.next_step


def test_an_unknown_name_proves_that_nothing_was_bought(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that cannot be resolved is transient: nothing was bought."""

    def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = ordered(api("https://nowhere.example"))
    assert type(error) is Transient
    assert "Name or service not known" in str(error)


def test_a_connect_timeout_proves_that_nothing_was_bought() -> None:
    """A connection that times out because of a full backlog is transient: nothing was bought."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        waiting = []
        for _ in range(4):  # fill the backlog
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(address)
            waiting.append(caller)
        error = ordered(hurried(f"http://127.0.0.1:{address[1]}"))
        for caller in waiting:
            caller.close()
    assert type(error) is Transient
    assert "no connection" in str(error)


def test_a_failing_handshake_proves_that_nothing_was_bought(echo: Echo) -> None:
    """A failing TLS handshake is transient: no byte of the order was sent."""
    error = ordered(api(echo.url.replace("http:", "https:")))
    assert type(error) is Transient
    assert echo.seen["order"] == []


def test_a_handshake_that_hangs_proves_that_nothing_was_bought(echo: Echo) -> None:
    """A TLS handshake that times out is transient: no byte of the order was sent."""
    echo.unread.append(Hang(At.UNREAD))
    error = ordered(hurried(echo.url.replace("http:", "https:")))
    assert type(error) is Transient


def test_an_order_is_not_sent_after_its_time(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is delayed beyond the deadline of its create does not send it."""
    resolve = socket.getaddrinfo
    client = api(echo.url, timings=Timings(paid_call=CallTimeouts(connect=5.0, read=5.0, total=0.05)))

    def slowly(*arguments: Any, **options: Any) -> Any:
        from tenxsom_flow_engine.services.http.connection import _current

        exchange = _current.get()
        while exchange is not None and not exchange.over:
            os.sched_yield()
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    assert type(ordered(client)) is Transient
    assert echo.seen["order"] == []


def test_requests_start_no_threads(echo: Echo) -> None:
    """One thread watches the deadlines of all requests, however many have been sent."""
    client = api(echo.url)
    client.get("/videos")
    during: list[threading.Thread] = []
    echo.on_moment = lambda route, at, request: during.extend(threading.enumerate())
    for _ in range(3):
        client.get("/videos")
        client.post_paid(post("/videos", {}))
    names = Counter(thread.name for thread in set(during))
    assert names["deadlines"] == 1
    assert not any(isinstance(thread, threading.Timer) for thread in during)


def test_reads_of_many_threads_keep_their_connections(echo: Echo) -> None:
    """As many reads as a worker has threads use the same connections again."""
    client, together = api(echo.url), threading.Barrier(64, timeout=60.0)

    def wait_for_all(route: str, at: At, request: Request) -> None:
        if at is At.READ:
            together.wait()

    echo.on_moment = wait_for_all
    for _ in range(3):
        with ThreadPoolExecutor(64) as threads:
            assert all(answer.good for answer in threads.map(client.get, ["/videos"] * 64))
    assert echo.connections == 64


def test_a_key_that_a_service_repeats_is_redacted(echo: Echo) -> None:
    """A key in a service's error message is redacted."""
    echo.faults["order"].append(Reply(400, {"error": f"bad Bearer {KEY} \x1b[2J"}))
    assert str(ordered(api(echo.url))) == "echo: no such model (HTTP 400): bad Bearer *** [2J (change it)"


def test_a_child_has_separate_connections(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork, parent and child do not share connections."""
    connections = ProcessConnections(make_connections)
    before = connections.get()
    assert connections.get() is before
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a child
    assert connections.get() is not before


@pytest.mark.parametrize("url", ["https://api.useapi.net/v2", "http://127.0.0.1:8080", "http://localhost/x"])
def test_addresses_that_may_get_a_key(url: str) -> None:
    """A base URL with TLS or on this machine is accepted."""
    assert check_base_url("X_URL", url) == url


@pytest.mark.parametrize(
    "url",
    ["http://api.useapi.net/v2", "ftp://x", "api.useapi.net", "https://", "https://u:p@x", "https://x?y", "http://["],
)
def test_addresses_that_may_not(url: str) -> None:
    """Any other base URL is refused with the name of its variable."""
    with pytest.raises(ConfigurationError, match="X_URL"):
        check_base_url("X_URL", url)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ", "a\rb"])
def test_keys_that_no_header_can_hold(key: str) -> None:
    """A malformed key is refused with the name of its variable, and is not shown."""
    with pytest.raises(ConfigurationError, match="X_KEY") as refusal:
        check_key("X_KEY", key)
    assert key not in str(refusal.value)


class Recorder(PoolManager):
    """Records the options of a request instead of sending it."""

    def request(self, *arguments: Any, **options: Any) -> Any:
        self.options = options


def test_the_time_limits_of_a_connect_and_a_read_are_separate() -> None:
    recorder = Recorder()
    send(recorder, "GET", "http://vendor.test", headers={}, timeouts=CallTimeouts(connect=1.0, read=2.0, total=3.0))
    timeout = recorder.options["timeout"]
    assert (timeout.connect_timeout, timeout.read_timeout) == (1.0, 2.0)
