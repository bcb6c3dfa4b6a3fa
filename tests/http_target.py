"""HTTP servers that receive deliveries in tests and answer with a function or a script."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from requests.structures import CaseInsensitiveDict


@dataclass(frozen=True)
class Received:
    """A received request. Header names are in lower case; lookups ignore case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    """An answer. If `held` is given, it is sent after that event is set."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    held: threading.Event | None = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # many deliveries start at the same time


class HttpTarget:
    """Listens on a free loopback port. If `answer` returns None, the connection closes without an answer."""

    def __init__(self, answer: Callable[[Received], Reply | None]) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(answer))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.address}/process"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class ScriptedTarget(HttpTarget):
    """Answers from a script, then with 200; records all requests."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.received: list[Received] = []
        self.started = threading.Semaphore(0)  # released once for each request
        self._lock = threading.Lock()
        super().__init__(self._next)

    def answer(self, *replies: int | Reply) -> None:
        """Append replies to the script."""
        self.script.extend(Reply(reply) if isinstance(reply, int) else reply for reply in replies)

    def _next(self, received: Received) -> Reply:
        with self._lock:
            self.received.append(received)
            reply = self.script.popleft() if self.script else Reply()
        self.started.release()
        return reply


def _handler(answer: Callable[[Received], Reply | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = CaseInsensitiveDict({name.lower(): value for name, value in self.headers.items()})
            reply = answer(Received(self.command, self.path, headers, body))
            if reply is None:
                return  # as if the server process had died
            if reply.held is not None:
                reply.held.wait()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Length": "0", **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
            except OSError:
                pass  # the client has disconnected

        do_POST = do_GET = do_PUT = do_DELETE = reply

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
