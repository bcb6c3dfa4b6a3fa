"""Serve large files to slow or paused browsers: bounded range responses for players, and few files at a time.

A video player requests an open-ended range and reads only as much as it plays. With a response of bounded size, which
RFC 9110 (section 15.3.7) allows, it requests the next piece when it needs it. A piece fits into the server's buffer for
unsent bytes (`http_server.UNSENT`), so its thread does not wait for the client. Other clients, such as a resumed
download, would take the first piece for all that is left. They get the whole range, which occupies a thread until all
but its end is sent.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

#: Maximum number of video streams in each process.
STREAMS = 4
#: Maximum bytes of a response to the range request of a player.
PIECE = 2 << 20
#: Values of `Sec-Fetch-Dest` that browsers send for their players (https://www.w3.org/TR/fetch-metadata/).
PLAYERS = ("video", "audio")
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

    Several ranges and units other than bytes are ignored, as RFC 9110 (section 14.2) allows or requires.

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
    asked = {name: value for name, value in request.environ.items() if name != "HTTP_RANGE"}
    if wanted := _range(request, stat.st_size):
        asked["HTTP_RANGE"] = wanted
    try:
        answer.make_conditional(asked, accept_ranges=True, complete_length=stat.st_size)
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


def _range(request: Request, size: int) -> str:
    """Return the header `Range` to answer: empty for the whole file; for a player, at most a piece."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return ""
    span = wanted.range_for_length(size)
    if span and span[1] - span[0] > PIECE and request.headers.get("Sec-Fetch-Dest") in PLAYERS:
        return f"bytes={span[0]}-{span[0] + PIECE - 1}"
    return wanted.to_header()


class _Outgoing(FileWrapper):
    """A file in blocks."""

    _end: Callable[[], object] = staticmethod(lambda: None)

    def then(self, act: Callable[[], object]) -> None:
        """Call `act` when the file is closed or garbage-collected: a response that is never sent is never closed."""
        self._end = weakref.finalize(self, act)

    def close(self) -> None:
        super().close()
        self._end()
