"""Fetching a finished video from an address that came from outside: public places only, bounded in size and time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from tenxsom_flow_engine.errors import Rejected, Transient
from tenxsom_flow_engine.services.http.addresses import NotPublic
from tenxsom_flow_engine.services.http.client import ProcessSession
from tenxsom_flow_engine.timings import Timings

if TYPE_CHECKING:
    import requests

    from tenxsom_flow_engine.services.http.connection import Exchange

#: Bytes: many times the largest video that is made.
MAX_SIZE = 2 << 30
#: Redirects that are followed, and connections that one file may take because they break off.
MAX_REDIRECTS, MAX_CONNECTIONS = 5, 4
_CHUNK = 1 << 18
#: What error pages are. Some stores call a video by a type that says nothing, so only these are refused.
_NO_VIDEO = ("text/", "image/", "application/json", "application/xml")


class Downloader:
    """Fetches videos. `allow_private` permits private addresses and plain HTTP, for tests and rehearsals."""

    def __init__(self, *, allow_private: bool = False, max_size: int = MAX_SIZE, timings: Timings = Timings()) -> None:
        self._schemes = ("https", "http") if allow_private else ("https",)
        self._max_size = max_size
        self._timeouts = timings.download_call
        self._session = ProcessSession(public_only=not allow_private)

    def fetch(self, service: str, url: str, target: Path) -> None:
        """Fetch what `url` holds into the file `target`, which appears when it has come whole.

        Raises `Transient` where another try may do better, with a fresh address; `Rejected` where none will; and
        `OSError` where the file cannot be written.
        """
        from tenxsom_flow_engine.services.http.connection import Exchange

        part = target.with_name(target.name + ".part")
        with Exchange(self._timeouts.total) as exchange, part.open("wb") as file:
            transfer = _Transfer(file, service, self._max_size)
            for _ in range(MAX_CONNECTIONS):
                fault = self._go_on(url, transfer, exchange)
                if not fault or exchange.over:
                    break
        if fault:
            raise Transient(service, f"the video does not come whole from {urlsplit(url).hostname}: {fault}")
        part.replace(target)

    def _go_on(self, url: str, transfer: _Transfer, exchange: Exchange) -> str:
        """Fetch what is missing over one connection; return why it broke off, or nothing."""
        from tenxsom_flow_engine.services.http.connection import NETWORK_FAULTS, in_words

        for _ in range(MAX_REDIRECTS + 1):
            self._check(transfer.service, url)
            try:
                response = self._session.get().get(
                    url,
                    headers=transfer.headers(),
                    timeout=(self._timeouts.connect, self._timeouts.read),
                    allow_redirects=False,
                    stream=True,
                )
            except NotPublic as refusal:
                raise Rejected(transfer.service, f"the video is not fetched: {refusal}") from None
            except NETWORK_FAULTS as error:
                return in_words(error, exchange)
            with response:
                if response.is_redirect:
                    url = _leads_to(url, response.headers["Location"])
                    continue
                transfer.begin(response)
                chunks = response.raw.stream(_CHUNK, decode_content=False)
                while True:
                    try:
                        chunk = next(chunks, b"")
                    except NETWORK_FAULTS as error:
                        return in_words(error, exchange)
                    if not chunk:
                        return ""
                    transfer.write(chunk)
        raise Rejected(transfer.service, f"the video's address leads on and on, over {MAX_REDIRECTS} redirects")

    def _check(self, service: str, url: str) -> None:
        """Raise `Rejected` for an address that is not followed. It is not repeated: it may carry a signature."""
        try:
            parts = urlsplit(url)
            fine = parts.scheme in self._schemes and parts.hostname and parts.username is None
        except ValueError:
            fine = False
        if not fine:
            raise Rejected(
                service, f"the video's address is no {' or '.join(self._schemes)} address of a public server"
            )


def _leads_to(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location  # no address at all, as its check will find


@dataclass(slots=True)
class _Transfer:
    """How far a file has come, and the mark by which its server knows the same file again."""

    file: IO[bytes]
    service: str
    max_size: int
    mark: str = ""
    done: int = 0

    def headers(self) -> dict[str, str]:
        """Return what asks for the rest alone, where the server can tell that it is a rest of the same file."""
        return {"Range": f"bytes={self.done}-", "If-Range": self.mark} if self.done and self.mark else {}

    def begin(self, response: requests.Response) -> None:
        """Go on where the answer goes on: after what is there, or at the start again."""
        headers = response.headers
        rest = response.status_code == 206 and headers.get("Content-Range", "").startswith(f"bytes {self.done}-")
        if response.status_code != 200 and not rest:
            # Also 403, 404 and 410: the address has expired, and the next try asks the service for a fresh one.
            raise Transient(self.service, f"the video's address answers HTTP {response.status_code}")
        kind = headers.get("Content-Type", "").lower()
        if kind.startswith(_NO_VIDEO):
            raise Transient(self.service, f"the video's address holds {kind.partition(';')[0]}, not a video")
        if not rest:
            self.file.seek(0)
            self.file.truncate()
            self.done = 0
            etag = headers.get("ETag", "")
            # A weak mark does not promise the same bytes, and a date is exact to a second only.
            self.mark = etag if etag.startswith('"') and headers.get("Accept-Ranges", "").lower() == "bytes" else ""
        self._check_size(response.raw.length_remaining or 0)

    def write(self, chunk: bytes) -> None:
        """Keep what has come."""
        self._check_size(len(chunk))
        self.file.write(chunk)
        self.done += len(chunk)

    def _check_size(self, more: int) -> None:
        if self.done + more > self.max_size:
            raise Rejected(self.service, f"the video is larger than {self.max_size >> 20} MiB")
