"""The connection to a Redis or Valkey server: scripts, timeouts, and errors mapped to `errors.StoreError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

import redis

from tenxsom_flow_engine.errors import StoreBroken, StoreError, StoreUnavailable
from tenxsom_flow_engine.store.redis.client import open_client
from tenxsom_flow_engine.store.redis.replies import checked
from tenxsom_flow_engine.store.redis.server import Server, examine
from tenxsom_flow_engine.store.redis.server_errors import DEMOTED, code_of, store_error
from tenxsom_flow_engine.store.redis.shared_connection import SharedConnection
from tenxsom_flow_engine.store.values import StoreAdvice
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.timings import Timings

#: The scripts that continue existing jobs. A server out of memory runs them too, if it knows the flag (Redis 7), so
#: tickets are saved, and jobs can end, be cancelled and be removed.
_ALLOWED_WHEN_FULL = frozenset({"claim", "renew", "commit", "remove"})
#: The scripts that a store runs even if its jobs have moved to another.
_ON_MOVED = frozenset({"dump", "exchange", "freeze", "thaw"})
#: Files with functions, and the scripts that use them.
_PARTS = {
    "charges": frozenset({"commit", "adopt", "amounts", "seed_charges", "charges_back"}),
    "turns": frozenset({"claim", "commit"}),
    "outbox": frozenset({"commit", "put_memo", "set_queue"}),
}


@cache
def script(name: str, *, flags: bool = False) -> str:
    """Return the source of a script, after the functions that all scripts share; with `flags` for Redis 7 or newer."""
    folder = resources.files(__package__).joinpath("scripts")
    guard = () if name in _ON_MOVED else ("moved",)
    parts = ("prelude", *guard, *(part for part, users in _PARTS.items() if name in users), name)
    source = "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in parts)
    return f"#!lua flags=allow-oom\n{source}" if flags and name in _ALLOWED_WHEN_FULL else source


def escaped(text: str) -> str:
    """Return a text as a pattern of the server's that matches only itself."""
    return "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in text)


class Connection:
    """A server and the prefix of our keys there. Thread-safe, and safe to use after a fork."""

    def __init__(self, url: str, prefix: str, timings: Timings = Timings(), suffix: str = "") -> None:
        #: Seconds to wait for an answer.
        self.answer_timeout = timings.redis_answer
        self._file_timeout = timings.redis_file
        #: With a suffix, the keys are those of another store in the same slot of a cluster.
        self.prefix = f"{{{prefix}}}{suffix}"
        self._opened = open_client(url, timings)
        self.client: Any = self._opened.client
        self._shared = SharedConnection(self.client.connection_pool.make_connection)
        self._scripts: dict[str, Any] = {}
        self._server = Server()
        #: The server without user and password.
        self.place = f"{self._opened.place} ({self.prefix})"

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
                next_step=f"check the server's replicas: {self._opened.command_line} INFO replication",
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
            key, opened = self.key(name), self._opened
            raise StoreBroken(
                f"the key {key} on the Redis server {opened.server} has a value that is not the engine's: {error}",
                next_step=f"check it, and remove it if it is foreign: {opened.command_line} DEL '{key}'",
            ) from error

    def _error(self, error: redis.RedisError) -> StoreError:
        if code_of(error) in DEMOTED:
            # The address can lead to a new primary by now, but an open connection stays with the old one.
            self.client.connection_pool.disconnect(inuse_connections=False)
        return store_error(error, **self._opened.name(error))

    def close(self) -> None:
        """Close all connections."""
        self._shared.close()
        self._opened.close()
