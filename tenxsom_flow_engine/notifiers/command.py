"""The command of `TENXSOM_ON_VIDEO`: a program that gets the JSON of a job with a finished video on standard input."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from tenxsom_flow_engine.events import Endpoint
from tenxsom_flow_engine.events.outbox import Message
from tenxsom_flow_engine.notifiers.base import Answer
from tenxsom_flow_engine.text import one_line
from tenxsom_flow_engine.timings import Timings

#: Characters of the program's last line of errors that are kept.
MAX_WORDS = 200


class CommandNotifier:
    """Runs a command, without a shell. An exit code other than 0 is a failure."""

    at_once = 1

    def __init__(self, command: Sequence[str], timings: Timings = Timings()) -> None:
        self._command = tuple(command)
        self._limit = timings.on_video

    @property
    def seconds(self) -> float:
        """The most seconds that an attempt takes."""
        return self._limit

    def send(self, endpoint: Endpoint, message: Message) -> Answer:
        """Run the command once."""
        try:
            # A separate group, so that its children end with it, and a signal for the worker does not reach it.
            running = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            return Answer(False, f"cannot be run: {error.strerror}", down=True)
        with running:
            try:
                _, errors = running.communicate(message.body.encode(), timeout=self._limit)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
                return Answer(False, f"did not end within {self._limit:g} s")
        if running.returncode == 0:
            return Answer(True, "exit code 0")
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        ended = f"exit code {running.returncode}" if running.returncode > 0 else f"signal {-running.returncode}"
        return Answer(False, f"{ended}: {one_line(last, MAX_WORDS)}" if last else ended)
