"""SIGTERM, SIGINT and SIGHUP as values that the main thread reads, so that a handler never breaks or blocks other code.

A closed terminal sends SIGHUP, often more than once, so only the first one counts. If it is ignored when the process
starts, as under `nohup`, it stays ignored.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from types import FrameType


def _stops() -> tuple[signal.Signals, ...]:
    """Return the signals that stop this process."""
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, signal.SIGINT, *hangup)


class ReceivedSignals:
    """A pipe with one byte for each received signal: its number."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        self._stopping = False

    def next(self) -> bool:
        """Wait for a signal and return True; return False after `end`."""
        while (number := os.read(self._reader, 1)[0]) == signal.SIGHUP and self._stopping:
            pass
        self._stopping = True
        return number != 0

    def within(self, seconds: float) -> bool:
        """Wait for a signal up to some seconds; return whether one has arrived, which `next` then returns."""
        return bool(select.select([self._reader], [], [], seconds)[0])

    def end(self) -> None:
        """Make `next` return False, after the signals received so far. For any thread."""
        os.write(self.writer, b"\0")


@contextlib.contextmanager
def received_signals() -> Iterator[ReceivedSignals]:
    """Collect the signals instead of handling them; after the block, further ones are ignored.

    The interpreter writes the bytes itself, in whichever thread a signal arrives. A handler in Python could interrupt
    another one that holds a lock, and runs only when the main thread returns from a wait.
    """
    signals, stops = ReceivedSignals(), _stops()
    signal.set_wakeup_fd(signals.writer, warn_on_full_buffer=False)
    for number in stops:
        signal.signal(number, lambda number, frame: None)
    try:
        yield signals
    finally:
        # Python's shutdown restores the default action of handled signals, which would replace the exit code.
        for number in stops:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)


class Interrupt:
    """Whether a signal to stop was received."""

    received = False


@contextlib.contextmanager
def deferred_interrupt(notify: Callable[[], None] = lambda: None) -> Iterator[Interrupt]:
    """Record the first signal to stop in the yielded object and call `notify`; a Ctrl-C after that interrupts as usual.

    Only a person presses Ctrl-C twice to insist; `timeout` sends SIGTERM twice. `notify` runs in the signal handler, so
    it must be re-entrant.
    """
    interrupt = Interrupt()

    def record(number: int, frame: FrameType | None) -> None:
        if interrupt.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupt.received = True
        notify()

    before = {number: signal.signal(number, record) for number in _stops()}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
