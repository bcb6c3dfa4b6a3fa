"""The base class of video services over HTTP: a client, a key, and a downloader for the videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.services.base import Ready, VideoService
from tenxsom_flow_engine.services.http.client import HttpApi
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.responses import ErrorRow
from tenxsom_flow_engine.timings import Timings


class HttpConfig(Protocol):
    """The common part of the configs of services over HTTP."""

    @property
    def base_url(self) -> str:
        """The base URL of the API."""

    @property
    def max_in_flight(self) -> int:
        """The limit of generations in flight at once."""


class HttpService(VideoService):
    """A service that is called through `_api`; a subclass defines the meaning of the answers and the key.

    `Timings.read_call` limits calls that cost nothing, `paid_call` limits creates.
    """

    #: The meaning of each documented error answer (see `HttpApi`).
    errors: ClassVar[Sequence[ErrorRow]]

    def __init__(
        self,
        config: HttpConfig,
        downloader: Downloader,
        timings: Timings = Timings(),
        *,
        key: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`key` is redacted from messages; it is sent as a bearer token unless `headers` contain it in another way."""
        self._downloader = downloader
        self._api = HttpApi(
            self.name,
            config.base_url,
            headers=headers or {"Authorization": f"Bearer {key}"},
            secrets=[key],
            errors=self.errors,
            timings=timings,
        )
        self.max_in_flight = config.max_in_flight
        self.create_timeout = timings.paid_call.total

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        self._downloader.fetch(self.name, ready.url, folder / "video.mp4")
