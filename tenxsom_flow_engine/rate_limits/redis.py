"""The ledger on the job store's Redis server: for any number of machines. Each decision is one script."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.rate_limits import ledger, pace
from tenxsom_flow_engine.rate_limits.base import Admission, Closed, MovedUp, Share
from tenxsom_flow_engine.rate_limits.ledger import OTHERS_FIRST, Ledger, LedgerEntry, LedgerSnapshot, reason
from tenxsom_flow_engine.rate_limits.pace import Gate
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits, Window, write_windows
from tenxsom_flow_engine.store import histogram
from tenxsom_flow_engine.store.redis.connection import Connection, escaped
from tenxsom_flow_engine.store.redis.outbox import Outbox, outbox_functions
from tenxsom_flow_engine.store.redis.replies import LEDGER_SCRIPTS, checked
from tenxsom_flow_engine.timings import Timings

#: The end of the key that says that a log was shortened.
_TRIMMED = ":trimmed"


def _constants(timings: Timings) -> dict[str, float | str]:
    """Return the constants that scripts use by name."""
    return {
        "BY_HAND": f"'{pace.BY_HAND}'",
        "PROBE_INTERVAL": timings.probe_interval,
        "MEMORY": pace.MEMORY,
        "KEPT": ledger.KEPT,
        "TRIM": ledger.TRIM,
        "LONGEST_HINT": timings.max_hint,
        "STOPPED_HINT": timings.stopped_hint,
        "FORGET_WAITERS": ledger.FORGET_WAITERS,
        "GOLDEN": ledger.GOLDEN,
        "RIVALS": ledger.RIVALS,
        "TURN_SECONDS": ledger.TURN_SECONDS,
        "FIRST": histogram.FIRST,
        "PER_DOUBLING": histogram.PER_DOUBLING,
        "LAST": histogram.LAST,
    }


@cache
def _script(name: str, timings: Timings) -> tuple[str, str]:
    """Return the source of a script, with the common prelude and the constants it uses, and its SHA-1 digest."""
    folder = resources.files(__package__).joinpath("scripts")
    prelude, body = (folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
    if name == "gate":
        prelude += outbox_functions()
    constants = "".join(f"local {key} = {value}\n" for key, value in _constants(timings).items() if key in body)
    script = prelude + constants + body
    return script, hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class RedisLedger(Ledger):
    """See `ledger.Ledger`. Uses a store's connection and keys; `clock` replaces the server's time in tests."""

    def __init__(self, connection: Connection, clock: Clock | None = None, timings: Timings = Timings()) -> None:
        self._connection = connection
        self.timings = timings
        self._client = connection.client
        self._clock = clock
        self._outbox = Outbox(connection)

    def ask(self, service: str, waiter_id: str, limits: Limits, share: Share = Share()) -> Admission | Closed:
        answer = self._ask(service, waiter_id, limits, share)
        if len(answer) > 2:
            return _closed(service, answer)
        return Admission(service, float(answer[0]), share, probe=len(answer) == 2)

    def peek(self, service: str, limits: Limits) -> Closed | None:
        answer = self._ask(service, "", limits, Share())
        return _closed(service, answer) if len(answer) > 2 else None

    def give_back(self, admission: Admission) -> None:
        share = admission.share
        self._run("give_back", admission.service, f"{admission.at:.17g}", share.channel, repr(share.weight))

    def forget(self, service: str, waiter_id: str) -> MovedUp | None:
        moved = self._run("forget", service, waiter_id)
        return MovedUp(moved[0], float(moved[1])) if moved else None

    def answered(self, service: str, seconds: float) -> None:
        usual, count = self._run("answered", service, repr(seconds), histogram.bucket(seconds))
        known = float(usual) if int(count) >= pace.KNOWN_AFTER else None
        self.change(service, lambda gate, now: pace.answered(gate, seconds, known))

    def change(self, service: str, rule: Callable[[Gate, float], Gate], *, count: str = "") -> Gate:
        state = self._run("gate", service, "", "", "")
        while True:
            now, version, fields = state
            before = self._gate(service, fields)
            after = rule(before, float(now))
            if after == before and not count:
                return after
            pairs = [text for name, value in pace.to_stored(after).items() for text in (name, _text(value))]
            rows = self._outbox.encoded_rows(pace.events(service, before, after, float(now)))
            state = self._run("gate", service, version, count, rows, *pairs)
            if not state[1]:
                return after
            if state[1] == version:
                self._outbox.refresh()

    def set_clock_back(self, service: str, now: float, lead: float) -> None:
        self._run("set_clock_back", service, repr(now))
        self.change(service, lambda gate, _: pace.set_back(gate, now, lead))

    def snapshot(self, service: str) -> LedgerSnapshot:
        now, gate, recent, waiting, tally = self._run("snapshot", service)
        with self._connection.decoding(f"tally:{service}"):
            counts = ledger.read_tally(_pairs(tally))
        with self._connection.decoding(f"log:{service}"):
            admissions = [float(at) for at in recent]
        return LedgerSnapshot(float(now), self._gate(service, gate), admissions, int(waiting), counts)

    def entries(self) -> Iterator[LedgerEntry]:
        names: set[str] = set()
        for begin in map(self._connection.key, ("gate:", "log:", "tally:")):
            with self._connection.mapped():
                found = self._client.scan_iter(match=escaped(begin) + "*", count=1000)
                names.update(name.removeprefix(begin).removesuffix(_TRIMMED) for name in found)
        for name in sorted(names):
            known = self.snapshot(name)
            with self._connection.mapped():
                trimmed = bool(self._client.exists(self._connection.key(f"log:{name}{_TRIMMED}")))
            yield LedgerEntry(name, known.gate, known.recent[::-1], trimmed, known.tally)

    def put(self, entry: LedgerEntry) -> None:
        key = self._connection.key
        fields = {name: _text(value) for name, value in pace.to_stored(entry.gate).items()}
        with self._connection.mapped(), self._client.pipeline() as pipeline:
            if entry.gate != Gate():
                pipeline.hset(key(f"gate:{entry.name}"), mapping=fields)
            if entry.admissions:
                pipeline.lpush(key(f"log:{entry.name}"), *(f"{at:.17g}" for at in entry.admissions))
            if entry.trimmed:
                pipeline.set(key(f"log:{entry.name}{_TRIMMED}"), "1")
            if entry.tally:
                counts = {name: _count(value) for name, value in entry.tally.items()}
                pipeline.hset(key(f"tally:{entry.name}"), mapping=counts)
            pipeline.execute()

    def _gate(self, service: str, fields: Sequence[str]) -> Gate:
        with self._connection.decoding(f"gate:{service}"):
            return pace.from_stored({name: value for name, value in _pairs(fields) if name != "version"})

    def _ask(self, service: str, waiter_id: str, limits: Limits, share: Share) -> list[str]:
        own = limits.get(service)
        answer: str = self._run(
            "ask",
            service,
            waiter_id,
            "" if own is None else write_windows(own),
            write_windows(limits.get(GLOBAL, ())),
            share.channel,
            repr(share.weight),
            write_windows(share.windows) if share.windows else "",
        )
        return answer.split("|", 8)

    def _run(self, name: str, *arguments: object) -> Any:
        script, digest = _script(name, self.timings)
        instant = "" if self._clock is None else repr(self._clock.now())
        with self._connection.mapped():
            try:
                reply = self._client.evalsha(digest, 1, self._connection.prefix, instant, *arguments)
            except NoScriptError:
                reply = self._client.eval(script, 1, self._connection.prefix, instant, *arguments)
            return checked(name, reply, LEDGER_SCRIPTS)


def _closed(service: str, answer: Sequence[str]) -> Closed:
    at, opens_at, until, stopped, name, limit, span, share, message = answer
    last = (name, Window(int(limit), float(span)), float(share)) if name not in ("", "*") else None
    why = OTHERS_FIRST if name == "*" else reason(service, message, stopped="" if last else stopped, last=last)
    return Closed(float(until), why, opens_at=float(opens_at), at=float(at))


def _pairs(flat: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _count(value: float) -> str:
    """Return a tally as text: the scripts increment whole numbers as such."""
    return f"{value:.0f}" if value.is_integer() else f"{value:.17g}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
