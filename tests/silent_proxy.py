"""A TCP proxy whose open connections can fall silent, as behind a firewall that has forgotten them."""

from __future__ import annotations

import contextlib
import socket
import threading


class SilentProxy:
    """Listens on a free loopback port and forwards to `target` (`host:port`)."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        #: Number of connections so far.
        self.connections = 0
        self._silent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Forward nothing more on the connections that are open, and leave them open."""
        self._silent = self.connections

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(self._to)
            self.connections += 1
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(self.connections, source, sink), daemon=True).start()

    def _forward(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                if number > self._silent:
                    sink.sendall(data)
