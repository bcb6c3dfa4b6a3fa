"""An HTTP server for the certificates of the tokens, in the format of www.googleapis.com/oauth2/v1/certs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tenxsom_flow_engine.emulator.tokens import TokenIssuer

PATH = "/oauth2/v1/certs"


class CertificateServer:
    """Serves `{key id: PEM}` on the loopback interface."""

    def __init__(self, tokens: TokenIssuer, *, port: int = 0, max_age: int = 3600) -> None:
        #: Number of requests so far.
        self.fetches = 0
        #: While true, every answer is 503.
        self.down = False
        self._tokens = tokens
        self._max_age = max_age
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="certificates")
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetches += 1
                found = self.path.partition("?")[0] == PATH
                body = json.dumps(outer._tokens.certificates() if found else {"error": "not found"}).encode()
                self.send_response(503 if outer.down else 200 if found else 404)
                self.send_header("Content-Type", "application/json; charset=UTF-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", f"public, max-age={outer._max_age}, must-revalidate, no-transform")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing: the emulator logs only deliveries."""

        return Handler
