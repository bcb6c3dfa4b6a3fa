"""A TCP proxy on a free loopback port; subclasses decide what happens to a connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod


class TcpProxy(ABC):
    """Accepts connections and serves each in a thread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @abstractmethod
    def serve(self, client: socket.socket) -> None:
        """Serve one connection, and close it at the end."""

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()


def forward(source: socket.socket, target: socket.socket) -> None:
    """Send everything that arrives at one socket to another, until either is closed."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
