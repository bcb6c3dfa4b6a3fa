"""The part of Google Cloud Storage that the engine uses, as a WSGI application that keeps objects in memory.

The XML API (https://cloud.google.com/storage/docs/xml-api/reference-methods): objects with preconditions on their
generation, multipart uploads, and lists. Requests need a token or a signature, which are not verified.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

#: Headers that an object gives back to its readers.
KEPT = ("Content-Type", "Content-Disposition", "Cache-Control")


@dataclass
class StoredObject:
    """An object: its content, its generation, the headers of its upload, and the time."""

    content: bytes
    generation: int
    headers: dict[str, str]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


class GcsApplication:
    """All buckets, which exist without being created, except `missing`."""

    missing = "missing-bucket"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], StoredObject] = {}
        self._uploads: dict[str, tuple[dict[str, str], dict[int, bytes]]] = {}
        self._numbers = itertools.count(1)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data(cache=False)
        with self._lock:
            answer = self._answer(request, body)
        if request.method == "GET" and answer.status_code == 200 and "ETag" in answer.headers:
            answer.make_conditional(environ, accept_ranges=True, complete_length=answer.content_length)
        return answer(environ, start_response)

    def _answer(self, request: Request, body: bytes) -> Response:
        bucket, _, key = unquote(request.path.lstrip("/")).partition("/")
        if "Authorization" not in request.headers and "X-Goog-Signature" not in request.args:
            return _error(401, "AuthenticationRequired")
        if bucket == self.missing:
            return _error(404, "NoSuchBucket")
        match request.method, key:
            case "GET", "":
                return self._list(bucket, request)
            case "POST", _ if "uploads" in request.args:
                upload = f"upload-{next(self._numbers)}"
                self._uploads[upload] = _kept(request), {}
                return _xml(
                    f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                )
            case "PUT", _ if "uploadId" in request.args:
                self._uploads[request.args["uploadId"]][1][int(request.args["partNumber"])] = body
                etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
                return Response(status=200, headers={"ETag": f'"{etag}"'})
            case "POST", _ if "uploadId" in request.args:
                headers, parts = self._uploads.pop(request.args["uploadId"])
                stored = self._store(bucket, key, b"".join(parts[number] for number in sorted(parts)), headers)
                return _xml(
                    f"<CompleteMultipartUploadResult><ETag>{escape(stored.etag)}</ETag></CompleteMultipartUploadResult>"
                )
            case "DELETE", _ if "uploadId" in request.args:
                self._uploads.pop(request.args["uploadId"], None)
                return Response(status=204)
            case "PUT", _:
                if request.headers.get("x-goog-if-generation-match") == "0" and (bucket, key) in self._objects:
                    return _error(412, "PreconditionFailed")
                stored = self._store(bucket, key, body, _kept(request))
                return Response(status=200, headers={"ETag": stored.etag, "x-goog-generation": str(stored.generation)})
            case "DELETE", _:
                return Response(status=204) if self._objects.pop((bucket, key), None) else _error(404, "NoSuchKey")
            case _:
                return self._read(bucket, key)

    def _store(self, bucket: str, key: str, content: bytes, headers: dict[str, str]) -> StoredObject:
        stored = self._objects[bucket, key] = StoredObject(content, next(self._numbers), headers)
        return stored

    def _read(self, bucket: str, key: str) -> Response:
        stored = self._objects.get((bucket, key))
        if stored is None:
            return _error(404, "NoSuchKey")
        answer = Response(stored.content, headers=stored.headers)
        answer.headers["ETag"] = stored.etag
        answer.headers["x-goog-generation"] = str(stored.generation)
        answer.headers["Last-Modified"] = format_datetime(stored.at, usegmt=True)
        return answer

    def _list(self, bucket: str, request: Request) -> Response:
        prefix = request.args.get("prefix", "")
        after = request.args.get("continuation-token", "")
        most = int(request.args.get("max-keys", 1000))
        keys = sorted(key for owner, key in self._objects if owner == bucket and key.startswith(prefix) and key > after)
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(stored.content)}</Size>"
            f"<LastModified>{stored.at:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified><ETag>{escape(stored.etag)}</ETag></Contents>"
            for key in keys[:most]
            for stored in [self._objects[bucket, key]]
        )
        more = f"<NextContinuationToken>{escape(keys[most - 1])}</NextContinuationToken>" if keys[most:] else ""
        return _xml(f"<ListBucketResult>{entries}{more}</ListBucketResult>")


def _kept(request: Request) -> dict[str, str]:
    own = {name: value for name, value in request.headers.items() if name.lower().startswith("x-goog-meta-")}
    return {name: request.headers[name] for name in KEPT if name in request.headers} | own


def _xml(content: str) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{content}', content_type="application/xml")


def _error(status: int, code: str) -> Response:
    answer = _xml(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")
    answer.status_code = status
    return answer
