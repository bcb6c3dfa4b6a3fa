"""What every video service over HTTP is made of: its interface, its key, and a way to fetch its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.services.base import Ready, VideoService
from tenxsom_flow_engine.services.http.client import ORDERING, HttpApi, Timeouts
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.responses import ErrorRow


class Setup(Protocol):
    """What is set for any of them."""

    @property
    def base_url(self) -> str:
        """Where it is."""

    @property
    def max_in_flight(self) -> int:
        """Generations that may be in flight at once."""


class HttpService(VideoService):
    """A service that is asked through `_api`; a subclass says what its answers mean, and with what key it is asked."""

    #: What each documented answer means (see `HttpApi`).
    errors: ClassVar[Sequence[ErrorRow]]

    def __init__(
        self,
        setup: Setup,
        downloader: Downloader,
        *,
        key: str,
        headers: Mapping[str, str] | None = None,
        ordering: Timeouts = ORDERING,
    ) -> None:
        """`key` is shown nowhere; it is sent as a bearer token, unless `headers` carry it in another way."""
        self._downloader = downloader
        self._api = HttpApi(
            self.name,
            setup.base_url,
            headers=headers or {"Authorization": f"Bearer {key}"},
            secrets=[key],
            errors=self.errors,
            ordering=ordering,
        )
        self.max_in_flight = setup.max_in_flight
        self.create_timeout = ordering.total

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        self._downloader.fetch(self.name, ready.url, folder / "video.mp4")
