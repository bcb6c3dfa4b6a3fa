"""The HTTP server with bad clients: they lose their connections, and no other client waits for them."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.wrappers import Request

from tenxsom_flow_engine.web.file_streaming import PIECE, send
from tenxsom_flow_engine.web.http_server import MAX_BODY, MAX_HEAD, Limits, Server

#: Seconds after which a test gives up. No test waits for it.
STUCK = 60.0
#: Limits that no test reaches, for a test to replace the one that it is about.
PATIENT = {"threads": 2, "waiting": 500, "request": STUCK, "idle": STUCK, "stalled": STUCK, "linger": STUCK}
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Running:
    """A server with an application that answers with what it got, and `/big` with more than the buffers hold."""

    def __init__(self, listener: socket.socket, limits: dict[str, Any]) -> None:
        self.address, self.family = listener.getsockname(), listener.family
        self.server = Server(self.answer, [listener], Limits(**(PATIENT | limits)))
        self.ended = threading.Event()
        #: Requests of `/wait` wait for the second one.
        self.begun, self.released = threading.Semaphore(0), threading.Event()
        #: The answer to `/video`.
        self.video = Path()
        self.clients = ExitStack()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def answer(self, request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = request["PATH_INFO"]
        if path == "/wait":
            self.begun.release()
            assert self.released.wait(STUCK)
        if path == "/video":
            return send(Request(request), self.video, "video/mp4", max_age=0)(request, start_response)
        facts = {name: request.get(name) for name in ("SCRIPT_NAME", "PATH_INFO")}
        sizes = {"/big": 16 << 20, "/piece": PIECE}
        body = bytes(sizes[path]) if path in sizes else json.dumps(facts).encode() + request["wsgi.input"].read()
        too_long = int(request.get("CONTENT_LENGTH", 0)) > MAX_BODY
        start_response("413 Too Long" if too_long else "200 OK", [("Content-Length", str(len(body)))])
        return [body[at : at + 65536] for at in range(0, len(body), 65536)]

    def run(self) -> None:
        while not self.ended.is_set():
            self.server.turn()
        self.server.stop()
        while self.server.connections:
            self.server.turn(0.01)
        self.server.close()

    def connect(self, request: bytes = b"") -> socket.socket:
        """Connect, and send the beginning of a request."""
        client = self.clients.enter_context(socket.socket(self.family))
        client.settimeout(STUCK)
        client.connect(self.address)
        client.sendall(request)
        return client

    def ask(self, request: bytes = GET, client: socket.socket | None = None) -> bytes:
        """Send a request and return the head of the response."""
        client = client or self.connect()
        client.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            received = client.recv(1)
            assert received, "the server closed the connection"
            head += received
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while length:
            length -= len(client.recv(length))
        return head

    def end(self) -> None:
        self.released.set()
        self.clients.close()
        if not self.ended.is_set():
            self.ended.set()
            self.server.wake()
        self.thread.join(STUCK)


@contextmanager
def serving(**limits: Any) -> Iterator[Running]:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        running = Running(listener, limits)
        try:
            yield running
        finally:
            running.end()


@pytest.mark.parametrize("start", [0, 1000, 2 * PIECE])
def test_a_resumed_download_is_complete(tmp_path: Path, start: int) -> None:
    """A client that is no player and asks for all from some byte on gets all of it in one response."""
    video = tmp_path / "video.mp4"
    video.write_bytes(os.urandom(3 * PIECE))
    with serving() as running:
        running.video = video
        url = "http://{}:{}/video".format(*running.address)
        answer = requests.get(url, headers={"Range": f"bytes={start}-"}, timeout=STUCK)
    assert (answer.status_code, answer.content) == (206, video.read_bytes()[start:])


def is_closed(client: socket.socket) -> bool:
    """Wait for more from the server, and return whether it closed the connection."""
    try:
        return not client.recv(1)
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHos",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx",
        b"NO REQUEST\r\n\r\n",
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\nx",
        GET.replace(b"/ ", b"/piece "),
    ],
    ids=["silence", "half a head", "half a body", "half a chunk", "no HTTP", "close", "too long", "a slow reader"],
)  # fmt: skip
def test_a_client_that_waits_makes_no_other_wait(begun: bytes) -> None:
    """Many clients that stop in the middle, do not read, or leave their end open, occupy no thread and no place."""
    with serving(threads=1, waiting=10) as running:
        for _ in range(30):
            running.connect(begun)
        assert running.ask().startswith(b"HTTP/1.1 200")


def test_a_unix_socket_is_served_too() -> None:
    """The server accepts connections on a Unix socket, for a proxy on the same machine."""
    # Not `tmp_path`: the address of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        running = Running(listener, {})
        try:
            assert running.ask().startswith(b"HTTP/1.1 200")
        finally:
            running.end()


def test_a_request_has_a_deadline() -> None:
    """A client that sends its request too slowly is disconnected, even if a byte arrives again and again."""
    with serving(request=0.1) as running:
        silent, dripping = running.connect(), running.connect(b"GET / HTTP/1.1\r\nX-Drip: ")
        assert is_closed(silent)
        with suppress(ConnectionError):
            while True:
                dripping.sendall(b"x")


def test_a_later_request_has_the_same_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """The deadline of a later request on a connection begins with its first byte; the log counts those connections."""
    caplog.set_level(logging.INFO)
    with serving(request=0.1) as running:
        idle, late = running.connect(), running.connect()
        for client in (idle, late):
            running.ask(client=client)
        late.sendall(b"GET ")
        assert is_closed(late)
        running.ask(client=idle)
    assert "1 clients sent no complete request" in caplog.text


def test_an_idle_connection_is_closed_in_the_end() -> None:
    """A client that sends no further request is disconnected after the time for idle connections."""
    with serving(idle=0.1) as running:
        client = running.connect()
        running.ask(client=client)
        assert is_closed(client)


def test_the_oldest_silent_client_makes_room() -> None:
    """Beyond the maximum number of waiting connections the oldest are closed; those after a response count apart."""
    with serving(waiting=3) as running:
        kept = running.connect()
        running.ask(client=kept)
        silent = [running.connect() for _ in range(6)]
        assert [is_closed(client) for client in silent[:3]] == [True] * 3
        running.ask(client=kept)
        running.ask(client=silent[5])


def test_a_client_that_does_not_read_is_disconnected() -> None:
    """A client that stops reading frees the thread that waits for it."""
    with serving(threads=1, stalled=0.1) as running:
        stalled = running.connect(GET.replace(b"/ ", b"/big "))
        assert running.ask().startswith(b"HTTP/1.1 200")
        received = 0
        try:
            while more := stalled.recv(65536):
                received += len(more)
        except ConnectionError:
            pass
        assert received < 16 << 20


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
    ],
)
def test_what_is_no_valid_request_is_refused(request_: bytes, status: int) -> None:
    """A request that is no valid HTTP is refused as JSON, with the headers of every response."""
    with serving() as running:
        head = running.ask(request_)
        assert int(head.split()[1]) == status
        assert (b"nosniff" in head, b"Content-Security-Policy" in head) == ((status >= 400,) * 2)
        assert running.ask().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("line", [b"Cookie: secret\r: 1", b" secret: 1"])
def test_a_refusal_quotes_no_header(line: bytes) -> None:
    """The response to an invalid request does not quote its headers, which can be cookies or tokens."""
    with serving() as running:
        client = running.connect(b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: localhost\r\n\r\n")
        answer = b""
        while received := client.recv(65536):
            answer += received
            if answer.endswith(b"}}"):
                break
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"secret" not in answer


def test_a_client_that_leaves_at_once_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A client that resets its connection before the response arrives causes no line in the log."""
    with serving() as running:
        for request in (b"NO REQUEST\r\n\r\n", GET, GET.replace(b"/ ", b"/big ")) * 30:
            with socket.create_connection(running.address) as client:
                client.sendall(request)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert running.ask().startswith(b"HTTP/1.1 200")
    assert caplog.messages == []


