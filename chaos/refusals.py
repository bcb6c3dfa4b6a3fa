"""Every error reply of a Redis server that passes, each from a real cause where a single server can have it.

Scripts that run for long, missing replicas, changes of the role and a slow start are real. The proxy in front of the
server gives the replies of a cluster's node, and the form that Redis 6.2 gives to replies inside scripts.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.redis_proxy import RedisProxy
from tests.redis_server import RedisServer

#: Keys and bytes that make the server load slowly: it answers after every two megabytes.
_FILLER_KEYS, _FILLER_SIZE = 200, 100_000
_FILL = "for n = 1, ARGV[1] do redis.call('SET', 'filler:' .. n, string.rep(n % 10, ARGV[2])) end"
_ENDLESS = "while true do redis.call('TIME') end"
#: Seconds between two changes of the server's role, and between two tries to end a script.
_ROLE_SECONDS, _TRY_SECONDS = 0.05, 0.02
#: No server listens here.
_NOWHERE = ("127.0.0.1", 1)
#: The replies that the proxy gives to every command, by name.
_REPLIES = {
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "CLUSTERDOWN of a slot": "CLUSTERDOWN Hash slot not served",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "UNBLOCKED": "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
}
#: The replies that the proxy gives to scripts only, by name: in the form of Redis 6.2.
_IN_SCRIPTS = {
    f"{reply.split()[0]} in scripts of 6.2": (
        f"ERR Error running script (call to f_0c1): @user_script:44: @user_script: 44: -{reply} "
    )
    for reply in (
        "READONLY You can't write against a read only replica.",
        "NOREPLICAS Not enough good replicas to write.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN Hash slot not served",
    )
}
_SCRIPT_COMMANDS = (b"EVAL", b"EVALSHA")


class Refusals:
    """The refusals of one server, by name. Each is a context manager, for a block of about the given seconds.

    `refused` counts the commands that got each refusal: by the server's own statistics, or by the proxy.
    """

    def __init__(self, server: RedisServer, proxy: RedisProxy) -> None:
        self._server = server
        self._proxy = proxy
        self.refused: Counter[str] = Counter()
        real: Mapping[str, Callable[[float], AbstractContextManager[None]]] = {
            "BUSY": self._busy,
            "LOADING": self._loading,
            "MASTERDOWN": self._primary_down,
            "NOREPLICAS": self._no_replicas,
            "READONLY": self._read_only,
            "changes of role": self._changing_role,
        }
        self.names = [*real, *_REPLIES, *_IN_SCRIPTS]
        self._real = real
        with self._client() as client:
            client.config_set("lua-time-limit", 1)
            client.eval(_FILL, 0, _FILLER_KEYS, _FILLER_SIZE)

    @contextmanager
    def refusing(self, name: str, seconds: float) -> Iterator[None]:
        """Refuse commands during a block."""
        if cause := self._real.get(name):
            with self._client() as client:
                client.config_resetstat()
            with cause(seconds):
                yield
            with self._client() as client:
                errors = client.info("errorstats")
            self.refused[name] += sum(int(seen["count"]) for kind, seen in errors.items() if "NOSCRIPT" not in kind)
            return
        only = None if name in _REPLIES else _SCRIPT_COMMANDS
        with self._proxy.refusing(_REPLIES.get(name) or _IN_SCRIPTS[name], only) as refused:
            yield
        self.refused[name] += len(refused)

    @contextmanager
    def _busy(self, seconds: float) -> Iterator[None]:
        with self._client() as busy, self._client() as client:
            script = threading.Thread(target=_run_until_killed, args=(busy,))
            script.start()
            yield
            while script.is_alive():
                with suppress(redis.ResponseError):  # it has not begun yet
                    client.script_kill()
                script.join(_TRY_SECONDS)

    @contextmanager
    def _loading(self, seconds: float) -> Iterator[None]:
        # The delay is for each key, and for each command since the file was last compacted.
        delay = f"{seconds / _FILLER_KEYS * 1e6:.0f}"
        with self._client() as client:
            client.bgrewriteaof()
            while any(client.info("persistence")[f"aof_rewrite_{part}"] for part in ("in_progress", "scheduled")):
                time.sleep(_TRY_SECONDS)
        self._server.kill()
        starting = threading.Thread(target=self._server.start, args=("--key-load-delay", delay))
        starting.start()
        yield
        starting.join()
        with self._client() as client:
            client.config_set("lua-time-limit", 1)

    @contextmanager
    def _no_replicas(self, seconds: float) -> Iterator[None]:
        with self._client() as client:
            client.config_set("min-replicas-to-write", 1)
            yield
            client.config_set("min-replicas-to-write", 0)

    @contextmanager
    def _read_only(self, seconds: float) -> Iterator[None]:
        with self._client() as client:
            client.replicaof(*_NOWHERE)
            yield
            client.replicaof("NO", "ONE")

    @contextmanager
    def _primary_down(self, seconds: float) -> Iterator[None]:
        with self._client() as client:
            client.config_set("replica-serve-stale-data", "no")
            with self._read_only(seconds):
                yield
            client.config_set("replica-serve-stale-data", "yes")

    @contextmanager
    def _changing_role(self, seconds: float) -> Iterator[None]:
        over = threading.Event()

        def change() -> None:
            with self._client() as client:
                while not over.wait(_ROLE_SECONDS):
                    client.replicaof(*_NOWHERE)
                    over.wait(_ROLE_SECONDS)
                    client.replicaof("NO", "ONE")

        changing = threading.Thread(target=change)
        changing.start()
        yield
        over.set()
        changing.join()

    def _client(self) -> redis.Redis:
        # Without a timeout and retries: an endless script must not be sent again.
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(port=self._server.port, decode_responses=True, socket_timeout=None, retry=retry)


def _run_until_killed(client: Any) -> None:
    with suppress(redis.ResponseError):
        client.eval(_ENDLESS, 0)
