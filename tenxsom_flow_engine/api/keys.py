"""API keys: secrets of programs, each with scopes, a time, and optionally one channel.

A key is `tf_ID_SECRET`. The store has a hash of it, which is enough because the secret is random and long.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

import msgspec

from tenxsom_flow_engine.budgets import parse_budget
from tenxsom_flow_engine.budgets.limits import KEY as KEY_SCOPE
from tenxsom_flow_engine.errors import InvalidInput, StoreBroken, StoreError
from tenxsom_flow_engine.store.base import JobStore

_log = logging.getLogger(__name__)

#: The kind of the memos that hold keys.
KIND = "api_key"
PREFIX = "tf_"
#: Seconds for which keys are kept, and revoked ones are listed.
KEEP, KEEP_REVOKED = 100 * 365 * 86400.0, 90 * 86400.0
#: Seconds between two records of the last use of a key.
USE_INTERVAL = 60.0
#: Attempts to write a key that others change at the same time.
_ATTEMPTS = 10


class Scope(StrEnum):
    """A right that a key gives."""

    READ = "read"  # see jobs, files, budgets, limits, statistics
    ADD = "add"  # plan and add jobs
    OPERATE = "operate"  # retry, cancel, edit, resolve and start jobs; pause and resume; webhooks
    MONEY = "money"  # change budgets and limits


class ApiKey(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key as it is stored. Instants in seconds since 1970."""

    key_id: str
    #: The SHA-256 of the whole key.
    digest: str
    scopes: tuple[Scope, ...]
    #: The only channel that it may see and use; empty: all.
    channel: str = ""
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    def valid_at(self, now: float) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Parse scopes such as `read,add`, in a fixed order. Raises `InvalidInput`."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    known = [scope for scope in Scope if scope in names]
    if not known or len(known) < len(names):
        raise InvalidInput("scopes", f"{text[:60]!r} must be of {', '.join(Scope)}", next_step="write read,add")
    return tuple(known)


def create(
    store: JobStore, scopes: Sequence[Scope], *, channel: str = "", seconds: float | None = None, budget: str = ""
) -> tuple[str, ApiKey]:
    """Store a new key that expires after `seconds` (None: never); return its text, which is stored nowhere, and it.

    `budget` bounds what its jobs cost, e.g. `5/d` (empty: it has none). Raises `InvalidInput`.
    """
    now = store.now()
    key_id = secrets.token_hex(6)
    if budget:
        if Scope.MONEY in scopes:
            raise InvalidInput("scopes", "a key with a budget cannot have the scope money, which changes budgets")
        scope = KEY_SCOPE + key_id
        store.set_budget(scope, parse_budget(scope, budget))
    text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    expires = None if seconds is None else now + seconds
    key = ApiKey(
        key_id=key_id, digest=_digest(text), scopes=tuple(scopes), channel=channel, created_at=now, expires_at=expires
    )
    store.put_memo(KIND, key_id, _encode(key), KEEP, instead_of=None)
    return text, key


def list_keys(store: JobStore) -> Sequence[ApiKey]:
    """Return all keys, the latest first; also expired ones, and those that were revoked lately."""
    keys = [_decode(text) for text in store.memos(KIND).values()]
    return sorted(keys, key=lambda key: (-key.created_at, key.key_id))


def revoke(store: JobStore, key_id: str) -> ApiKey:
    """End a key at once, for all processes. Raises `InvalidInput` for an unknown id."""
    for _ in range(_ATTEMPTS):
        text = store.memo(KIND, key_id)
        if text is None:
            raise InvalidInput("key", f"no key has the id {key_id[:100]!r}", next_step="list the keys to see their ids")
        key = _decode(text)
        if key.revoked_at is not None:
            return key
        ended = msgspec.structs.replace(key, revoked_at=store.now())
        if store.put_memo(KIND, key_id, _encode(ended), KEEP_REVOKED, instead_of=text) == _encode(ended):
            return ended
    raise StoreBroken(f"the key {key_id} changes too often to be revoked", next_step="try again")


def find(store: JobStore, text: str) -> ApiKey | None:
    """Return the key with this text, and record its use; None if there is none that is valid now."""
    key_id = text.removeprefix(PREFIX).partition("_")[0]
    stored = store.memo(KIND, key_id) if text.startswith(PREFIX) and key_id.isalnum() else None
    if stored is None:
        return None
    key, now = _decode(stored), store.now()
    if not hmac.compare_digest(key.digest, _digest(text)) or not key.valid_at(now):
        return None
    if key.last_used_at is None or now - key.last_used_at >= USE_INTERVAL:
        used = msgspec.structs.replace(key, last_used_at=now)
        with suppress(StoreError):  # a full store can still be read
            # If the key was changed since, its use is recorded by another request.
            store.put_memo(KIND, key_id, _encode(used), KEEP, instead_of=stored)
    return key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _encode(key: ApiKey) -> str:
    return msgspec.json.encode(key).decode()


def _decode(text: str) -> ApiKey:
    try:
        return msgspec.json.decode(text, type=ApiKey)
    except msgspec.MsgspecError as error:
        raise StoreBroken(
            f"an API key in the store cannot be read: {error}", next_step="revoke and replace it"
        ) from error
