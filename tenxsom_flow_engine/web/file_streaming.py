"""Serve large files to slow or paused browsers: bounded range responses, few at a time, with a write timeout.

The number of threads is limited (`server.options`), and a response holds one until it is sent. A video player requests
an open-ended range and reads only as much as it plays. With a response of bounded size, which RFC 9110 (section 15.3.7)
allows, it requests the next piece when it needs it, and no thread waits in between.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from werkzeug.datastructures import Range
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

_log = logging.getLogger(__name__)

#: Maximum number of video streams in each process.
STREAMS = 4
#: Maximum bytes of a response to a range request.
PIECE = 2 << 20
#: Bytes per write to the socket.
BLOCK = 64 << 10
#: Seconds that a write waits for the client to read.
READ_TIMEOUT = 20.0
#: Value of the `Retry-After` header, in seconds, if no stream is free.
RETRY_AFTER = 5


def send(
    request: Request,
    path: Path,
    mimetype: str,
    *,
    max_age: int,
    streams: threading.Semaphore | None = None,
    read_timeout: float = READ_TIMEOUT,
) -> Response:
    """Return the response to a GET or HEAD of a file: the whole file, a range (206, 416) or `Not Modified` (304).

    With `streams`, the response occupies one of them until it is sent, and is a 503 if none is free. `max_age` is the
    number of seconds that the browser can reuse the file without a request. Raises `OSError`.
    """
    file = _Outgoing(path.open("rb"), request.environ.get("gunicorn.socket"), read_timeout)
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
    """A file in blocks, each written with a timeout.

    gunicorn's own wrapper has no timeout: it would wait forever for a client that stopped reading.
    """

    def __init__(self, file: IO[bytes], sock: socket.socket | None, read_timeout: float) -> None:
        super().__init__(file, BLOCK)
        self._socket = sock
        self._read_timeout = read_timeout
        self._end: Callable[[], object] = _nothing
        if sock is not None:
            # `_has_room` is also true if only a part of a block fits, so the write needs a timeout as well. gunicorn
            # resets the timeout for each request.
            sock.settimeout(read_timeout)

    def then(self, act: Callable[[], object]) -> None:
        """Call `act` when the file is closed or garbage-collected: a response that is never sent is never closed."""
        self._end = weakref.finalize(self, act)

    def __next__(self) -> bytes:
        if self._socket is not None and not _has_room(self._socket, self._read_timeout):
            _log.info("stopped sending a file: the client has not read for %.0f s", self._read_timeout)
            # The response is incomplete, so the connection must be closed.
            raise ConnectionResetError(errno.ECONNRESET, "the client stopped reading")
        return super().__next__()

    def close(self) -> None:
        super().close()
        self._end()


def _nothing() -> None:
    return


def _has_room(sock: socket.socket, timeout: float) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(timeout * 1000))
