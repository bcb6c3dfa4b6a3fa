"""Who sends a request, what it may do, and how often."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.api import keys
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.errors import FlowError, Forbidden, Unauthenticated
from tenxsom_flow_engine.events.links import valid
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.base import JobStore

#: Requests of one key: at once, and after that in each second; in each process.
BURST, PER_SECOND = 100, 25.0
#: Maximum number of keys that are remembered; the least recent are forgotten.
REMEMBERED = 1024


class TooManyRequests(FlowError):
    """A key, or an address that guesses tokens, sends too many requests; `wait` is in seconds."""

    code = "too_many_requests"

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message, next_step="wait for the seconds of the header Retry-After")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request: a key, or the operator with the admin token."""

    #: The id of its key, or another name of the operator.
    key_id: str
    scopes: frozenset[Scope]
    #: The only channel that it may see and use; empty: all.
    channel: str = ""
    #: Whether it is the operator, who needs no key.
    operator: bool = False

    @property
    def payer(self) -> str:
        """The id of the key whose budget its jobs are charged to; empty for the operator."""
        return "" if self.operator else self.key_id

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` unless the caller has a scope."""
        if scope not in self.scopes:
            raise Forbidden(
                f"this key does not have the scope {scope}",
                next_step=f"ask the operator for a key with the scopes {', '.join(sorted({*self.scopes, scope}))}",
            )

    def sees(self, record: JobRecord) -> bool:
        """Return whether the caller may see a job."""
        return self.covers(record.job.channel)

    def covers(self, channel: str) -> bool:
        """Return whether the caller may see what belongs to a channel."""
        return self.channel in ("", channel)

    def own_channel(self, wanted: str | None) -> str | None:
        """Return the channel that a request means: the wanted one, or else the caller's. Raises `Forbidden`."""
        if self.channel and wanted and wanted != self.channel:
            raise Forbidden(f"this key is for the channel {self.channel} only")
        return self.channel or wanted

    def require_all_channels(self) -> None:
        """Raise `Forbidden` for a key of one channel: the request would affect the others."""
        if self.channel:
            raise Forbidden(f"this key is for the channel {self.channel} only, and this affects all channels")


#: The operator: the sender of a request with the admin token, or the user of this process.
OPERATOR = Caller("admin", frozenset(Scope), operator=True)


class Access:
    """Authenticates requests. `is_admin` compares a token with the admin token, and can raise `TooManyRequests`."""

    def __init__(self, is_admin: Callable[[str], bool], now: Callable[[], float] = time.monotonic) -> None:
        self._is_admin = is_admin
        self._rates = Rates(now)

    def __call__(self, store: Callable[[], JobStore], authorization: str | None) -> Caller:
        """Return the sender of a request with this `Authorization` header.

        Raises `Unauthenticated`, `TooManyRequests`, `StoreError`.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "the request has no key",
                next_step="send the header Authorization: Bearer tf_…; the operator creates keys",
            )
        if not token.startswith(keys.PREFIX):
            if self._is_admin(token):
                return OPERATOR
            raise Unauthenticated("the token is neither an API key nor the admin token")
        key = keys.find(store(), token)
        if key is None:
            raise Unauthenticated(
                "the key is unknown, expired or revoked", next_step="ask the operator for another one"
            )
        self._rates.count(key.key_id)
        return Caller(key.key_id, frozenset(key.scopes), key.channel)

    def by_link(self, store: Callable[[], JobStore], job_id: str, query: Mapping[str, str]) -> Caller:
        """Return the sender of a request for a video with a signed link (see `events.links`).

        Raises `Unauthenticated`, `TooManyRequests`, `StoreError`.
        """
        endpoint_id, until = query.get("endpoint", ""), query.get("until", "")
        opened = store()
        endpoint = opened.endpoint(endpoint_id) if re.fullmatch(r"[\w-]{1,40}", endpoint_id) else None
        now = opened.now()
        if (
            endpoint is None
            or not endpoint.secret
            or not re.fullmatch("[0-9]{1,11}", until)
            or not valid(
                job_id,
                endpoint_id=endpoint_id,
                secrets=endpoint.secrets(now),
                until=int(until),
                signature=query.get("signature", ""),
                now=now,
            )
        ):
            raise Unauthenticated("the link is not valid, or not any more", next_step="use a key with the scope read")
        self._rates.count(endpoint_id)
        return Caller(endpoint_id, frozenset({Scope.READ}), endpoint.channel)

    def reader(self, store: Callable[[], JobStore], authorization: str | None) -> Caller | None:
        """Return the sender of a request that is answered without a key, too; None without a valid key that may read.

        Another token is ignored: a proxy or a platform can have added it.
        """
        if not (authorization or "").strip().lower().startswith(f"bearer {keys.PREFIX}"):
            return None
        try:
            caller = self(store, authorization)
        except Unauthenticated:
            return None
        return caller if Scope.READ in caller.scopes else None


class Rates:
    """The requests of each key in this process. Thread-safe."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        #: For each key the instant when all of its burst is available again.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def count(self, key_id: str) -> None:
        """Count a request. Raises `TooManyRequests`, and then counts nothing."""
        with self._lock:
            now = self._now()
            full_at = max(self._full_at.get(key_id, now), now) + 1 / PER_SECOND
            wait = full_at - now - BURST / PER_SECOND
            if wait > 0:
                raise TooManyRequests(f"this key sends more than {PER_SECOND:g} requests per second", wait)
            self._full_at[key_id] = full_at
            self._full_at.move_to_end(key_id)
            while len(self._full_at) > REMEMBERED:
                self._full_at.popitem(last=False)
