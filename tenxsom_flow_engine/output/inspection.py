"""Inspects video files that can be crafted: in a child process with limits, so that a file costs its job at most."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tenxsom_flow_engine.errors import InvalidVideo, OutputError
from tenxsom_flow_engine.output.inspection_child import (
    LIMITS,
    Answer,
    Died,
    Incomplete,
    Invalid,
    Request,
    Unreadable,
    Valid,
)
from tenxsom_flow_engine.output.media import MediaFacts

#: Arguments of Python for the process that inspects.
CHILD = ("-m", "tenxsom_flow_engine.output.inspection_child")
#: Seconds for one file: the child's own limit, and some to start the process and to answer.
TIMEOUT = LIMITS.wall_time + 30.0
#: Files inspected at once; more would only compete for memory, since one takes some milliseconds.
AT_ONCE = 2
_IMPORT_ROOT = Path(__file__).resolve().parents[2]


class Inspector:
    """Inspects files in child processes. Thread-safe.

    A process is started when it is needed, and stays for the next files. `child` are its arguments for Python.
    """

    def __init__(self, child: Sequence[str] = CHILD, *, timeout: float = TIMEOUT, at_once: int = AT_ONCE) -> None:
        self._child = child
        self._timeout = timeout
        self._turns = threading.BoundedSemaphore(at_once)
        self._idle: list[_Process] = []
        #: Ends the processes; runs also when this object or the program ends.
        self.close = weakref.finalize(self, _end_all, self._idle)

    def inspect(self, video: Path, thumbnail: Path | None = None) -> MediaFacts:
        """Read a video file from start to end; if a path is given, save the frame at about one third as a JPEG.

        Raises `InvalidVideo` if the file is not a video that can be published, `OutputError` if it is incomplete or
        cannot be inspected now, and `OSError` if the file system fails.
        """
        request = Request(str(video.absolute()), str(thumbnail.absolute()) if thumbnail else None)
        with self._turns:
            answer = self._ask(request)
        match answer:
            case Valid(facts):
                return facts
            case Invalid(reason):
                raise InvalidVideo(reason)
            case Incomplete(reason):
                raise OutputError(reason)
            case Unreadable(number):
                raise OSError(number, os.strerror(number), str(video))
            case Died():
                raise _death(answer, video.name)

    def _ask(self, request: Request) -> Answer:
        """Return the answer of an idle or a new process."""
        for process in self._take():
            try:
                answer = process.ask(request, self._timeout)
            except _Ended:
                process.end()
                continue
            except BaseException:
                process.end()
                raise
            self._idle.append(process)
            return answer
        raise OutputError(
            "videos cannot be inspected: the process ended without an answer",
            next_step="check that the packages av and pillow are installed, and that the machine has free memory",
        )

    def _take(self) -> Iterator[_Process]:
        """Yield an idle process, which might have been killed since, then a new one."""
        with contextlib.suppress(IndexError):
            yield self._idle.pop()
        try:
            process = _Process(self._child)
        except OSError as error:
            raise OutputError(f"videos cannot be inspected: no process can be started: {error.strerror}") from error
        yield process


class _Ended(Exception):
    """The process ended before it answered."""


class _Process:
    """A process that inspects one file after another."""

    def __init__(self, child: Sequence[str]) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, *child],
            cwd=_IMPORT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C must not end it, and its group can be killed as a whole
        )

    def ask(self, request: Request, timeout: float) -> Answer:
        """Return the answer to a request. Raises `_Ended`, and `OutputError` after `timeout` seconds."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        try:
            self._popen.stdin.write(msgspec.json.encode(request) + b"\n")
        except BrokenPipeError:
            raise _Ended from None
        poll = select.poll()
        poll.register(self._popen.stdout, select.POLLIN)
        ends, content = time.monotonic() + timeout, b""
        while not content.endswith(b"\n"):
            if not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
                raise OutputError(f"the video could not be inspected within {timeout:g} s")
            part = self._popen.stdout.read(1 << 16)
            if not part:
                raise _Ended
            content += part
        try:
            answer: Answer = msgspec.json.decode(content, type=Answer)
        except msgspec.DecodeError:
            raise _Ended from None
        return answer

    def end(self) -> None:
        """Kill the process and its child."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        with self._popen:  # closes the pipes and waits
            pass


def _end_all(processes: list[_Process]) -> None:
    while processes:
        processes.pop().end()


def _death(death: Died, name: str) -> OutputError:
    """Return the error for a file whose child ended without an answer."""
    if death.signal == signal.SIGXCPU:
        return InvalidVideo(f"reading {name} takes more than {LIMITS.processor_time} s of processor time")
    if death.signal == signal.SIGALRM:
        return OutputError(f"{name} could not be read within {LIMITS.wall_time} s")
    if death.signal in (signal.SIGKILL, signal.SIGTERM):
        return OutputError(
            f"the inspection of {name} was killed", next_step="check that the machine has enough free memory"
        )
    if death.signal:
        return InvalidVideo(f"{name} crashes the video library ({signal.Signals(death.signal).name})")
    return OutputError(f"the inspection of {name} ended with exit code {death.code}")
