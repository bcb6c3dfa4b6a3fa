"""The connection to a Redis or Valkey server: scripts, timeouts, and errors mapped to `errors.StoreError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenxsom_flow_engine.errors import StoreBroken, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.store.redis.server import Server, examine
from tenxsom_flow_engine.store.values import StoreAdvice
from tenxsom_flow_engine.timings import Timings


@cache
def script(name: str) -> str:
    """Return the source of a script, after the functions that all scripts share."""
    folder = resources.files(__package__).joinpath("scripts")
    return "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("prelude", name))


class Connection:
    """A server and the prefix of our keys there. Thread-safe, and safe to use after a fork."""

    def __init__(self, url: str, prefix: str, timings: Timings = Timings()) -> None:
        #: Seconds to wait for an answer.
        self.answer_timeout = timings.redis_answer
        self._file_timeout = timings.redis_file
        self.prefix = f"{{{prefix}}}"
        with self.mapped():
            self.client: Any = redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_connect_timeout=timings.redis_connect,
                socket_timeout=timings.redis_answer,
                # A call that was sent might have been executed: only the caller knows whether repeating it is safe.
                retry=Retry(NoBackoff(), 0),
            )
        self._scripts: dict[str, Any] = {}
        self._server = Server()
        known = self.client.connection_pool.connection_kwargs
        where = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
        #: The server without user and password.
        self.place = f"redis://{where}/{known.get('db') or 0} ({self.prefix})"

    def check_server(self) -> StoreAdvice | None:
        """Check that the server can store jobs; return a warning about their durability, or None.

        Raises `ConfigurationError` if the server is too old or would evict jobs.
        """
        with self.mapped():
            self._server = examine(self.client, self.place)
        return self._server.advice

    def key(self, name: str) -> str:
        """Return one of our keys."""
        return f"{self.prefix}:{name}"

    def run(self, name: str, *arguments: object, on_disk: bool = False) -> Any:
        """Run a script, loading it first if the server does not have it.

        With `on_disk`, returns when the writes are on disk, as far as this server can guarantee that (see `server`).
        Raises `StoreUnavailable` if that takes too long; the writes are done all the same, so the call must be safe to
        repeat.
        """
        known = self._script(name)
        with self.mapped():
            if on_disk and self._server.waits_for_file:
                return self._run_and_wait(known, arguments)
            return known(keys=[self.prefix], args=arguments)

    def run_each(self, name: str, calls: Sequence[Sequence[object]]) -> list[Any]:
        """Run a script once for each list of arguments, in one round trip."""
        known = self._script(name)
        with self.mapped(), self.client.pipeline(transaction=False) as pipeline:
            for arguments in calls:
                pipeline.evalsha(known.sha, 1, self.prefix, *arguments)
            answers = pipeline.execute(raise_on_error=False)
        for index, answer in enumerate(answers):
            if isinstance(answer, redis.exceptions.NoScriptError):
                answers[index] = self.run(name, *calls[index])  # loads it
            elif isinstance(answer, redis.RedisError):
                raise _error(answer) from answer
        return list(answers)

    def _script(self, name: str) -> Any:
        known = self._scripts.get(name)
        return known or self._scripts.setdefault(name, self.client.register_script(script(name)))

    def _run_and_wait(self, known: Any, arguments: tuple[object, ...]) -> Any:
        # On one connection: WAITAOF waits only for the writes of its connection.
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.evalsha(known.sha, 1, self.prefix, *arguments)
            pipeline.execute_command("WAITAOF", 1, 0, int(self._file_timeout * 1000))
            answer, kept = pipeline.execute(raise_on_error=False)
        if isinstance(answer, redis.exceptions.NoScriptError):
            self.client.script_load(known.script)
            return self._run_and_wait(known, arguments)
        for error in (answer, kept):
            if isinstance(error, redis.RedisError):
                raise error
        if int(kept[0]) < 1:
            raise StoreUnavailable(
                f"the Redis server has not synced its append-only file within {self._file_timeout:g} s",
                next_step="check the server's disk, and CONFIG GET appendfsync",
            )
        return answer

    @contextlib.contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn the driver's errors into `StoreError`."""
        try:
            yield
        except redis.RedisError as error:
            raise _error(error) from error
        except ValueError:
            # The parser's message can contain a part of the password.
            raise StoreBroken(
                "the address of the Redis server is invalid",
                next_step="write redis://HOST:PORT/DATABASE, rediss://… or unix://… in REDIS_URL, and percent-encode "
                "special characters in the password",
            ) from None

    def close(self) -> None:
        """Close all connections."""
        self.client.close()


def _error(error: redis.RedisError) -> StoreError:
    text = str(error)
    if isinstance(error, redis.AuthenticationError | redis.exceptions.AuthorizationError):
        return StoreBroken(f"the Redis server rejected the login: {text}", next_step="check the login in REDIS_URL")
    if isinstance(error, redis.exceptions.NoPermissionError):
        return StoreBroken(
            f"the Redis user lacks a permission: {text}",
            next_step="run, with your REDIS_QUEUE_KEY for KEY: ACL SETUSER USER ~KEY ~{KEY}* +@all -@admin",
        )
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM command" in text:  # 6.2 wraps it
        return StoreFull("the Redis server is out of memory", next_step="raise its maxmemory, or free some memory")
    if "MISCONF" in text:
        return StoreFull(f"the Redis server cannot write to disk: {text}", next_step="check the server's disk and log")
    if isinstance(
        error, redis.ConnectionError | redis.TimeoutError | redis.exceptions.BusyLoadingError | redis.ReadOnlyError
    ):
        wrong_certificate = "CERTIFICATE" in text
        return StoreUnavailable(
            f"the Redis server cannot be used now: {text}",
            next_step="give its certificate authority with ?ssl_ca_certs=FILE in REDIS_URL"
            if wrong_certificate
            else "check that it is running: redis-cli ping",
        )
    return StoreBroken(f"the Redis server failed: {text}")
