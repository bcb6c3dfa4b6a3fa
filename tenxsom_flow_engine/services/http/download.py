"""Download a finished video from an untrusted URL: public addresses only, limited in size and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from tenxsom_flow_engine.errors import Rejected, Transient
from tenxsom_flow_engine.services.http.addresses import NotPublic
from tenxsom_flow_engine.services.http.client import ProcessConnections, make_connections
from tenxsom_flow_engine.timings import Timings

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

    from tenxsom_flow_engine.services.http.connection import Exchange

#: Bytes: many times the largest video of any service.
MAX_SIZE = 2 << 30
#: Limits for one file: redirects followed in a row, and connections used because earlier ones broke.
MAX_REDIRECTS, MAX_CONNECTIONS = 5, 4
_CHUNK = 1 << 18
#: Content types of error pages. Some file stores use generic types for videos, so only these are refused.
_NO_VIDEO = ("text/", "image/", "application/json", "application/xml")


class Downloader:
    """Downloads videos. `allow_private` permits private addresses and plain HTTP, for tests and rehearsals.

    `public_connections` makes the connections to public addresses.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        max_size: int = MAX_SIZE,
        timings: Timings = Timings(),
        public_connections: Callable[[], PoolManager] | None = None,
    ) -> None:
        self._schemes = ("https", "http") if allow_private else ("https",)
        self._max_size = max_size
        self._timeouts = timings.download_call
        make = make_connections if allow_private else public_connections or _public_connections
        self._connections = ProcessConnections(make)

    def fetch(self, service: str, url: str, target: Path) -> None:
        """Download `url` into the file `target`, which appears once it is complete.

        Raises `Transient` if another attempt with a fresh URL can succeed, `Rejected` if none can, and `OSError` if
        the file cannot be written.
        """
        from tenxsom_flow_engine.services.http.connection import Exchange

        part = target.with_name(target.name + ".part")
        with Exchange(self._timeouts.total) as exchange, part.open("wb") as file:
            transfer = _Transfer(file, service, self._max_size)
            for _ in range(MAX_CONNECTIONS):
                fault = self._resume(url, transfer, exchange)
                if not fault or exchange.over:
                    break
        if fault:
            raise Transient(service, f"the download from {urlsplit(url).hostname} is incomplete: {fault}")
        part.replace(target)

    def _resume(self, url: str, transfer: _Transfer, exchange: Exchange) -> str:
        """Download the missing part over one connection; return why it failed, or an empty string."""
        from tenxsom_flow_engine.services.http.connection import NETWORK_FAULTS, describe_failure, send

        for _ in range(MAX_REDIRECTS + 1):
            self._check(transfer.service, url)
            try:
                response = send(
                    self._connections.get(), "GET", url, headers=transfer.headers(), timeouts=self._timeouts
                )
            except NotPublic as refusal:
                raise Rejected(transfer.service, f"the video's URL was refused: {refusal}") from None
            except NETWORK_FAULTS as error:
                return describe_failure(error, exchange)
            with response:
                if location := response.get_redirect_location():
                    url = _leads_to(url, location)
                    continue
                transfer.begin(response)
                chunks = response.stream(_CHUNK, decode_content=False)
                while True:
                    try:
                        chunk = next(chunks, b"")
                    except NETWORK_FAULTS as error:
                        return describe_failure(error, exchange)
                    if not chunk:
                        return ""
                    transfer.write(chunk)
        raise Rejected(transfer.service, f"the video's URL redirects more than {MAX_REDIRECTS} times")

    def _check(self, service: str, url: str) -> None:
        """Raise `Rejected` for a forbidden URL. The message omits it, because it might contain a signature."""
        try:
            parts = urlsplit(url)
            fine = parts.scheme in self._schemes and parts.hostname and parts.username is None
        except ValueError:
            fine = False
        if not fine:
            raise Rejected(
                service, f"the video's URL is not a valid {' or '.join(self._schemes)} URL without a user name"
            )


def _public_connections() -> PoolManager:
    from tenxsom_flow_engine.services.http.connection import new_public_connections

    return new_public_connections()


def _leads_to(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location  # not a URL; `_check` refuses it


@dataclass(slots=True)
class _Transfer:
    """The state of a download: the bytes written so far, and the strong ETag of the file."""

    file: IO[bytes]
    service: str
    max_size: int
    etag: str = ""
    done: int = 0

    def headers(self) -> dict[str, str]:
        """Return the headers that request only the missing bytes, if the server can verify the file by its ETag."""
        return {"Range": f"bytes={self.done}-", "If-Range": self.etag} if self.done and self.etag else {}

    def begin(self, response: BaseHTTPResponse) -> None:
        """Position the file for the answer: at its end for a matching part, else at its start, emptied."""
        headers = response.headers
        partial = response.status == 206 and headers.get("Content-Range", "").startswith(f"bytes {self.done}-")
        if response.status != 200 and not partial:
            # Also 403, 404 and 410: the URL has expired, and the next attempt gets a fresh one from the service.
            raise Transient(self.service, f"the video's URL returned HTTP {response.status}")
        kind = headers.get("Content-Type", "").lower()
        if kind.startswith(_NO_VIDEO):
            raise Transient(self.service, f"the video's URL returned {kind.partition(';')[0]}, not a video")
        if not partial:
            self.file.seek(0)
            self.file.truncate()
            self.done = 0
            etag = headers.get("ETag", "")
            # A weak ETag does not promise the same bytes, and a date has a resolution of one second only.
            self.etag = etag if etag.startswith('"') and headers.get("Accept-Ranges", "").lower() == "bytes" else ""
        self._check_size(response.length_remaining or 0)

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        self._check_size(len(chunk))
        self.file.write(chunk)
        self.done += len(chunk)

    def _check_size(self, more: int) -> None:
        if self.done + more > self.max_size:
            raise Rejected(self.service, f"the video is larger than {self.max_size >> 20} MiB")
