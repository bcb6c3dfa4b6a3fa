"""Downloads of videos: from public addresses only, complete, and within limits."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from urllib3 import PoolManager

from tenxsom_flow_engine.errors import Rejected, ServiceError, Transient
from tenxsom_flow_engine.services.http.addresses import is_public
from tenxsom_flow_engine.services.http.connection import new_public_connections
from tenxsom_flow_engine.services.http.download import MAX_CONNECTIONS, Downloader
from tenxsom_flow_engine.services.http.fake_files import Files
from tenxsom_flow_engine.services.http.fake_server import At, Cut, FakeServer, Fault, Hang, Reply, Request, Trickle
from tenxsom_flow_engine.timings import CallTimeouts, Timings

CONTENT = bytes(range(256)) * 40
#: For transfers that must time out.
SHORT = Timings(download_call=CallTimeouts(connect=5.0, read=0.6, total=1.2))


class Store(FakeServer):
    """Serves one file; `/to?URL` redirects."""

    def __init__(self) -> None:
        super().__init__()
        self.files = Files(lambda: self.url)
        self.files.put("v.mp4", CONTENT)

    def route(self, request: Request) -> str:
        return "redirect" if request.bare_path == "/to" else "file"

    def work(self, route: str, request: Request) -> Reply:
        if route == "redirect":
            return Reply(302, b"", {"Location": request.path.partition("?")[2]})
        return self.files.answer(request)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        yield server


def fetched(folder: Path, url: str, **options: Any) -> bytes:
    """Download and return the content of the file."""
    given: dict[str, Any] = {"allow_private": "public_connections" not in options} | options
    Downloader(**given).fetch("alpha", url, folder / "video.mp4")
    assert [path.name for path in folder.iterdir()] == ["video.mp4"]
    return (folder / "video.mp4").read_bytes()


def refused(folder: Path, url: str, **options: Any) -> ServiceError:
    """Download, which must fail; check that no file appears, and return the error."""
    with pytest.raises(ServiceError) as caught:
        fetched(folder, url, **options)
    assert not (folder / "video.mp4").exists()
    assert "sig-" not in str(caught.value)
    return caught.value


def test_a_file_is_complete(store: Store, tmp_path: Path) -> None:
    """The file has the content of the URL, also after redirects."""
    assert fetched(tmp_path, store.files.sign("v.mp4")) == CONTENT
    assert fetched(tmp_path, f"{store.url}/to?/to?{store.files.sign('v.mp4')}") == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_transfer_is_resumed(store: Store, tmp_path: Path, ranges: bool) -> None:
    """After a cut only the missing part is requested if the server supports ranges, else the whole file."""
    store.files.ranges = ranges
    store.faults["file"].append(Cut(At.ANSWERING))
    assert fetched(tmp_path, store.files.sign("v.mp4")) == CONTENT
    requested = [request.headers.get("Range") for request in store.seen["file"]]
    assert requested[0] is None
    assert (requested[-1] is not None) is ranges


def test_a_file_that_changed_is_fetched_again(store: Store, tmp_path: Path) -> None:
    """Parts of two different files are never combined."""
    store.faults["file"].append(Cut(At.ANSWERING))
    other = CONTENT[::-1]
    store.on_moment = lambda route, at, request: store.files.put("v.mp4", other) if at is At.ANSWERING else None
    assert fetched(tmp_path, store.files.sign("v.mp4")) == other


def test_a_range_that_was_not_requested_is_refused(store: Store, tmp_path: Path) -> None:
    """An answer with another range than the requested one is not used."""
    part = Reply(206, CONTENT[5:], {"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"})
    store.faults["file"].extend([Cut(At.ANSWERING), part])
    assert type(refused(tmp_path, store.files.sign("v.mp4"))) is Transient


def test_a_transfer_that_breaks_repeatedly_fails(store: Store, tmp_path: Path) -> None:
    """Repeated cuts are a transient error after a limited number of connections."""
    store.files.ranges = False
    store.faults["file"].extend([Cut(At.ANSWERING)] * 50)
    assert type(refused(tmp_path, store.files.sign("v.mp4"))) is Transient
    assert len(store.seen["file"]) == MAX_CONNECTIONS


FAULTS: dict[str, tuple[Fault, type[ServiceError]]] = {
    "expired": (Reply(403, b"expired"), Transient),
    "away": (Reply(404, b"no"), Transient),
    "gone": (Reply(410, b"no"), Transient),
    "down": (Reply(503, b"no"), Transient),
    "a web page": (Reply(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}), Transient),
    "an error as JSON": (Reply(200, {"error": "x"}, {"Content-Type": "application/json"}), Transient),
    "too large by its Content-Length": (Reply(200, CONTENT + b"xx"), Rejected),
    "too slow": (Trickle(), Transient),
    "no end": (Hang(At.ANSWERING), Transient),
}


@pytest.mark.parametrize(("fault", "kind"), FAULTS.values(), ids=FAULTS)
def test_faults(store: Store, tmp_path: Path, fault: Fault, kind: type[ServiceError]) -> None:
    """No file appears for an expired URL, a page instead of a video, a slow server or a file that is too large."""
    store.faults["file"].append(fault)
    store.files.expire()
    timings = SHORT if isinstance(fault, Hang | Trickle) else Timings()
    error = refused(tmp_path, f"{store.url}/media/v.mp4", max_size=len(CONTENT) + 1, timings=timings)
    assert type(error) is kind


def test_too_large_without_saying_so(store: Store, tmp_path: Path) -> None:
    """A stream without a length is stopped at the size limit."""
    store.faults["file"].append(
        Reply(
            200, f"{2 * len(CONTENT):x}\r\n".encode() + CONTENT * 2 + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"}
        )
    )
    assert type(refused(tmp_path, store.files.sign("v.mp4"), max_size=len(CONTENT))) is Rejected


@pytest.mark.parametrize("size", ["-5", "zz", "", "1_0", "F" * 40, "1" * 5000, "\u0665"])
def test_a_chunk_with_an_invalid_size(store: Store, tmp_path: Path, size: str) -> None:
    """A stream whose parts have invalid sizes is incomplete, and requested again."""
    headers = {"Transfer-Encoding": "chunked", "Connection": "close"}
    chunks = Reply(200, f"{size}\r\nhello\r\n0\r\n\r\n".encode(), headers)
    store.faults["file"].extend([chunks] * MAX_CONNECTIONS)
    assert type(refused(tmp_path, store.files.sign("v.mp4"))) is Transient
    assert len(store.seen["file"]) == MAX_CONNECTIONS


def test_redirects_without_end(store: Store, tmp_path: Path) -> None:
    """A loop of redirects is refused after a limited number."""
    store.faults["redirect"].extend([Reply(302, b"", {"Location": "/to?x"})] * 20)
    assert type(refused(tmp_path, f"{store.url}/to?x")) is Rejected
    assert len(store.seen["redirect"]) == 6


def test_a_file_that_cannot_be_written_is_an_os_error(store: Store, tmp_path: Path) -> None:
    """An error of the file system is not reported as an error of the network."""
    with pytest.raises(FileNotFoundError):
        Downloader(allow_private=True).fetch("alpha", store.files.sign("v.mp4"), tmp_path / "no folder" / "video.mp4")


# Refused addresses.

PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2001:db8::1", "fec0::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    """Loopback, private, link-local, reserved and multicast addresses are not public, also inside IPv6 addresses."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """Globally reachable addresses are public."""
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/v.mp4", "ftp://8.8.8.8/v.mp4", "file:///etc/passwd", "https:///v.mp4", "v.mp4", "",
        "https://user:pass@8.8.8.8/v.mp4", "https://[::1/v.mp4", "HTTP://8.8.8.8/",
    ],
)  # fmt: skip
def test_addresses_that_are_not_followed(tmp_path: Path, url: str) -> None:
    """Only https URLs without a user name or password are requested."""
    assert type(refused(tmp_path, url, allow_private=False)) is Rejected


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_name_that_no_server_can_have(tmp_path: Path, host: str) -> None:
    """A URL with an invalid host name is an error of the service, not a bug of the engine."""
    assert type(refused(tmp_path, f"https://{host}/v.mp4", allow_private=False)) is Transient


@pytest.mark.parametrize("location", ["https://[::1/v.mp4", "//[x"])
def test_a_redirect_to_an_invalid_url(store: Store, tmp_path: Path, location: str) -> None:
    """A redirect to an invalid URL is not followed."""
    store.faults["redirect"].append(Reply(302, b"", {"Location": location}))
    assert type(refused(tmp_path, f"{store.url}/to")) is Rejected


def test_the_body_of_a_redirect_is_not_read(store: Store, tmp_path: Path) -> None:
    """A redirect is followed without reading its body, however long that is."""
    headers = {"Location": store.files.sign("v.mp4"), "Content-Length": str(1 << 40)}
    store.faults["redirect"].append(Reply(302, b"", headers))
    assert fetched(tmp_path, f"{store.url}/to", timings=SHORT) == CONTENT


class Names:
    """A fake name resolver: the answers for each name in turn, then always the last one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.resolved: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        self.resolved.append(host)
        answers = self.answers.get(host) or [[host]]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.7"])
