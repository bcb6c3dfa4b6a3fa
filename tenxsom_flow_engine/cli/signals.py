"""SIGTERM and SIGINT as values that the main thread reads, so that a handler never breaks or blocks other code."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT)


class ReceivedSignals:
    """A pipe with one byte for each received signal."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)

    def next(self) -> bool:
        """Wait for a signal and return True; return False after `end`."""
        return os.read(self._reader, 1) != b"\0"

    def end(self) -> None:
        """Make `next` return False, after the signals received so far. For any thread."""
        os.write(self.writer, b"\0")


@contextlib.contextmanager
def received_signals() -> Iterator[ReceivedSignals]:
    """Collect the signals instead of handling them; after the block, further ones are ignored.

    The interpreter writes the bytes itself, in whichever thread a signal arrives. A handler in Python could interrupt
    another one that holds a lock, and runs only when the main thread returns from a wait.
    """
    signals = ReceivedSignals()
    signal.set_wakeup_fd(signals.writer, warn_on_full_buffer=False)
    for number in _STOPS:
        signal.signal(number, lambda number, frame: None)
    try:
        yield signals
    finally:
        # Python's shutdown restores the default action of handled signals, which would replace the exit code.
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)


class Interrupt:
    """Whether a Ctrl-C was received."""

    received = False


@contextlib.contextmanager
def deferred_interrupt(notify: Callable[[], None] = lambda: None) -> Iterator[Interrupt]:
    """Record the first Ctrl-C in the yielded object and call `notify`; a second one interrupts as usual.

    `notify` runs in the signal handler, so it must be re-entrant.
    """
    interrupt = Interrupt()

    def record(number: int, frame: FrameType | None) -> None:
        if interrupt.received:
            raise KeyboardInterrupt
        interrupt.received = True
        notify()

    before = signal.signal(signal.SIGINT, record)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
