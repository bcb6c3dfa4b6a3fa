"""A real HTTP server that hands what is posted to it to a function, as the web does with what Cloud Tasks delivers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # many deliveries begin at one instant
    daemon_threads = True


class PushTarget:
    """Listens on a free loopback port; `handle` takes body and headers and returns a status, 0 for no answer."""

    def __init__(self, handle: Callable[[bytes, Mapping[str, str]], int]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status = handle(self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers))
                if not status:
                    return  # as if this process had died
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # nobody listens any more

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
