"""gunicorn's worker process around `http_server`: gunicorn starts, watches and stops it."""

from __future__ import annotations

import os
import time
from typing import Any

from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker

from tenxsom_flow_engine.web.http_server import Limits, Server
from tenxsom_flow_engine.web.wsgi import Application


class BufferingWorker(Worker):  # type: ignore[misc]
    """A worker in which only complete requests occupy a thread."""

    server: Server | None = None

    def run(self) -> None:
        """Serve until a signal, or the end of the master, stops it; then let running requests finish."""
        if self.cfg.is_ssl:
            raise AppImportError("error: this worker does not serve TLS; use a proxy, as in deploy/Caddyfile")
        limits = Limits(
            threads=self.cfg.threads, waiting=max(self.cfg.worker_connections // 2, 1), idle=self.cfg.keepalive
        )
        self.server = Server(self.wsgi, [listener.sock for listener in self.sockets], limits.within_descriptors())
        while self.alive and self.ppid == os.getppid():
            self.notify()
            self.server.turn()
        self.server.stop()
        if isinstance(self.wsgi, Application):
            self.wsgi.drain()
        end = time.monotonic() + self.cfg.graceful_timeout
        while self.server.connections and time.monotonic() < end:
            self.notify()
            self.server.turn(0.1)
        if not self.server.connections:
            self.server.close()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin the graceful stop (SIGTERM)."""
        self.alive = False
        if self.server is not None:
            self.server.wake()
