"""Damaged values in Redis, and a server with odd replies."""

from __future__ import annotations

import itertools
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis

from fuzz.commands import run_commands
from fuzz.json_values import NUMBERS, TEXTS, damage, mutate
from fuzz.sample_store import bought, environment, fill
from fuzz.subject import Subject
from tenxsom_flow_engine.settings import load
from tests.redis_proxy import RedisProxy
from tests.redis_server import RedisServer

PREFIX = "fuzz"
JOBS = f"{{{PREFIX}}}:jobs".encode()
#: Values that are not the engine's.
GARBAGE = (
    *(text.encode("utf-8", "replace") for text in TEXTS), *(str(number).encode() for number in NUMBERS), b"\xff\xfe",
    b"caf\xe9", pickle.dumps({"topic": "a"}, 2), b"nan", b"inf", b"-inf", b"a1", b"a1a1", b"a1a1{}", b"a1nosuch", b"z",
    b"z" * 40, b"|", b"||||", b"{}", b"[]", b"[1]", b'{"v":1}', b"1|2", b"0|0|0|0|0", b"1-1", b"day|a|videos",
    b"2026-12-24|simulated|videos",
)  # fmt: skip
#: Replies that do not fit a command, or no command.
REPLIES = (
    b":1\r\n", b":-1\r\n", b":99999999999999999999\r\n", b":x\r\n", b"+OK\r\n", b"+\r\n",
    b"+" + b"x" * 100_000 + b"\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$2\r\n\xff\xfe\r\n", b"$3\r\nnan\r\n",
    b"$3\r\ninf\r\n", b"$-5\r\n", b"$x\r\n", b"*0\r\n", b"*-1\r\n", b"*-7\r\n", b"*x\r\n", b"*1\r\n*0\r\n",
    b"*2\r\n$-1\r\n$-1\r\n", b"*3\r\n:1\r\n$1\r\na\r\n*0\r\n", b"*5\r\n*0\r\n*0\r\n$0\r\n\r\n$1\r\n1\r\n$1\r\n0\r\n",
    b"*1\r\n" * 50 + b":1\r\n", b"*1\r\n" * 5000 + b":1\r\n", b"%1\r\n+a\r\n:1\r\n", b"~1\r\n+a\r\n", b"_\r\n",
    b"#t\r\n", b"#x\r\n", b",nan\r\n", b",1.5\r\n", b"(123456789012345678901234567890\r\n", b"=5\r\ntxt:a\r\n",
    b">1\r\n+message\r\n", b"!5\r\nERR x\r\n", b"-\r\n", b"-ERR\r\n", b"-ERR \xff\xfe\r\n",
    b"-NOSCRIPT No matching script.\r\n", b"-WRONGTYPE x\r\n", b"-X\x1b[31m\r\n", b"-EXECABORT x\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\r\n", b"\0\0\0\0", b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x15\x03\x01\0\x02\x02\x0a",
)  # fmt: skip
#: Replies after which the client waits in vain for the rest.
UNFINISHED = (b"", b"$100\r\nabc", b"*3\r\n:1\r\n", b"+OK", b"$9999999999\r\na")


@dataclass(frozen=True)
class Change:
    """A change of the values on the server, or an answer in its place."""

    act: Callable[[Any, random.Random], None] | None
    answer: Callable[[bytes], bytes | None]
    draw: random.Random
    about: str


class Records(Subject):
    """Redis servers with damaged values or odd replies: what holds for damaged databases holds for them, too."""

    name = "records"
    count, few = 200, 5

    def __enter__(self) -> Self:
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-records-"))
        self._server = RedisServer(self._root)
        self._proxy = RedisProxy(self._server.port)
        client: Any = redis.Redis(port=self._server.port)
        self._client = client
        self._original = self._root / "original"
        self._sample = fill(self._variables(self._original))
        self._values: Mapping[bytes, bytes] = {key: client.dump(key) for key in sorted(client.keys())}
        self._records: Mapping[bytes, bytes] = client.hgetall(JOBS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()
        self._proxy.close()
        self._server.kill()
        shutil.rmtree(self._root)

    def make(self, draw: random.Random) -> Change:
        if draw.random() < 0.25:
            reply = draw.choice(REPLIES) if draw.random() < 0.9 else draw.choice(UNFINISHED)
            return Change(None, _answer(reply, draw), draw, f"reply {reply[:60]!r}")
        act = draw.choice(CHANGES)
        return Change(act, lambda name: None, draw, act.__name__.strip("_"))

    def accepts(self, made: Any) -> bool:
        home = self._root / "home"
        shutil.copytree(self._original, home)
        self._client.flushall()
        for key, value in self._values.items():
            self._client.restore(key, 0, value)
        about = made.about
        try:
            if made.act:
                about = f"{about} of {self._damage(made)!r}"
            intact = self._intact()
            with self._proxy.answering(made.answer):
                ran = run_commands(self._root, self._variables(home))
            sales = bought(load(self._variables(home)))
            twice = {job for job in intact if sales.get(job, 0) > max(1, self._sample.bought.get(job, 0))}
            assert not twice, f"bought twice: {', '.join(sorted(twice))}"
            return all(one.code == 0 for one in ran if one.command != "doctor")  # it reports what it finds
        except Exception as error:
            error.add_note(about)
            raise
        finally:
            for left in (home, self._root / "results", self._root / "child.log"):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)

    def _damage(self, made: Change) -> bytes:
        key = made.draw.choice(list(self._values))
        assert made.act
        made.act(_Key(self._client, key), made.draw)
        return key

    def _intact(self) -> frozenset[str]:
        """Return the ids of the jobs whose record is that of the sample."""
        if self._client.type(JOBS) != b"hash":
            return frozenset()
        now = self._client.hgetall(JOBS)
        return frozenset(job_id.decode() for job_id, record in self._records.items() if now.get(job_id) == record)

    def _variables(self, home: Path) -> dict[str, str]:
        return environment(home, REDIS_URL=self._proxy.url, REDIS_QUEUE_KEY=PREFIX, TENXSOM_QUEUE_TYPE="redis")


