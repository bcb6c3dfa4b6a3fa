"""A TCP proxy whose open connections can fall silent, as behind a firewall that has forgotten them."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.tcp_proxy import TcpProxy


class SilentProxy(TcpProxy):
    """Forwards to `target` (`host:port`)."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._to = (host, int(port))
        #: Number of connections so far.
        self.connections = 0
        self._silent = 0
        self._lock = threading.Lock()
        super().__init__()
        self.target = f"127.0.0.1:{self.port}"

    def silence(self) -> None:
        """Forward nothing more on the connections that are open, and leave them open."""
        self._silent = self.connections

    def serve(self, client: socket.socket) -> None:
        """Forward in both directions until the connection falls silent."""
        server = socket.create_connection(self._to)
        with self._lock:
            self.connections += 1
            number = self.connections
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._forward, args=(number, source, sink), daemon=True).start()

    def _forward(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                if number > self._silent:
                    sink.sendall(data)
