"""Serve large files to slow or paused browsers: bounded range responses, and few whole files at a time.

A video player requests an open-ended range and reads only as much as it plays. With a response of bounded size, which
RFC 9110 (section 15.3.7) allows, it requests the next piece when it needs it. A piece fits into the server's buffer for
unsent bytes (`http_server.UNSENT`), so its thread does not wait for the client. A whole file occupies a thread until
all but its end is sent.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from werkzeug.datastructures import Range
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

#: Maximum number of video streams in each process.
STREAMS = 4
#: Maximum bytes of a response to a range request.
PIECE = 2 << 20
#: Bytes per read.
BLOCK = 64 << 10
#: Value of the `Retry-After` header, in seconds, if no stream is free.
RETRY_AFTER = 5


def send(
    request: Request,
    path: Path,
    mimetype: str,
    *,
    max_age: int,
    streams: threading.Semaphore | None = None,
) -> Response:
    """Return the response to a GET or HEAD of a file: the whole file, a range (206, 416) or `Not Modified` (304).

    With `streams`, the response occupies one of them until it is sent, and is a 503 if none is free. `max_age` is the
    number of seconds that the browser can reuse the file without a request. Raises `OSError`.
    """
    file = _Outgoing(path.open("rb"), BLOCK)
    answer = Response(file, mimetype=mimetype, direct_passthrough=True)
    stat = os.fstat(file.file.fileno())
    answer.content_length = stat.st_size
    answer.last_modified = datetime.fromtimestamp(stat.st_mtime, UTC)
    answer.set_etag(f"{stat.st_mtime_ns:x}-{stat.st_size:x}")
    answer.cache_control.private = True
    answer.cache_control.max_age = max_age
    narrowed = {**request.environ, **_piece(request.range, stat.st_size)}
    try:
        answer.make_conditional(narrowed, accept_ranges=True, complete_length=stat.st_size)
    except RequestedRangeNotSatisfiable as refusal:
        answer.close()
        return Response(status=416, headers={"Content-Range": f"bytes */{refusal.length}"})
    if streams is not None and request.method == "GET" and answer.status_code in (200, 206):
        if not streams.acquire(blocking=False):
            answer.close()
            text = f"this process is already sending {STREAMS} videos; try again in a moment"
            return Response(f"{text}\n", 503, {"Retry-After": str(RETRY_AFTER)}, "text/plain")
        file.then(streams.release)
    return answer


def _piece(wanted: Range | None, size: int) -> dict[str, str]:
    """Return the header that shortens a requested range to its first piece; empty if the range is short enough."""
    span = wanted.range_for_length(size) if wanted else None
    if span is None or span[0] is None or span[1] - span[0] <= PIECE:
        return {}
    return {"HTTP_RANGE": f"bytes={span[0]}-{span[0] + PIECE - 1}"}


class _Outgoing(FileWrapper):
    """A file in blocks."""

    _end: Callable[[], object] = staticmethod(lambda: None)

    def then(self, act: Callable[[], object]) -> None:
        """Call `act` when the file is closed or garbage-collected: a response that is never sent is never closed."""
        self._end = weakref.finalize(self, act)

    def close(self) -> None:
        super().close()
        self._end()