def test_private_addresses_are_not_contacted(tmp_path: Path, host: str) -> None:
    """A private address is refused before a connection is made."""
    assert "not a public address" in str(refused(tmp_path, f"https://{host}:9/v.mp4", allow_private=False))


@pytest.mark.parametrize("found", [["10.0.0.7"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]])
def test_names_with_private_addresses_are_not_contacted(names: Names, tmp_path: Path, found: list[str]) -> None:
    """A host name is refused if any of its addresses is private."""
    names.answers["cdn.example"] = [found]
    assert type(refused(tmp_path, "https://cdn.example/v.mp4", allow_private=False)) is Rejected


class Tls:
    """The store behind TLS, with a certificate for `cdn.example` from a test authority."""

    def __init__(self, store: Store, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cdn.example")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("cdn.example")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = folder / "key.pem"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, private)
        store.wrap(context)
        #: Addresses that refuse connections.
        self.away: set[str] = set()
        #: The addresses that were contacted.
        self.connected: list[str] = []
        self.port = int(store.url.rpartition(":")[2])

    def connections(self) -> PoolManager:
        """Return connections that trust the authority, and that all lead to the store."""
        return new_public_connections(self._connect, ssl.create_default_context(cafile=self.authority))

    def wary_connections(self) -> PoolManager:
        """Return connections that all lead to the store, and do not trust the authority."""
        return new_public_connections(self._connect)

    def _connect(self, address: tuple[str, int], timeout: object) -> socket.socket:
        self.connected.append(address[0])
        if address[0] in self.away:
            raise ConnectionRefusedError
        caller = socket.socket()
        caller.connect(("127.0.0.1", self.port))
        return caller


@pytest.fixture
def tls(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(store, tmp_path_factory.mktemp("tls"))


def test_the_checked_address_is_the_one_that_is_connected_to(
    store: Store, tls: Tls, names: Names, tmp_path: Path
) -> None:
    """A name is resolved once, so a different second answer has no effect; TLS verifies the name."""
    names.answers["cdn.example"] = [["8.8.8.8"], ["127.0.0.1"]]
    url = store.files.sign("v.mp4").replace(store.url, f"https://cdn.example:{tls.port}")
    assert fetched(tmp_path, url, public_connections=tls.connections) == CONTENT
    assert (names.resolved, tls.connected) == (["cdn.example"], ["8.8.8.8"])


def test_a_certificate_of_another_name_is_refused(store: Store, tls: Tls, names: Names, tmp_path: Path) -> None:
    """The certificate must match the host name of the URL, although the connection is to an address."""
    names.answers["other.example"] = [["8.8.8.8"]]
    url = store.files.sign("v.mp4").replace(store.url, f"https://other.example:{tls.port}")
    assert "certificate verify failed" in str(refused(tmp_path, url, public_connections=tls.connections)).lower()
    assert store.seen["file"] == []


def test_a_certificate_of_an_unknown_authority_is_refused(store: Store, tls: Tls, names: Names, tmp_path: Path) -> None:
    """A certificate that no trusted authority has signed is refused."""
    names.answers["cdn.example"] = [["8.8.8.8"]]
    url = store.files.sign("v.mp4").replace(store.url, f"https://cdn.example:{tls.port}")
    assert "certificate verify failed" in str(refused(tmp_path, url, public_connections=tls.wary_connections)).lower()
    assert store.seen["file"] == []


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1:9/v.mp4", "https://inside.example/v.mp4", "http://cdn.example/v.mp4", "file:///x"]
)
def test_redirects_are_checked_as_well(
    store: Store,
    tls: Tls,
    names: Names,
    tmp_path: Path,
    target: str,
) -> None:
    """A public server cannot redirect to loopback, to a name with a private address, or away from TLS."""
    names.answers |= {"cdn.example": [["8.8.8.8"]], "inside.example": [["10.0.0.7"]]}
    error = refused(tmp_path, f"https://cdn.example:{tls.port}/to?{target}", public_connections=tls.connections)
    assert type(error) is Rejected
    assert tls.connected == ["8.8.8.8"]


def test_an_unreachable_address_is_skipped(store: Store, tls: Tls, names: Names, tmp_path: Path) -> None:
    """The first reachable address of several public ones is used."""
    tls.away.add("8.8.8.8")
    names.answers["cdn.example"] = [["8.8.8.8", "8.8.4.4"]]
    url = store.files.sign("v.mp4").replace(store.url, f"https://cdn.example:{tls.port}")
    assert fetched(tmp_path, url, public_connections=tls.connections) == CONTENT
    assert tls.connected == ["8.8.8.8", "8.8.4.4"]
