"""The files of a fake service, served at signed URLs that can expire, with byte ranges."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from tenxsom_flow_engine.services.http.fake_server import Reply, Request

PREFIX = "/media/"


class Files:
    """Files by name. `ranges`: whether range requests are supported."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._content: dict[str, bytes] = {}
        self._signatures: set[str] = set()
        self.ranges = True
        self.content_type = "video/mp4"

    def put(self, name: str, content: bytes) -> None:
        """Store a file."""
        self._content[name] = content

    def sign(self, name: str) -> str:
        """Return a fresh signed URL of a file."""
        signature = f"sig-{secrets.token_hex(8)}"
        self._signatures.add(signature)
        return f"{self._url()}{PREFIX}{name}?signature={signature}"

    def expire(self) -> None:
        """Invalidate all signed URLs."""
        self._signatures.clear()

    def answer(self, request: Request) -> Reply:
        """Return a file, or the requested range of it."""
        parts = urlsplit(request.path)
        content = self._content.get(parts.path.removeprefix(PREFIX))
        if content is None:
            return Reply(404, {"error": "no such file"})
        if parse_qs(parts.query).get("signature", [""])[0] not in self._signatures:
            return Reply(403, b"<Error>Request has expired</Error>", {"Content-Type": "application/xml"})
        headers = {"Content-Type": self.content_type}
        if not self.ranges:
            return Reply(200, content, headers)
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers |= {"ETag": etag, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if wanted and request.headers.get("If-Range", etag) == etag:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return Reply(206, content[start:], headers)
        return Reply(200, content, headers)
