"""A real Redis Sentinel for tests, which promotes a replica when its primary fails."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis

from tests.ports import free_port
from tests.redis_server import RedisServer, newer_binary

#: The name under which it monitors the primary.
NAME = "flow"


class RedisSentinel:
    """One sentinel, whose own opinion that the primary is down is enough."""

    def __init__(self, folder: Path, primary: RedisServer, *, replicas: int, password: str = "") -> None:
        self.port = free_port()
        self._password = password
        file = folder / "sentinel.conf"  # the sentinel keeps its state there
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {primary.port} 1\n"
            f"sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 10000\n"
            + (f"requirepass {password}\n" if password else "")
        )
        self._process = subprocess.Popen(
            [newer_binary(), str(file), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends = time.monotonic() + 60
        while not self._knows(replicas):
            assert self._process.poll() is None, "the sentinel ended"
            assert time.monotonic() < ends, "the sentinel does not find the replicas"
            time.sleep(0.02)

    def primary_port(self) -> int:
        """Return the port of the server that is the primary now."""
        with self._client() as client:
            return int(client.sentinel_get_master_addr_by_name(NAME)[1])

    def kill(self) -> None:
        """End the sentinel."""
        self._process.kill()
        self._process.wait()

    def _knows(self, replicas: int) -> bool:
        try:
            with self._client() as client:
                return len(client.sentinel_slaves(NAME)) == replicas
        except redis.RedisError:
            return False

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self._password or None, decode_responses=True)
