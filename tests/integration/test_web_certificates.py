"""The certificates that tokens are checked with: how often they are fetched, and what is said when they cannot be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tenxsom_flow_engine.errors import CertificatesUnavailable
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.web.certificates import PAUSE, Certificates, Fetched, fetch


class Source:
    """Certificates that a test changes, and how often they were fetched."""

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

    def is_away(self, key_id: str) -> bool:
        with pytest.raises(CertificatesUnavailable, match="no answer"):
            self.certificates.find(key_id)
        return True


@pytest.fixture
def source() -> Source:
    return Source()


def test_certificates_are_fetched_once_while_they_are_fresh(source: Source) -> None:
    """A thousand tokens cost one fetch, and the next one comes when the answer's age is over."""
    assert {source.certificates.find("one") for _ in range(1000)} == {"PEM 1"}
    source.clock.advance(3599)
    source.certificates.find("one")
    assert source.fetches == 1
    source.clock.advance(1)
    source.certificates.find("one")
    assert source.fetches == 2


def test_a_new_key_is_found_by_one_more_fetch(source: Source) -> None:
    """A key that came after the last fetch is known at once; one that was withdrawn is not any more."""
    source.certificates.find("one")
    source.clock.advance(PAUSE)
    source.by_key = {"two": "PEM 2"}
    assert source.certificates.find("two") == "PEM 2"
    assert source.certificates.find("one") is None
    assert source.fetches == 2


def test_made_up_key_ids_cause_no_storm(source: Source) -> None:
    """However many forged keys come in, the certificates are fetched at most once in ten seconds."""
    for number in range(1000):
        assert source.certificates.find(f"forged-{number}") is None
    assert source.fetches == 1
    assert source.certificates.find("one") == "PEM 1"
    source.clock.advance(PAUSE)
    assert source.certificates.find("forged") is None
    assert source.fetches == 2


def test_an_outage_is_told_and_asked_after_now_and_then(source: Source) -> None:
    """While there are no certificates nothing can be told; the answer after the outage is found within ten seconds."""
    source.failure = "no answer"
    assert all(source.is_away("one") for _ in range(100))
    assert source.fetches == 1
    source.failure = None
    source.clock.advance(PAUSE)
    assert source.certificates.find("one") == "PEM 1"
    assert source.fetches == 2


def test_known_keys_outlive_an_outage_until_they_are_old(source: Source) -> None:
    """While the server is away, known keys are good for their age; of others nothing can be told."""
    source.certificates.find("one")
    source.failure = "no answer"
    source.clock.advance(PAUSE)
    assert source.is_away("new")
    assert source.certificates.find("one") == "PEM 1"
    source.clock.advance(3600)
    assert source.is_away("one")


def test_threads_share_a_fetch(source: Source) -> None:
    """Deliveries that arrive together at a cold start all wait for one fetch."""
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


class Site:
    """A web server that answers as it is told."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"one": "PEM 1"}'
        self.headers: dict[str, str] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(site.status)
                for name, value in site.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/certs"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


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
    """The answer's `max-age`, less the time it has lain in caches, within reason."""
    site.headers = headers
    assert fetch(site.url) == Fetched({"one": "PEM 1"}, age)


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"{}"), (302, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b'{"one": 1}')]
)
def test_what_are_no_certificates_is_told(site: Site, status: int, body: bytes) -> None:
    """An answer that holds no certificates is an outage with the address in its message."""
    site.status, site.body = status, body
    site.headers = {"Location": site.url + "/elsewhere"}
    with pytest.raises(CertificatesUnavailable, match=site.url):
        fetch(site.url)


def test_a_server_that_is_away_is_told() -> None:
    """Nobody listens at the address: the message names it."""
    with pytest.raises(CertificatesUnavailable, match=r"127\.0\.0\.1:1"):
        fetch("http://127.0.0.1:1/certs")
