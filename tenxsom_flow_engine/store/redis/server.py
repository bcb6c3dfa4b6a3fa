"""The requirements on a Redis server that stores jobs, and how durable its records are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.store.values import StoreAdvice

#: The oldest server version that the scripts work with.
OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Server:
    """The durability of a server's append-only file."""

    #: A warning for operators; None if there is none.
    advice: StoreAdvice | None = None
    #: Whether a write must be followed by `WAITAOF` to be on disk when it returns.
    waits_for_file: bool = False


def examine(client: Any, place: str) -> Server:
    """Check a server. Raises `ConfigurationError` if it is too old or would evict jobs."""
    found = client.info()
    version = tuple(map(int, str(found["redis_version"]).split(".")[:2]))
    if version < OLDEST:
        raise ConfigurationError(
            f"the Redis server {place} has version {found['redis_version']}", next_step="use 6.2 or newer"
        )
    policy = found.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise ConfigurationError(
            f"the Redis server {place} evicts keys when its memory is full (maxmemory-policy {policy})",
            next_step="on the server: CONFIG SET maxmemory-policy noeviction",
        )
    if not found.get("aof_enabled"):
        return Server(
            StoreAdvice(
                f"the Redis server {place} has no append-only file, so jobs are lost when it stops",
                "on the server: CONFIG SET appendonly yes",
            )
        )
    match _appendfsync(client):
        case "always":
            return Server()
        case "everysec" if _knows(client, "WAITAOF"):
            return Server(waits_for_file=True)
        case "everysec":
            habit = "syncs its append-only file only once a second"
        case "no":
            habit = "leaves syncing its append-only file to the operating system"
        case _:
            habit = "does not report when it syncs its append-only file"
    return Server(
        StoreAdvice(
            f"the Redis server {place} {habit}, so the latest jobs and tickets are lost if its machine crashes",
            "on the server: CONFIG SET appendfsync always",
        )
    )


def _appendfsync(client: Any) -> str:
    try:
        return str(client.config_get("appendfsync").get("appendfsync", ""))
    except redis.ResponseError:  # hosted servers often forbid CONFIG
        return ""


def _knows(client: Any, command: str) -> bool:
    # Redis 7.2 and Valkey have WAITAOF; https://redis.io/docs/latest/commands/waitaof/
    try:
        return any(client.execute_command("COMMAND INFO", command))
    except redis.ResponseError:
        return False
