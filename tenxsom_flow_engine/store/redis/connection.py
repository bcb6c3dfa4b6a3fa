"""The connection to a Redis or Valkey server: scripts, time-outs, and errors of our tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenxsom_flow_engine.errors import ConfigurationError, StoreBroken, StoreError, StoreFull, StoreUnavailable

#: The oldest server that has what the scripts use.
OLDEST = (6, 2)
#: Seconds to wait for a connection, and for an answer.
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 3.0, 10.0


@cache
def script(name: str) -> str:
    """Return a script with what all of them share before it."""
    folder = resources.files(__package__).joinpath("scripts")
    return "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("prelude", name))


class Connection:
    """A server, and the prefix of our keys there. Threads share it; so may the children of a fork."""

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = f"{{{prefix}}}"
        with self.mapped():
            self.client: Any = redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_connect_timeout=CONNECT_TIMEOUT,
                socket_timeout=ANSWER_TIMEOUT,
                # A call that was sent may have been carried out: only we know which may be sent again.
                retry=Retry(NoBackoff(), 0),
            )
        self._scripts: dict[str, Any] = {}
        known = self.client.connection_pool.connection_kwargs
        where = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
        #: The server without user and password.
        self.place = f"redis://{where}/{known.get('db') or 0} ({self.prefix})"

    def check_server(self) -> str:
        """See that the server can keep jobs; return what a person should know of it, or nothing.

        Raises `ConfigurationError` if it is too old or would evict them.
        """
        with self.mapped():
            found = self.client.info()
        version = tuple(map(int, str(found["redis_version"]).split(".")[:2]))
        if version < OLDEST:
            raise ConfigurationError(
                f"the Redis server {self.place} has version {found['redis_version']}", next_step="use 6.2 or newer"
            )
        policy = found.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ConfigurationError(
                f"the Redis server {self.place} throws keys away when its memory is full (maxmemory-policy {policy})",
                next_step="on the server: CONFIG SET maxmemory-policy noeviction",
            )
        if not found.get("aof_enabled"):
            return (
                f"the Redis server {self.place} keeps no append-only file, so jobs are lost when it stops; "
                "on the server: CONFIG SET appendonly yes"
            )
        return ""

    def key(self, name: str) -> str:
        """Return one of our keys."""
        return f"{self.prefix}:{name}"

    def run(self, name: str, *arguments: object) -> Any:
        """Run a script; it is loaded where the server does not know it."""
        known = self._scripts.get(name)
        if known is None:
            known = self._scripts.setdefault(name, self.client.register_script(script(name)))
        with self.mapped():
            return known(keys=[self.prefix], args=list(arguments))

    @contextlib.contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except redis.RedisError as error:
            raise _error(error) from error
        except ValueError as error:
            raise StoreBroken(
                f"the address of the Redis server is wrong: {error}", next_step="see REDIS_URL"
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self.client.close()


def _error(error: redis.RedisError) -> StoreError:
    text = str(error)
    if isinstance(error, redis.AuthenticationError | redis.exceptions.AuthorizationError):
        return StoreBroken(f"the Redis server refuses us: {text}", next_step="see user and password in REDIS_URL")
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM command" in text:  # 6.2 wraps it
        return StoreFull("the Redis server is out of memory", next_step="raise its maxmemory, or free some")
    if "MISCONF" in text:
        return StoreFull(f"the Redis server cannot write its file: {text}", next_step="see the server's disk and log")
    if isinstance(
        error, redis.ConnectionError | redis.TimeoutError | redis.exceptions.BusyLoadingError | redis.ReadOnlyError
    ):
        return StoreUnavailable(
            f"the Redis server cannot be used now: {text}", next_step="see that it runs: redis-cli ping"
        )
    return StoreBroken(f"the Redis server failed: {text}")
