"""What a server must be to keep jobs, and how safe they are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.store.values import StoreAdvice

#: The oldest server that has what the scripts use.
OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Server:
    """What a server promises of its file."""

    #: What a person should know of it; None if all is well.
    advice: StoreAdvice | None = None
    #: Whether it can be asked, with `WAITAOF`, to answer when its file is on disk, and needs asking.
    waits_for_file: bool = False


def examine(client: Any, place: str) -> Server:
    """Look at a server. Raises `ConfigurationError` if it is too old or would evict jobs."""
    found = client.info()
    version = tuple(map(int, str(found["redis_version"]).split(".")[:2]))
    if version < OLDEST:
        raise ConfigurationError(
            f"the Redis server {place} has version {found['redis_version']}", next_step="use 6.2 or newer"
        )
    policy = found.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise ConfigurationError(
            f"the Redis server {place} throws keys away when its memory is full (maxmemory-policy {policy})",
            next_step="on the server: CONFIG SET maxmemory-policy noeviction",
        )
    if not found.get("aof_enabled"):
        return Server(
            StoreAdvice(
                f"the Redis server {place} keeps no append-only file, so jobs are lost when it stops",
                "on the server: CONFIG SET appendonly yes",
            )
        )
    match _appendfsync(client):
        case "always":
            return Server()
        case "everysec" if _knows(client, "WAITAOF"):
            return Server(waits_for_file=True)
        case "everysec":
            habit = "puts its file on disk once a second"
        case "no":
            habit = "leaves it to the system when its file is put on disk"
        case _:
            habit = "does not say when it puts its file on disk"
    return Server(
        StoreAdvice(
            f"the Redis server {place} {habit}, so the latest jobs and tickets are lost if its machine stops",
            "on the server: CONFIG SET appendfsync always",
        )
    )


def _appendfsync(client: Any) -> str:
    try:
        return str(client.config_get("appendfsync").get("appendfsync", ""))
    except redis.ResponseError:  # those who rent out servers often forbid CONFIG
        return ""


def _knows(client: Any, command: str) -> bool:
    # Redis 7.2 and Valkey do; https://redis.io/docs/latest/commands/waitaof/
    try:
        return any(client.execute_command("COMMAND INFO", command))
    except redis.ResponseError:
        return False
