"""The meaning of a Redis server's error replies: which of them pass, and what to do about each.

Codes: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors and the sources of Redis 6.2 to 8.2
and Valkey 8 and 9, which define them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import redis
from redis.sentinel import MasterNotFoundError

from tenxsom_flow_engine.errors import StoreBroken, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.store.moving import moved_error

#: Codes of a server that is no longer the primary: the address might lead to the new one by now.
DEMOTED = frozenset({"READONLY", "UNBLOCKED", "MASTERDOWN"})
#: The code of our scripts' reply in a store whose jobs have moved (see moved.lua).
MOVED_CODE = "STOREMOVED"


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[StoreError]
    reason: str
    next_step: str


#: {place} is the server's address, {client} the `redis-cli` command for it, {text} the server's own words.
_MEANINGS = {
    "BUSY": _Meaning(
        StoreUnavailable, "is busy with a script", "wait for the script to end, or end it with: {client} SCRIPT KILL"
    ),
    "LOADING": _Meaning(StoreUnavailable, "is loading its data", "wait until it has loaded"),
    "NOREPLICAS": _Meaning(
        StoreUnavailable,
        "has fewer replicas than its min-replicas-to-write",
        "check its replicas with: {client} INFO replication",
    ),
    "READONLY": _Meaning(
        StoreUnavailable,
        "is a read-only replica",
        "set REDIS_URL to the primary's address, unless a failover is under way",
    ),
    "UNBLOCKED": _Meaning(StoreUnavailable, "has changed its role", "check its role with: {client} ROLE"),
    "MASTERDOWN": _Meaning(
        StoreUnavailable, "is a replica without its primary", "check its primary with: {client} INFO replication"
    ),
    "CLUSTERDOWN": _Meaning(
        StoreUnavailable, "belongs to a cluster that is down", "check the cluster with: {client} CLUSTER INFO"
    ),
    "TRYAGAIN": _Meaning(
        StoreUnavailable, "is moving this store's keys to another node", "wait until the cluster has moved them"
    ),
    "MOVED": _Meaning(
        StoreBroken,
        "is a cluster node that does not have this store's keys (MOVED {text})",
        "set REDIS_URL to the node that has them",
    ),
    "ASK": _Meaning(
        StoreUnavailable, "is moving this store's keys to another node", "wait until the cluster has moved them"
    ),
    "OOM": _Meaning(StoreFull, "is out of memory", "raise its maxmemory, or free some memory"),
    "MISCONF": _Meaning(StoreFull, "cannot write to disk: {text}", "check the server's disk and log"),
    "NOAUTH": _Meaning(StoreBroken, "requires a login", "write redis://USER:PASSWORD@HOST:PORT in REDIS_URL"),
    "WRONGPASS": _Meaning(StoreBroken, "rejected the login: {text}", "check the login in REDIS_URL"),
    "NOPERM": _Meaning(
        StoreBroken,
        "refuses a command to this user: {text}",
        "run, with your REDIS_QUEUE_KEY for KEY: ACL SETUSER USER ~KEY ~{{KEY}}* +@all -@admin",
    ),
}

#: Redis 6.2 reports an error of a command inside an error of its script: `… @user_script: 5: -READONLY You …`.
_IN_SCRIPT = re.compile(r"-([A-Z]+)\b")
#: OpenSSL's words for a connection that the server closed without a reason; it can do so before its reason is read.
_CLOSED_TLS = "EOF occurred in violation of protocol"
_CODE = re.compile(r"[A-Z]{2,}\b")


def code_of(error: redis.RedisError) -> str:
    """Return the code that an error reply begins with, such as `READONLY`; empty if it has none."""
    code = getattr(error, "status_code", None)
    if code is None and (found := _CODE.match(str(error))):
        code = found[0]
    if code in (None, "ERR") and (found := _IN_SCRIPT.search(str(error))):
        code = found[1]
    return code or ""


def store_error(error: redis.RedisError, *, place: str, client: str) -> StoreError:
    """Return the store's error for an error of the driver; `client` is the `redis-cli` command for the server."""
    text = str(error)
    code = code_of(error)
    if code == MOVED_CODE:
        return moved_error(place, text.partition(MOVED_CODE)[2].strip())
    if code in ("", "ERR") and isinstance(error, redis.AuthenticationError):
        # Redis 6 and newer answer so to a HELLO without a login.
        code = "NOAUTH" if "HELLO must be called" in text else "WRONGPASS"
    if meaning := _MEANINGS.get(code):
        words = {"place": place, "client": client, "text": text}
        reason, next_step = (part.format(**words) for part in (meaning.reason, meaning.next_step))
        return meaning.error(f"the Redis server {place} {reason}", next_step=next_step)
    if isinstance(error, MasterNotFoundError):
        return StoreUnavailable(
            f"the sentinels {place} name no primary",
            next_step=f"check the name and sentinel_password in REDIS_URL, and: {client} SENTINEL masters",
        )
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        if (step := _certificate_step(text)) is not None:  # waiting does not help
            return StoreBroken(f"the Redis server {place} cannot be used: {text}", next_step=step)
        next_step = f"check that it is running: {client} ping"
        if _CLOSED_TLS in text:
            next_step += (
                "; if it requires a certificate of its clients, give yours with ?ssl_certfile=FILE&ssl_keyfile=FILE"
            )
        return StoreUnavailable(f"the Redis server cannot be used now: {text}", next_step=next_step)
    return StoreBroken(f"the Redis server {place} failed: {text}")


def _certificate_step(text: str) -> str | None:
    """Return the next step for a connection that failed because of a certificate; None for any other."""
    if "certificate is not valid for" in text:  # `Hostname mismatch, …` or `IP address mismatch, …`
        return "use the host name of the server's certificate in REDIS_URL"
    if "CERTIFICATE_REQUIRED" in text or "certificate required" in text:
        return "give your certificate with ?ssl_certfile=FILE&ssl_keyfile=FILE in REDIS_URL"
    if "CERTIFICATE" in text:
        return "give its certificate authority with ?ssl_ca_certs=FILE in REDIS_URL"
    return None
