"""Requests that can be repeated: the same idempotency key gives the same answer, and does nothing twice.

The store remembers a request before it is carried out (the claim), and its answer afterwards, for 24 hours. A claim
without an answer belongs to a request that is under way, or was interrupted.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import zlib
from dataclasses import dataclass

import msgspec

from tenxsom_flow_engine.api.problems import KeyReused
from tenxsom_flow_engine.errors import StoreBroken
from tenxsom_flow_engine.store.base import JobStore

#: The kind of the memos that hold claims and answers.
KIND = "answer"
#: Seconds for which an answer is kept.
KEEP = 86400.0


class Claim(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A request with an idempotency key, and its answer once there is one."""

    #: The hash of the request.
    request: str
    #: Random: the process and thread that carries it out.
    by: str
    #: The instant at which it was first claimed, and at which it was last claimed.
    at: float
    claimed_at: float
    #: The version of the job before an action; the places of the jobs that existed before an addition, as JSON.
    before: str = ""
    #: The answer as JSON (see `packed`).
    answer: str = ""

    @property
    def answered(self) -> bytes | None:
        """The answer; None if there is none."""
        return unpacked(self.answer) if self.answer else None


@dataclass(frozen=True, slots=True)
class Repeatable:
    """The requests of one caller with one idempotency key."""

    store: JobStore
    name: str
    request: str

    @classmethod
    def of(cls, store: JobStore, caller: str, key: str, request: bytes) -> Repeatable:
        """Return the requests of a caller with a key; `request` identifies what is requested."""
        name = hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()
        return cls(store, name, hashlib.sha256(request).hexdigest())

    @property
    def seed(self) -> str:
        """A text that only this request of this caller has."""
        return f"{self.name}:{self.request}"

    def find(self) -> Claim | None:
        """Return the claim of an earlier request. Raises `KeyReused` if it was another one, `StoreError`."""
        text = self.store.memo(KIND, self.name)
        return self._read(text) if text is not None else None

    def claim(self, *, before: str = "", instead_of: Claim | None = None) -> tuple[Claim, bool]:
        """Claim the request, or take over a claim; return the claim in force, and whether it is the new one.

        Raises `KeyReused`, `StoreError`.
        """
        now = self.store.now()
        mine = Claim(
            request=self.request, by=secrets.token_hex(6), at=instead_of.at if instead_of else now, claimed_at=now,
            before=before,
        )  # fmt: skip
        text = self._put(mine, instead_of)
        stored = self._read(text) if text is not None else mine
        return stored, stored.by == mine.by

    def keep(self, claim: Claim, answer: bytes) -> tuple[bytes, bool]:
        """Store the answer to a claimed request; return the answer in force, and whether it is this one."""
        mine = msgspec.structs.replace(claim, by=secrets.token_hex(6), answer=packed(answer))
        text = self._put(mine, claim)
        stored = self._read(text) if text is not None else mine
        return (answer, True) if stored.by == mine.by or stored.answered is None else (stored.answered, False)

    def drop(self, claim: Claim) -> None:
        """Forget a claim whose request was refused, so that nothing was done."""
        self.store.put_memo(KIND, self.name, None, 0.0, instead_of=_encode(claim))

    def _put(self, claim: Claim, instead_of: Claim | None) -> str | None:
        before = _encode(instead_of) if instead_of else None
        return self.store.put_memo(KIND, self.name, _encode(claim), KEEP, instead_of=before)

    def _read(self, text: str) -> Claim:
        try:
            claim = msgspec.json.decode(text, type=Claim)
        except msgspec.MsgspecError as error:
            raise StoreBroken(f"the answer to an earlier request cannot be read: {error}") from error
        if claim.request != self.request:
            raise KeyReused(
                "another request was sent with this idempotency key",
                next_step="send the same request again, or use a new key for a new request",
            )
        return claim


def packed(data: bytes) -> str:
    """Compress data for a memo."""
    return base64.b85encode(zlib.compress(data, 1)).decode()


def unpacked(text: str) -> bytes:
    """Return the data of a memo. Raises `StoreBroken`."""
    try:
        return zlib.decompress(base64.b85decode(text))
    except (ValueError, zlib.error) as error:
        raise StoreBroken(f"a text in the store cannot be read: {error}") from error


def _encode(claim: Claim) -> str:
    return msgspec.json.encode(claim).decode()
