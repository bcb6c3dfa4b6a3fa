"""A real HTTP server for tests to deliver to: it answers by script, and remembers what it was sent."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request; the names of its headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    """What a request is answered with; with `held`, not before that event is set."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    held: threading.Event | None = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class HttpTarget:
    """Listens on a free port of the loopback interface. After its script's end it answers 200 to everything."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.received: list[Received] = []
        self.started = threading.Semaphore(0)  # one for each request that has come in
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.address}/process"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def answer(self, *replies: int | Reply) -> None:
        """Add to the script."""
        self.script.extend(Reply(reply) if isinstance(reply, int) else reply for reply in replies)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        target = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with target._lock:
                    target.received.append(Received(self.command, self.path, headers, body))
                    answer = target.script.popleft() if target.script else Reply()
                target.started.release()
                if answer.held is not None:
                    answer.held.wait()
                try:
                    self.send_response(answer.status)
                    for name, value in {"Content-Length": "0", **answer.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                except OSError:
                    pass  # nobody listens any more

            do_POST = do_GET = do_PUT = do_DELETE = reply

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
