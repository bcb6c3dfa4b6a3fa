"""The connection to a Redis or Valkey server: scripts, timeouts, and errors mapped to `errors.StoreError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenxsom_flow_engine.errors import StoreBroken, StoreError, StoreUnavailable
from tenxsom_flow_engine.store.redis.replies import Client, checked
from tenxsom_flow_engine.store.redis.server import Server, examine
from tenxsom_flow_engine.store.redis.server_errors import DEMOTED, code_of, store_error
from tenxsom_flow_engine.store.redis.shared_connection import SharedConnection
from tenxsom_flow_engine.store.values import StoreAdvice
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.timings import Timings

#: The scripts that continue existing jobs. A server out of memory runs them too, if it knows the flag (Redis 7), so
#: tickets are saved, and jobs can end, be cancelled and be removed.
_ALLOWED_WHEN_FULL = frozenset({"claim", "renew", "commit", "remove"})


@cache
def script(name: str, *, flags: bool = False) -> str:
    """Return the source of a script, after the functions that all scripts share; with `flags` for Redis 7 or newer."""
    folder = resources.files(__package__).joinpath("scripts")
    source = "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
    return f"#!lua flags=allow-oom\n{source}" if flags and name in _ALLOWED_WHEN_FULL else source


class Connection:
    """A server and the prefix of our keys there. Thread-safe, and safe to use after a fork."""

    def __init__(self, url: str, prefix: str, timings: Timings = Timings(), suffix: str = "") -> None:
        #: Seconds to wait for an answer.
        self.answer_timeout = timings.redis_answer
        self._file_timeout = timings.redis_file
        #: With a suffix, the keys are those of another store in the same slot of a cluster.
        self.prefix = f"{{{prefix}}}{suffix}"
        self.client: Any = _client(url, timings)
        self._shared = SharedConnection(self.client.connection_pool.make_connection)
        self._scripts: dict[str, Any] = {}
        self._server = Server()
        known = self.client.connection_pool.connection_kwargs
        host, port = known.get("host", "localhost"), known.get("port", 6379)
        self._where = known.get("path") or f"{f'[{host}]' if ':' in host else host}:{port}"
        self._cli = f"redis-cli -s {known['path']}" if "path" in known else f"redis-cli -h {host} -p {port}"
        #: The server without user and password.
        self.place = f"redis://{self._where}/{known.get('db') or 0} ({self.prefix})"

    def check_server(self) -> StoreAdvice | None:
        """Check that the server can store jobs; return a warning about their durability, or None.

        Raises `ConfigurationError` if the server is too old or would evict jobs.
        """
        with self.mapped():
            self._server = examine(self.client, self.place)
        return self._server.advice

    @property
    def waits_for_disk(self) -> bool:
        """Whether a call with `on_disk` waits for more than the server's answer."""
        return self._server.waits_for_file or self._server.waits_for_replicas > 0

    def key(self, name: str) -> str:
        """Return one of our keys."""
        return f"{self.prefix}:{name}"

    def run(self, name: str, *arguments: object, on_disk: bool = False) -> Any:
        """Run a script, loading it first if the server does not have it. Calls of several threads share a round trip.

        With `on_disk`, returns when the writes are on disk, as far as this server can guarantee that (see `server`).
        Raises `StoreUnavailable` if that takes too long; the writes are done all the same, so the call must be safe to
        repeat.
        """
        known = self._script(name)
        with self.mapped():
            if on_disk and self.waits_for_disk:
                return checked(name, self._run_and_wait(known, arguments))
            return checked(name, self._run(known, arguments))

    def run_for_bytes(self, name: str) -> Any:
        """Run a script without arguments, and return its answer undecoded."""
        with self.mapped():
            return self.client.execute_command("EVAL", self._script(name).script, 1, self.prefix, "", NEVER_DECODE=True)

    def raise_error(self, answer: object) -> None:
        """Raise the `StoreError` for an answer of a pipeline that is an error."""
        if isinstance(answer, redis.RedisError):
            raise self._error(answer) from answer

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
            else:
                self.raise_error(answer)
        with self.mapped():
            return [checked(name, answer) for answer in answers]

    def _script(self, name: str) -> Any:
        known = self._scripts.get(name)
        if known is None:
            source = script(name, flags=self._server.knows_script_flags)
            known = self._scripts.setdefault(name, self.client.register_script(source))
        return known

    def _run(self, known: Any, arguments: tuple[object, ...]) -> Any:
        try:
            return self._shared.execute("EVALSHA", known.sha, 1, self.prefix, *arguments)
        except redis.exceptions.NoScriptError:
            self.client.script_load(known.script)
            return self._shared.execute("EVALSHA", known.sha, 1, self.prefix, *arguments)

    def _run_and_wait(self, known: Any, arguments: tuple[object, ...]) -> Any:
        # On one connection: WAIT and WAITAOF wait only for the writes of their connection.
        milliseconds = int(self._file_timeout * 1000)
        replicas = self._server.waits_for_replicas
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.evalsha(known.sha, 1, self.prefix, *arguments)
            if replicas:
                pipeline.execute_command("WAIT", replicas, milliseconds)
            if self._server.waits_for_file:
                pipeline.execute_command("WAITAOF", 1, 0, milliseconds)
            answer, *kept = pipeline.execute(raise_on_error=False)
        if isinstance(answer, redis.exceptions.NoScriptError):
            self.client.script_load(known.script)
            return self._run_and_wait(known, arguments)
        for error in (answer, *kept):
            if isinstance(error, redis.RedisError):
                raise error
        if replicas and int(kept[0]) < replicas:
            raise StoreUnavailable(
                f"{kept[0]} of {plural(replicas, 'replica')} had the write after {self._file_timeout:g} s",
                next_step=f"check the server's replicas: {self._cli} INFO replication",
            )
        if self._server.waits_for_file and int(kept[-1][0]) < 1:
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
            raise self._error(error) from error

    @contextlib.contextmanager
    def decoding(self, name: str) -> Iterator[None]:
        """Raise `StoreBroken` naming one of our keys if the block cannot decode what it holds."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # msgspec's errors are ValueErrors
            key = self.key(name)
            raise StoreBroken(
                f"the key {key} on the Redis server {self._where} has a value that is not the engine's: {error}",
                next_step=f"check it, and remove it if it is foreign: {self._cli} DEL '{key}'",
            ) from error

    def _error(self, error: redis.RedisError) -> StoreError:
        if code_of(error) in DEMOTED:
            # The address can lead to a new primary by now, but an open connection stays with the old one.
            self.client.connection_pool.disconnect(inuse_connections=False)
        return store_error(error, place=self._where, client=self._cli)

    def close(self) -> None:
        """Close all connections."""
        self._shared.close()
        self.client.close()


def _client(url: str, timings: Timings) -> Any:
    """Return a client for an address. Raises `StoreBroken` without any part of it, which could be the password."""
    step = (
        "write redis://HOST:PORT/DATABASE, rediss://… or unix://… in REDIS_URL, and percent-encode special characters "
        "in the password"
    )
    try:
        parts = urlsplit(url)
        # An unescaped / ? or # in a password ends the host too early: the rest of the password would be in the path.
        if parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError
        client = Client.from_url(
            url,
            decode_responses=True,
            # Foreign bytes in our keys are kept as they are, and fail where one value is decoded.
            encoding_errors="surrogateescape",
            socket_connect_timeout=timings.redis_connect,
            socket_timeout=timings.redis_answer,
            # A call that was sent might have been executed: only the caller knows whether repeating it is safe.
            retry=Retry(NoBackoff(), 0),
        )
        client.connection_pool.make_connection()  # opens nothing, but refuses unknown options
    except ValueError:
        raise StoreBroken("the address of the Redis server is invalid", next_step=step) from None
    except TypeError:
        options = sorted(parse_qs(urlsplit(url).query))
        raise StoreBroken(f"REDIS_URL has an unknown option among {', '.join(options)}", next_step=step) from None
    authority = client.connection_pool.connection_kwargs.get("ssl_ca_certs")
    if authority and not Path(authority).is_file():
        raise StoreBroken(
            f"the file {authority} of ssl_ca_certs in REDIS_URL does not exist", next_step="correct its path"
        )
    return client
