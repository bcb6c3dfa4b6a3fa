"""An event that a thread can wait for together with a socket."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress


class WakeupEvent(threading.Event):
    """An event that also shows as something to read at `fileno()`: once after it was set, until `drain`."""

    def __init__(self) -> None:
        super().__init__()
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
            weakref.finalize(self, os.close, end)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._reader

    def set(self) -> None:
        """Set the event, and make it visible to a poll. If it was set before, that call has done so or is about to."""
        if not self.is_set():
            super().set()
            with suppress(BlockingIOError):  # full, so it shows
                os.write(self._writer, b"\0")

    def drain(self) -> None:
        """Show it no more. Look at `is_set` afterwards: it tells what was set before this; what comes later shows."""
        with suppress(BlockingIOError):
            os.read(self._reader, 4096)
