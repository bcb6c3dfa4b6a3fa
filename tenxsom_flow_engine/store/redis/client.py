"""Open a client for the address of a Redis server, or of the sentinels that know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from tenxsom_flow_engine.errors import StoreBroken
from tenxsom_flow_engine.store.redis import sentinels
from tenxsom_flow_engine.store.redis.replies import Client
from tenxsom_flow_engine.store.redis.sentinels import SentinelAddress
from tenxsom_flow_engine.timings import Timings

_STEP = (
    "write redis://HOST:PORT/DATABASE, rediss://…, unix://… or redis+sentinel://HOST:PORT,HOST:PORT/NAME in REDIS_URL, "
    "and percent-encode special characters in the password"
)


@dataclass(frozen=True, slots=True)
class OpenClient:
    """A client, and how messages name its server: never with user or password."""

    client: Any
    #: The address, with the database.
    place: str
    #: The part of the address that names the server or the sentinels.
    where: str

    @property
    def server(self) -> str:
        """The server that the client uses: with sentinels, the last known primary."""
        primary = getattr(self.client.connection_pool, "master_address", None)
        return _joined(*primary) if primary else self.where

    @property
    def command_line(self) -> str:
        """The `redis-cli` command for that server."""
        return _command_line(self.server)

    def name(self, error: redis.RedisError) -> dict[str, str]:
        """Return the place and the `redis-cli` command that a message about an error names."""
        server = self.where if isinstance(error, MasterNotFoundError) else self.server
        return {"place": server, "client": _command_line(server)}

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
        if manager := getattr(self.client.connection_pool, "sentinel_manager", None):
            manager.close()


def open_client(url: str, timings: Timings) -> OpenClient:
    """Return a client for an address. Raises `StoreBroken` without any part of it, which could be the password."""
    options = {
        "decode_responses": True,
        # Foreign bytes in our keys are kept as they are, and fail where one value is decoded.
        "encoding_errors": "surrogateescape",
        "socket_connect_timeout": timings.redis_connect,
        "socket_timeout": timings.redis_answer,
        # A call that was sent might have been executed: only the caller knows whether repeating it is safe.
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        address = sentinels.parse(url)
        parts = urlsplit(address.server if address else url)
        # An unescaped / ? or # in a password ends the host too early: the rest of the password would be in the path.
        if parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError
        client = _of_sentinels(address, options) if address else Client.from_url(url, **options)
        client.connection_pool.make_connection()  # opens nothing, but refuses unknown options
    except ValueError:
        raise StoreBroken("the address of the Redis server is invalid", next_step=_STEP) from None
    except TypeError:
        names = sorted(parse_qs(url.partition("?")[2]))
        raise StoreBroken(f"REDIS_URL has an unknown option among {', '.join(names)}", next_step=_STEP) from None
    known = client.connection_pool.connection_kwargs
    authority = known.get("ssl_ca_certs")
    if authority and not Path(authority).is_file():
        raise StoreBroken(
            f"the file {authority} of ssl_ca_certs in REDIS_URL does not exist", next_step="correct its path"
        )
    database = known.get("db") or 0
    if address:
        where = f"{','.join(_joined(*one) for one in address.sentinels)}/{address.name}"
        return OpenClient(client, f"{sentinels.SCHEME}://{where}/{database}", where)
    where = known.get("path") or _joined(known.get("host", "localhost"), known.get("port", 6379))
    return OpenClient(client, f"redis://{where}/{database}", where)


def _of_sentinels(address: SentinelAddress, options: Mapping[str, Any]) -> Any:
    """Return a client whose new connections go to the server that the sentinels name as the primary."""
    own = {**options, **parse_url(address.server)}  # type: ignore[no-untyped-call]
    logins = {name: own.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    asking = {name: own[name] for name in ("socket_connect_timeout", "socket_timeout", "retry")}
    manager: Any = Sentinel(address.sentinels, sentinel_kwargs={**asking, **logins})  # type: ignore[no-untyped-call]
    return manager.master_for(address.name, redis_class=Client, **own)


def _command_line(server: str) -> str:
    if server.startswith("/"):
        return f"redis-cli -s {server}"
    host, _, port = server.partition("/")[0].partition(",")[0].rpartition(":")  # of sentinels, the first
    return f"redis-cli -h {host.strip('[]')} -p {port}"


def _joined(host: str, port: int) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port}"
