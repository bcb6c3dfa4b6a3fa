"""A store whose address names sentinels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.errors import StoreBroken, StoreUnavailable
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS, choose_store
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.redis.probe import is_redis_listening
from tenxsom_flow_engine.store.redis.sentinels import SentinelAddress, parse
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.testing.samples import QUEUE, new
from tests.ports import free_port
from tests.redis_sentinel import NAME, RedisSentinel
from tests.redis_server import RedisServer, newer_binary

LOGIN = "user:word%40@"


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with a user."""
    folder = tmp_path_factory.mktemp("primary")
    primary = RedisServer(folder, "--user", *["user", "on", ">word@", "~*", "&*", "+@all"], program=newer_binary())
    yield primary
    primary.kill()


@pytest.fixture(scope="module")
def sentinel(primary: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    sentinel = RedisSentinel(tmp_path_factory.mktemp("sentinel"), primary, replicas=0)
    yield sentinel
    sentinel.kill()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost/0", None),
        ("redis+sentinel://a/main", SentinelAddress((("a", 26379),), "main", "redis:///0?")),
        (
            "redis+sentinel://u:p@a:1,[::1]:2/main/3?db=4",
            SentinelAddress((("a", 1), ("::1", 2)), "main", "redis://u:p@/3?db=4"),
        ),
    ],
)
def test_addresses(url: str, address: SentinelAddress | None) -> None:
    """An address has the sentinels, the name, and what a server needs."""
    assert parse(url) == address


def test_the_store_of_a_cloud_tasks_queue_can_be_behind_sentinels() -> None:
    """`TENXSOM_STORE` takes the same address."""
    url = "redis+sentinel://a,b/main"
    choice = choose_store(load({"TENXSOM_STORE": url}), CLOUD_TASKS)
    assert (choice.scheme, choice.url) == ("redis", url)


@pytest.mark.parametrize("rest", ["a,b", "/main", "a,,b/main", "a:x/main", "a/main/x", "a/main?nosuch=1", "s#cret@a/m"])
def test_an_invalid_address_is_refused(rest: str) -> None:
    """An incomplete address is refused, with the form to write and without any part of it."""
    with pytest.raises(StoreBroken) as refused:
        RedisStore(f"redis+sentinel://{rest}", "x")
    assert "redis+sentinel://HOST:PORT,HOST:PORT/NAME" in refused.value.next_step
    assert rest not in str(refused.value)


def test_a_store_behind_sentinels(primary: RedisServer, sentinel: RedisSentinel) -> None:
    """The store is at the primary, also if the first sentinel is away; its place has no login; a wait sees a change."""
    url = f"redis+sentinel://{LOGIN}127.0.0.1:1,127.0.0.1:{sentinel.port}/{NAME}/1?sentinel_password="
    assert is_redis_listening(url)
    store, other = (RedisStore(url, "x") for _ in range(2))
    try:
        assert store.place == f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/{NAME}/1 ({{x}})"
        revision = store.revision()
        adding = threading.Thread(target=lambda: other.add(QUEUE, new("a")))
        adding.start()
        while store.revision() == revision:
            store.wait(revision, timeout=60.0, wake=WakeupEvent())
        adding.join()
        assert store.get("a") is not None
        direct = RedisStore(primary.url.replace("//", f"//{LOGIN}").replace("/0", "/1"), "x")
        assert direct.get("a") is not None
        direct.close()
    finally:
        store.close()
        other.close()


@pytest.mark.parametrize(("name", "sentinels"), [("nosuch", "one"), (NAME, "none")])
def test_without_a_primary(sentinel: RedisSentinel, name: str, sentinels: str) -> None:
    """If no sentinel answers, or none knows the name, the store is unavailable; the message names the sentinels."""
    host = f"127.0.0.1:{sentinel.port if sentinels == 'one' else free_port()}"
    with pytest.raises(StoreUnavailable, match=f"{host}/{name} name no primary") as refused:
        RedisStore(f"redis+sentinel://:s3cret@{host}/{name}", "x")
    assert f"redis-cli -h 127.0.0.1 -p {host.partition(':')[2]} SENTINEL masters" in refused.value.next_step
    assert "s3cret" not in str(refused.value)


def test_sentinels_that_require_a_password(primary: RedisServer, tmp_path: Path) -> None:
    """The sentinels' own password is an option of the address."""
    guarded = RedisSentinel(tmp_path, primary, replicas=0, password="other")
    url = f"redis+sentinel://{LOGIN}127.0.0.1:{guarded.port}/{NAME}"
    try:
        with pytest.raises(StoreUnavailable):
            RedisStore(url, "x")
        RedisStore(f"{url}?sentinel_password=other", "x").close()
    finally:
        guarded.kill()


def test_all_passwords_are_redacted() -> None:
    """The passwords of servers and sentinels in an address are secrets, with and without percent-encoding."""
    url = "redis+sentinel://u:a%40b@h/main?sentinel_password=c%40d&socket_timeout=5"
    assert {"a%40b", "a@b", "c%40d", "c@d"} <= load({"REDIS_URL": url}).secrets
    several = "redis+sentinel://u:word@a:1,[::1]:2/main"
    assert "word" in load({"REDIS_URL": several}).secrets
