"""Redis servers that require a login or TLS, and the errors for a wrong login or certificate."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenxsom_flow_engine.errors import StoreBroken, StoreUnavailable
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.values import NewJob
from tests.redis_server import RedisServer
from tests.tls_proxy import TlsProxy, certificate

from .conftest import Flow

KEY = "flow:jobs"
DEFAULT_PASSWORD, USER_PASSWORD = secrets.token_hex(12), secrets.token_hex(12)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with a password, a user with access to our keys only, and a read-only user."""
    server = RedisServer(
        tmp_path_factory.mktemp("redis"), "--requirepass", DEFAULT_PASSWORD,
        "--user", "flow", "on", f">{USER_PASSWORD}", f"~{KEY}", f"~{{{KEY}}}*", "+@all", "-@admin",
        "--user", "reader", "on", f">{USER_PASSWORD}", "~*", "+@read", "+info", "+ping", "+select", "+client",
    )  # fmt: skip
    yield server
    server.kill()


@pytest.fixture
def guarded_flow(flow: Flow, guarded: RedisServer) -> Flow:
    flow.environment |= {"REDIS_QUEUE_KEY": KEY, "TENXSOM_SIMULATED": "latency=0"}
    return flow


def add(flow: Flow) -> None:
    with closing(flow.store()) as store:
        job = VideoJob(job_id=secrets.token_hex(6), topic="any", service="simulated", created_at=store.now())
        store.add(flow.queue, [NewJob(job)])


@pytest.mark.parametrize("login", [f":{DEFAULT_PASSWORD}", f"flow:{USER_PASSWORD}"], ids=["password", "user"])
def test_a_login_in_the_address_is_used_and_never_shown(guarded_flow: Flow, guarded: RedisServer, login: str) -> None:
    """Jobs are made with a password or a restricted user, and neither log nor status shows the password."""
    guarded_flow.environment["REDIS_URL"] = f"redis://{login}@127.0.0.1:{guarded.port}/0"
    add(guarded_flow)
    worker = guarded_flow.worker("--burst", "--log-level", "debug")
    shown = guarded_flow.run("status")
    assert worker.wait() == shown.returncode == 0
    assert '"status":"succeeded"' in guarded_flow.log()
    assert login.partition(":")[2] not in guarded_flow.log() + shown.stdout + shown.stderr


def test_a_wrong_login_is_reported(guarded_flow: Flow, guarded: RedisServer) -> None:
    """With a wrong password a worker exits with 1 and one line that names REDIS_URL and not the password."""
    workers = [
        guarded_flow.worker(REDIS_URL=f"redis://{login}127.0.0.1:{guarded.port}/0")
        for login in ("", ":wr0ng-secret@", "flow:wr0ng-secret@")
    ]
    assert [worker.wait() for worker in workers] == [1, 1, 1]
    lines = guarded_flow.log().splitlines()
    assert len(lines) == len(workers)
    assert sum("requires a login" in line for line in lines) == 1
    assert sum("rejected the login" in line for line in lines) == 2
    for line in lines:
        assert line.startswith("error: the Redis server ")
        assert "REDIS_URL" in line
        assert "wr0ng" not in line


def test_missing_permissions_are_reported(guarded_flow: Flow, guarded: RedisServer) -> None:
    """For a user without write permission, the error shows the command that grants it."""
    guarded_flow.environment["REDIS_URL"] = f"redis://reader:{USER_PASSWORD}@127.0.0.1:{guarded.port}/0"
    refused = guarded_flow.run("single", "--topic", "any", "--queue-type", "redis")
    assert refused.returncode == 1
    assert "refuses a command to this user" in refused.stderr
    assert "ACL SETUSER" in refused.stderr
    assert USER_PASSWORD not in refused.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: certificate(folder, name) for name in ("ours", "another")}


@pytest.fixture
def proxy(redis_server: RedisServer, certificates: dict[str, Path]) -> Iterator[TlsProxy]:
    with closing(TlsProxy(redis_server.port, certificates["ours"])) as proxy:
        yield proxy


def test_jobs_are_made_over_tls(on_redis: Flow, proxy: TlsProxy, certificates: dict[str, Path]) -> None:
    """With `rediss://` and the server's CA certificate, jobs are added and made."""
    on_redis.environment["REDIS_URL"] = f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={certificates['ours']}"
    add(on_redis)
    assert on_redis.worker("--burst", TENXSOM_SIMULATED="latency=0").wait() == 0, on_redis.log()
    assert '"status":"succeeded"' in on_redis.log()


def test_an_untrusted_certificate_is_refused(on_redis: Flow, proxy: TlsProxy, certificates: dict[str, Path]) -> None:
    """A server with an untrusted certificate ends a worker with exit code 1 and one line with the reason."""
    workers = [
        on_redis.worker(REDIS_URL=f"rediss://:s3cret@127.0.0.1:{proxy.port}/0{trusted}")
        for trusted in ("", f"?ssl_ca_certs={certificates['another']}")
    ]
    assert [worker.wait() for worker in workers] == [1, 1]
    lines = on_redis.log().splitlines()
    assert len(lines) == len(workers)
    for line in lines:
        assert line.startswith("error: the Redis server ")
        assert "certificate" in line
        assert "ssl_ca_certs" in line
        assert "s3cret" not in line


def refusal(url: str) -> StoreBroken:
    with pytest.raises(StoreBroken) as refused:
        RedisStore(url, KEY)
    return refused.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_another_host(redis_server: RedisServer, tmp_path: Path, host: str) -> None:
    """If the certificate is for another host, the advice is to use that host's name."""
    other = certificate(tmp_path, "other", "192.0.2.1")
    with closing(TlsProxy(redis_server.port, other)) as proxy:
        error = refusal(f"rediss://{host}:{proxy.port}/0?ssl_ca_certs={other}")
    assert "host name of the server's certificate" in error.next_step


def test_a_client_needs_a_certificate(redis_server: RedisServer, certificates: dict[str, Path]) -> None:
    """If the server requires a certificate of the client, the advice names its options, and with them it works."""
    ours, client = certificates["ours"], certificates["another"]
    with closing(TlsProxy(redis_server.port, ours, clients=client)) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={ours}"
        with pytest.raises((StoreBroken, StoreUnavailable)) as refused:  # the reason can arrive late
            RedisStore(url, KEY)
        assert "ssl_certfile" in refused.value.next_step
        RedisStore(f"{url}&ssl_certfile={client}&ssl_keyfile={client}", KEY).close()


@pytest.mark.parametrize(
    ("address", "named"),
    [("redis://127.0.0.1:1/0?nonsense=1", "nonsense"), ("rediss://127.0.0.1:1/0?ssl_ca_certs=/no/file", "/no/file")],
)
def test_an_address_with_a_wrong_option(address: str, named: str) -> None:
    """An unknown option, and a file of an option that does not exist, are named."""
    error = refusal(address)
    assert named in error.message
    assert error.next_step
