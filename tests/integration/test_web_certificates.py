"""The cache of certificates: when it fetches them, and what happens if it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate

import pytest

from tenxsom_flow_engine.errors import CertificatesUnavailable
from tenxsom_flow_engine.queues.cloud_tasks.certificates import Fetched, fetch
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.web.certificates import PAUSE, Certificates
from tests.certificate_site import Site


class Source:
    """A source of certificates that a test changes; it counts the fetches."""

    def __init__(self) -> None:
        self.by_key = {"one": "PEM 1"}
        self.failure: str | None = None
        self.fetches = 0
        self.clock = ManualClock()
        self.certificates = Certificates(self.fetch, self.clock.now)

    def fetch(self) -> Fetched:
        self.fetches += 1
        if self.failure:
            raise CertificatesUnavailable(self.failure)
        return Fetched(dict(self.by_key), 3600.0)

    def is_unavailable(self, key_id: str) -> bool:
        with pytest.raises(CertificatesUnavailable, match="no answer"):
            self.certificates.find(key_id)
        return True


@pytest.fixture
def source() -> Source:
    return Source()


def test_certificates_are_fetched_once_while_they_are_fresh(source: Source) -> None:
    """A thousand tokens need one fetch; the next one happens when the response has expired."""
    assert {source.certificates.find("one") for _ in range(1000)} == {"PEM 1"}
    source.clock.advance(3599)
    source.certificates.find("one")
    assert source.fetches == 1
    source.clock.advance(1)
    source.certificates.find("one")
    assert source.fetches == 2


def test_a_new_key_is_found_by_one_more_fetch(source: Source) -> None:
    """An unknown key causes a fetch that finds it; a withdrawn key is no longer known after it."""
    source.certificates.find("one")
    source.clock.advance(PAUSE)
    source.by_key = {"two": "PEM 2"}
    assert source.certificates.find("two") == "PEM 2"
    assert source.certificates.find("one") is None
    assert source.fetches == 2


def test_forged_key_ids_cause_few_fetches(source: Source) -> None:
    """For any number of forged key ids, the certificates are fetched at most once in ten seconds."""
    for number in range(1000):
        assert source.certificates.find(f"forged-{number}") is None
    assert source.fetches == 1
    assert source.certificates.find("one") == "PEM 1"
    source.clock.advance(PAUSE)
    assert source.certificates.find("forged") is None
    assert source.fetches == 2


def test_an_outage_is_reported_and_retried(source: Source) -> None:
    """During an outage lookups fail; the certificates are fetched again within ten seconds after it."""
    source.failure = "no answer"
    assert all(source.is_unavailable("one") for _ in range(100))
    assert source.fetches == 1
    source.failure = None
    source.clock.advance(PAUSE)
    assert source.certificates.find("one") == "PEM 1"
    assert source.fetches == 2


def test_known_keys_outlive_an_outage_until_they_are_old(source: Source) -> None:
    """During an outage, known keys are valid until they expire; lookups of other keys fail."""
    source.certificates.find("one")
    source.failure = "no answer"
    source.clock.advance(PAUSE)
    assert source.is_unavailable("new")
    assert source.certificates.find("one") == "PEM 1"
    source.clock.advance(3600)
    assert source.is_unavailable("one")


def test_threads_share_a_fetch(source: Source) -> None:
    """Concurrent lookups at a cold start wait for one fetch."""
    together = threading.Barrier(8)
    found: list[str | None] = []

    def ask() -> None:
        together.wait()
        found.append(source.certificates.find("one"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, source.fetches) == (["PEM 1"] * 8, 1)


@pytest.fixture
def site() -> Iterator[Site]:
    with closing(Site()) as site:
        yield site


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ({"Cache-Control": "public, max-age=19861, must-revalidate, no-transform", "Age": "861"}, 19000),
        ({"Cache-Control": "max-age=5"}, 60),
        ({"Cache-Control": "max-age=99999999"}, 86400),
        ({"Cache-Control": "no-cache"}, 3600),
        ({}, 3600),
    ],
)
def test_certificates_are_kept_as_long_as_their_server_says(site: Site, headers: dict[str, str], age: float) -> None:
    """The age is `max-age` minus `Age`, within bounds."""
    site.headers = headers
    fetched = fetch(site.url)
    assert (fetched.by_key, fetched.age) == ({"one": "PEM 1"}, age)


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"{}"), (302, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b'{"one": 1}')]
)
def test_an_invalid_response_is_an_outage(site: Site, status: int, body: bytes) -> None:
    """A response without certificates is an outage, and its message has the address."""
    site.status, site.body = status, body
    site.headers = {"Location": site.url + "/elsewhere"}
    with pytest.raises(CertificatesUnavailable, match=site.url):
        fetch(site.url)


@pytest.mark.parametrize("in_caches", [0, 7200])
def test_the_clock_of_the_server(site: Site, in_caches: int) -> None:
    """The date of a response, and its time in caches, show how far the server's clock is ahead; to about a second."""
    site.date = formatdate(time.time() + 3600 - in_caches, usegmt=True)
    site.headers = {"Age": str(in_caches)} if in_caches else {}
    ahead = fetch(site.url).server_ahead
    assert ahead is not None
    assert abs(ahead - 3600) < 30  # of a slow machine
    site.date = "soon"
    assert fetch(site.url).server_ahead is None


def test_a_proxy_does_not_get_requests_to_this_machine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates on the loopback interface are fetched directly, though the environment names a proxy."""
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch(site.url).by_key == {"one": "PEM 1"}


def test_a_server_that_does_not_answer_is_an_outage() -> None:
    """If no server answers, the message has the address."""
    with pytest.raises(CertificatesUnavailable, match=r"127\.0\.0\.1:1"):
        fetch("http://127.0.0.1:1/certs")
