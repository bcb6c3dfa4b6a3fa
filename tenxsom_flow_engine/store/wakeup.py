"""An event that a thread can poll together with a socket."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress


class WakeupEvent(threading.Event):
    """An event with a file descriptor: setting it makes `fileno()` readable until `drain`."""

    def __init__(self) -> None:
        super().__init__()
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
            # Not at exit: a daemon thread may still set the event, and the system closes the pipe anyway.
            weakref.finalize(self, os.close, end).atexit = False

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._reader

    def set(self) -> None:
        """Set the event and make `fileno()` readable.

        If it is already set, the byte has been written or is about to be.
        """
        if not self.is_set():
            super().set()
            with suppress(BlockingIOError):  # a full pipe is readable
                os.write(self._writer, b"\0")

    def drain(self) -> None:
        """Clear readability. Check `is_set` afterwards: it covers every `set` before this call.

        A later `set` makes the descriptor readable again.
        """
        with suppress(BlockingIOError):
            os.read(self._reader, 4096)
