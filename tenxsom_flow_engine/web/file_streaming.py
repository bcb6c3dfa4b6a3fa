"""Large files on their way to browsers, which take their time, and pause: in pieces, few at once, never for ever.

A worker's threads are counted (`server.options`), and a file holds one for as long as it goes out. A player asks for a
range that is open at its end and reads no more than it shows; answered with a piece of bounded size, as RFC 9110
(section 15.3.7) allows, it asks for the next one when it needs it, and no thread waits for it in between.
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

#: Files that may be on their way at once in each process, where they are counted.
STREAMS = 4
#: Bytes of the longest answer to a range.
PIECE = 2 << 20
#: Bytes that are handed to the socket at once.
BLOCK = 64 << 10
#: Seconds for which a file waits for whoever reads it.
READ_TIMEOUT = 20.0
#: Seconds after which whoever found no stream free may ask again.
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
    """Return the answer to a GET or HEAD of a file: whole, a range of it (206, 416), or that it is as before (304).

    With `streams` it counts as one of those for as long as it goes out, and is 503 while none is free. `max_age` is for
    how many seconds the browser may show it unasked. Raises `OSError`.
    """
    file = _Outgoing(path.open("rb"), request.environ.get("gunicorn.socket"), read_timeout)
    answer = Response(file, mimetype=mimetype, direct_passthrough=True)
    stat = os.fstat(file.file.fileno())
    answer.content_length = stat.st_size
    answer.last_modified = datetime.fromtimestamp(stat.st_mtime, UTC)
    answer.set_etag(f"{stat.st_mtime_ns:x}-{stat.st_size:x}")
    answer.cache_control.private = True
    answer.cache_control.max_age = max_age
    asked = {**request.environ, **_piece(request.range, stat.st_size)}
    try:
        answer.make_conditional(asked, accept_ranges=True, complete_length=stat.st_size)
    except RequestedRangeNotSatisfiable as refusal:
        answer.close()
        return Response(status=416, headers={"Content-Range": f"bytes */{refusal.length}"})
    if streams is not None and request.method == "GET" and answer.status_code in (200, 206):
        if not streams.acquire(blocking=False):
            answer.close()
            said = f"{STREAMS} videos are being read from this process already; try again in a moment"
            return Response(f"{said}\n", 503, {"Retry-After": str(RETRY_AFTER)}, "text/plain")
        file.then(streams.release)
    return answer


def _piece(wanted: Range | None, size: int) -> dict[str, str]:
    """Return the header that asks for the first piece only of a range that is longer."""
    span = wanted.range_for_length(size) if wanted else None
    if span is None or span[0] is None or span[1] - span[0] <= PIECE:
        return {}
    return {"HTTP_RANGE": f"bytes={span[0]}-{span[0] + PIECE - 1}"}


class _Outgoing(FileWrapper):
    """A file in blocks, each of which waits only so long for room in the socket.

    Not gunicorn's own wrapper: that would wait for ever for a reader that has stopped reading.
    """

    def __init__(self, file: IO[bytes], sock: socket.socket | None, read_timeout: float) -> None:
        super().__init__(file, BLOCK)
        self._socket = sock
        self._read_timeout = read_timeout
        self._end: Callable[[], object] = _nothing
        if sock is not None:
            # Room for a part of a block is room too; the rest of it must not wait for ever either. gunicorn sets the
            # socket anew for each request.
            sock.settimeout(read_timeout)

    def then(self, act: Callable[[], object]) -> None:
        """Do something when the file is closed or forgotten: an answer that is never sent is not closed by anybody."""
        self._end = weakref.finalize(self, act)

    def __next__(self) -> bytes:
        if self._socket is not None and not _has_room(self._socket, self._read_timeout):
            _log.info("a file is not sent on: for %.0f s nobody has read it", self._read_timeout)
            # The connection must not be used again, since what it was promised has not come.
            raise ConnectionResetError(errno.ECONNRESET, "the reader has stopped reading")
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
