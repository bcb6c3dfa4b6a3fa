"""The requirements on a Redis server that stores jobs, and how durable its records are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.store.redis.server_errors import code_of
from tenxsom_flow_engine.store.values import StoreAdvice

#: The oldest server version that the scripts work with.
OLDEST = (6, 2)
#: The oldest version with flags of scripts: https://redis.io/docs/latest/develop/programmability/lua-api/#script-flags
SCRIPT_FLAGS = (7, 0)


@dataclass(frozen=True, slots=True)
class Server:
    """How a server keeps writes when it crashes, and when a replica replaces it."""

    #: A warning for operators; None if there is none.
    advice: StoreAdvice | None = None
    #: Whether a write must be followed by `WAITAOF` to be on disk when it returns.
    waits_for_file: bool = False
    #: The number of replicas that must have a write when it returns, so that a promoted one has it.
    waits_for_replicas: int = 0
    #: Whether it knows flags in the first line of a script.
    knows_script_flags: bool = False


def examine(client: Any, place: str) -> Server:
    """Check a server. Raises `ConfigurationError` if it is no Redis server, is too old or would evict jobs."""
    try:
        found = client.info()
        version = tuple(map(int, str(found["redis_version"]).split(".")[:2]))
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        raise ConfigurationError(
            f"{place} does not answer like a Redis server", next_step="check the address in REDIS_URL"
        ) from None
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
    sync = _setting(client, "appendfsync") if found.get("aof_enabled") else None
    replicas = _replicas_to_wait_for(client, found)
    waits_for_file = sync == "everysec" and _knows(client, "WAITAOF")
    advice = None if waits_for_file else _advice_on_the_file(place, sync)
    if not replicas and found.get("connected_slaves"):
        advice = StoreAdvice(
            f"the Redis server {place} has replicas but does not wait for them, so a failover can lose the latest jobs "
            "and buy the latest videos again",
            "on the server: CONFIG SET min-replicas-to-write 1",
        )
    return Server(advice, waits_for_file, replicas, knows_script_flags=version >= SCRIPT_FLAGS)


def _advice_on_the_file(place: str, sync: str | None) -> StoreAdvice | None:
    """Return a warning about how the server syncs its append-only file; None for `sync` means that it has none."""
    match sync:
        case None:
            return StoreAdvice(
                f"the Redis server {place} has no append-only file, so jobs are lost when it stops",
                "on the server: CONFIG SET appendonly yes",
            )
        case "always":
            return None
        case "everysec":
            habit = "syncs its append-only file only once a second"
        case "no":
            habit = "leaves syncing its append-only file to the operating system"
        case _:
            habit = "does not report when it syncs its append-only file"
    return StoreAdvice(
        f"the Redis server {place} {habit}, so the latest jobs and tickets are lost if its machine crashes",
        "on the server: CONFIG SET appendfsync always",
    )


def _replicas_to_wait_for(client: Any, found: Mapping[str, Any]) -> int:
    """Return the server's `min-replicas-to-write`; 1 if it has one but does not tell it."""
    setting = _setting(client, "min-replicas-to-write")
    if setting.isdecimal():
        return int(setting)
    # INFO has this field only with the setting: https://redis.io/docs/latest/commands/info/
    return int("min_slaves_good_slaves" in found)


def _setting(client: Any, name: str) -> str:
    """Return a setting of the server; empty if the server does not tell it, as many hosted ones."""
    try:
        return str(client.config_get(name).get(name, ""))
    except redis.ResponseError as error:
        if code_of(error) not in ("", "ERR", "NOPERM"):
            raise
        return ""


def _knows(client: Any, command: str) -> bool:
    # Redis 7.2 and Valkey have WAITAOF; https://redis.io/docs/latest/commands/waitaof/
    try:
        return any(client.execute_command("COMMAND INFO", command))
    except redis.ResponseError as error:
        if code_of(error) not in ("", "ERR", "NOPERM"):
            raise
        return False