@dataclass(frozen=True)
class _Key:
    """A key of the sample, with its client."""

    client: Any
    name: bytes

    @property
    def kind(self) -> str:
        """The type of its value."""
        return str(self.client.type(self.name).decode())


def _answer(reply: bytes, draw: random.Random) -> Callable[[bytes], bytes | None]:
    """Return the answers of an odd server: one command or each one from a number on gets the reply."""
    numbers = itertools.count()
    first = draw.choice((0, 1, 2, 3, 4, 6, 8, 12, 20))
    always = reply not in UNFINISHED and draw.random() < 0.5

    def answer(name: bytes) -> bytes | None:
        number = next(numbers)
        return reply if number == first or (always and number > first) else None

    return answer


def _remove(key: _Key, draw: random.Random) -> None:
    key.client.delete(key.name)


def _other_type(key: _Key, draw: random.Random) -> None:
    """Replace a value by one of another type."""
    kind = draw.choice([kind for kind in _ADD if kind != key.kind])
    key.client.delete(key.name)
    _ADD[kind](key, draw.choice(GARBAGE), draw)


def _add(key: _Key, draw: random.Random) -> None:
    """Add foreign members to a value."""
    for _ in range(draw.randint(1, 3)):
        _ADD[key.kind](key, draw.choice(GARBAGE), draw)


def _change(key: _Key, draw: random.Random) -> None:
    """Change a member of a value, or its number."""
    match key.kind:
        case "hash":
            field = draw.choice(sorted(key.client.hkeys(key.name)))
            key.client.hset(key.name, field, _changed(key.client.hget(key.name, field), draw))
        case "zset":
            member = draw.choice(key.client.zrange(key.name, 0, -1))
            key.client.zadd(key.name, {member: _score(draw)})
        case "list":
            key.client.lset(key.name, draw.randrange(key.client.llen(key.name)), draw.choice(GARBAGE))
        case "string":
            key.client.set(key.name, _changed(key.client.get(key.name), draw))
        case _:
            _add(key, draw)


def _change_record(key: _Key, draw: random.Random) -> None:
    """Change the stored records of some jobs, whatever the key."""
    for field in draw.sample(sorted(key.client.hkeys(JOBS)), draw.randint(1, 4)):
        value = key.client.hget(JOBS, field)
        begin = value.find(b"{")
        changed = value[:begin] + mutate(value[begin:], draw) if draw.random() < 0.7 else _changed(value, draw)
        key.client.hset(JOBS, field, changed)


CHANGES: tuple[Callable[[Any, random.Random], None], ...] = (
    _remove, _other_type, _other_type, _add, _add, _add, _change, _change, _change, _change_record, _change_record,
)  # fmt: skip


def _changed(value: bytes, draw: random.Random) -> bytes:
    choices = (draw.choice(GARBAGE), draw.choice(GARBAGE), damage(value, draw), mutate(value, draw), value + b"0")
    return draw.choice(choices)


def _score(draw: random.Random) -> float:
    return draw.choice((*(float(number) for number in NUMBERS), float("inf"), float("-inf"), 1.8e9))


def _add_to_stream(key: _Key, member: bytes, draw: random.Random) -> None:
    last = "18446744073709551615-18446744073709551615"
    with suppress(redis.exceptions.ResponseError):  # after the last possible id, nothing can be added
        key.client.xadd(key.name, {b"c": member, member or b"x": b""}, id=draw.choice(("*", last)))


_ADD: Mapping[str, Callable[[_Key, bytes, random.Random], object]] = {
    "string": lambda key, member, draw: key.client.set(key.name, member),
    "list": lambda key, member, draw: key.client.lpush(key.name, member),
    "set": lambda key, member, draw: key.client.sadd(key.name, member),
    "zset": lambda key, member, draw: key.client.zadd(key.name, {member: _score(draw)}),
    "hash": lambda key, member, draw: key.client.hset(key.name, member, draw.choice(GARBAGE)),
    "stream": _add_to_stream,
}