def test_a_long_body_is_taken_up_to_the_limit() -> None:
    """The longest allowed body reaches the application, which refuses a longer one while the client still sends it."""
    with serving() as running:
        start = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        assert running.ask(start % MAX_BODY + bytes(MAX_BODY)).startswith(b"HTTP/1.1 200")
        for rest in (bytes(4 * MAX_BODY), GET * (4 * MAX_BODY // len(GET))):
            client = running.connect()
            assert running.ask(start % len(rest) + rest, client).startswith(b"HTTP/1.1 413")
            assert is_closed(client)
        chunks = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (2 * MAX_BODY)
        assert running.ask(chunks + bytes(2 * MAX_BODY)).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("path", [b"/piece", b"/"])
def test_a_client_that_pipelines_makes_no_other_wait(path: bytes) -> None:
    """Requests that are sent before the responses are read occupy no thread; read, they are answered in order."""
    many = 300
    asked = b"".join(GET.replace(b"/ ", path + b"?%d " % number) for number in range(many))
    with serving(threads=1) as running:
        clients = [running.connect(asked) for _ in range(8)]
        for _ in range(10):
            assert running.ask().startswith(b"HTTP/1.1 200")
        if path == b"/piece":
            # Each waits for its client after one response: the rest is not even parsed.
            held = [len(one.requests) or one.total_outbufs_len for one in running.server.connections]
            assert max(held) <= PIECE + MAX_HEAD
        for _ in range(many):
            assert running.ask(b"", clients[0]).startswith(b"HTTP/1.1 200")
        assert running.ask(GET, clients[0]).startswith(b"HTTP/1.1 200")


def test_a_refused_upload_after_other_requests_is_answered() -> None:
    """A client that sends requests and a body that is too long, without reading, gets all responses."""
    upload = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (4 * MAX_BODY)
    with serving(threads=1) as running:
        client = running.connect()
        sending = threading.Thread(target=client.sendall, args=(GET * 20 + upload + bytes(4 * MAX_BODY),))
        sending.start()
        for _ in range(20):
            assert running.ask(b"", client).startswith(b"HTTP/1.1 200")
        assert running.ask(b"", client).startswith(b"HTTP/1.1 413")
        sending.join(STUCK)
        assert is_closed(client)


def test_a_header_does_not_change_the_address() -> None:
    """Headers with the names of WSGI's variables are headers and nothing else."""
    with serving() as running:
        client = running.connect(b"GET /a HTTP/1.0\r\nSCRIPT_NAME: /a\r\nScript-Name: /a\r\nPATH_INFO: /b\r\n\r\n")
        response = b""
        while more := client.recv(65536):
            response += more
        assert json.loads(response.partition(b"\r\n\r\n")[2]) == {"SCRIPT_NAME": "", "PATH_INFO": "/a"}


def test_a_stop_lets_running_requests_finish() -> None:
    """After a stop a running request is answered, its connection closed, and idle connections are closed."""
    with serving(stopping=0.1) as running:
        idle, busy = running.connect(), running.connect(GET.replace(b"/ ", b"/wait "))
        running.ask(client=idle)
        assert running.begun.acquire(timeout=STUCK)
        running.ended.set()
        running.server.wake()
        assert is_closed(idle)
        running.released.set()
        response = b""
        while more := busy.recv(65536):
            response += more
        assert response.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in response
        running.thread.join(STUCK)
        assert not running.thread.is_alive()


def test_the_connections_leave_descriptors_for_the_engine() -> None:
    """The limits of connections follow the limit of the process's file descriptors."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
        assert Limits(threads=1, waiting=500).within_descriptors().waiting == 50
        assert Limits(threads=1, waiting=40).within_descriptors().waiting == 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
