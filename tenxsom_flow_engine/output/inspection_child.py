"""The inspection's process: `python -m tenxsom_flow_engine.output.inspection_child` examines files that can be crafted.

It reads requests from its standard input and writes one answer for each to its standard output, as lines of JSON. A
forked child with limits on memory, time and files reads the files, so a file that crashes or stalls the library ends
that child only. A file that is not a valid video ends its child; a new one reads it again, unless it was the child's
first. The process itself opens no file; it has the library loaded, so a fork takes some milliseconds. It ends with its
worker, which closes the pipe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from tenxsom_flow_engine.errors import InvalidVideo, OutputError
from tenxsom_flow_engine.output.media import MediaFacts, examine
from tenxsom_flow_engine.text import one_line

#: The longest message of an answer in characters.
MAX_WORDS = 200
#: Files that one child reads, so that what the library leaves in memory does not add up.
MAX_FILES = 50
#: The signals of a child that has reached a limit of time.
_TOO_LONG = (signal.SIGALRM, signal.SIGXCPU)


class Limits(msgspec.Struct, frozen=True):
    """The limits of one inspection: address space and written files in bytes, time in seconds, open files.

    An 8K video takes between 600 and 900 MiB with any codec, and 2 GiB on a slow disk are read within `wall_time`.
    """

    memory: int = 1536 << 20
    processor_time: int = 60
    wall_time: int = 120
    open_files: int = 32
    file_size: int = 64 << 20

    def apply(self) -> None:
        """Limit this process; each limit that is exceeded ends it or fails a call."""
        for number in (signal.SIGALRM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self.wall_time)
        _limit(resource.RLIMIT_AS, self.memory)
        # Only the soft limit: the next file needs a later one, and at the hard limit, SIGKILL would hide the reason.
        _limit(resource.RLIMIT_CPU, round(time.process_time()) + self.processor_time, keeps_hard=True)
        _limit(resource.RLIMIT_NOFILE, self.open_files)
        _limit(resource.RLIMIT_FSIZE, self.file_size)
        _limit(resource.RLIMIT_CORE, 0)


#: The limits of the engine.
LIMITS = Limits()


class Request(msgspec.Struct, frozen=True):
    """The absolute path of a video file, and of the thumbnail to make, if any."""

    video: str
    thumbnail: str | None = None


class Valid(msgspec.Struct, frozen=True, tag=True):
    """The file is a complete video."""

    facts: MediaFacts


class Invalid(msgspec.Struct, frozen=True, tag=True):
    """The file cannot be published."""

    reason: str


class Incomplete(msgspec.Struct, frozen=True, tag=True):
    """The file is incomplete; another download can be complete."""

    reason: str


class Unreadable(msgspec.Struct, frozen=True, tag=True):
    """The file system refused a read or a write with this `errno`."""

    number: int


class Died(msgspec.Struct, frozen=True, tag=True):
    """The child ended without an answer: by this signal, or else with this exit code."""

    signal: int
    code: int


Answer = Valid | Invalid | Incomplete | Unreadable | Died


def main(examine: Callable[[Path, Path | None], MediaFacts] = examine, limits: Limits = LIMITS) -> None:
    """Answer requests until the standard input ends; `examine` and `limits` apply to each file."""
    # Loaded before the first fork, so that no child loads them again.
    import av  # noqa: F401
    from PIL import Image

    Image.preinit()
    gc.freeze()  # a collection in a child would copy every page that it visits
    inspection = _Inspection(partial(_serve, examine, limits))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(inspection.answer(line)) + b"\n")
        sys.stdout.buffer.flush()


class _Inspection:
    """Passes requests to a child that runs `serve`; after a file that is not a valid video, to a new one."""

    def __init__(self, serve: Callable[[int, int], None]) -> None:
        self._serve = serve
        self._child: _Child | None = None

    def answer(self, request: bytes) -> Answer:
        """Return the answer to a request."""
        if self._child is not None:
            answer = self._ask(self._child, request)
            if isinstance(answer, Valid) or (isinstance(answer, Died) and answer.signal in _TOO_LONG):
                return answer
            # Asked again, because what an earlier file has left in that child can be the reason.
        return self._ask(_Child(self._serve), request)

    def _ask(self, child: _Child, request: bytes) -> Answer:
        answer = child.ask(request)
        if isinstance(answer, Valid) and child.files < MAX_FILES:
            self._child = child
            return answer
        self._child = None
        code = child.end()
        return answer or Died(signal=max(-code, 0), code=max(code, 0))


class _Child:
    """A forked process that runs `serve` with the descriptors that it reads requests from and writes answers to."""

    def __init__(self, serve: Callable[[int, int], None]) -> None:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self.files = 0
        self._pid = os.fork()
        if self._pid == 0:
            try:
                for inherited in (0, 1, self._requests, self._answers):  # only this process uses the worker's pipes
                    os.close(inherited)
                serve(requests, answers)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(requests)
        os.close(answers)

    def ask(self, request: bytes) -> Answer | None:
        """Return the answer to a request; None if the child has ended without one."""
        self.files += 1
        with contextlib.suppress(BrokenPipeError):
            os.write(self._requests, request)
        found = _read_unless_alone(self._answers, self._pid)
        answer: Answer | None = msgspec.json.decode(found, type=Answer) if found else None
        return answer

    def end(self) -> int:
        """Let the child end after its last answer; return its exit code, as `os.waitstatus_to_exitcode` does."""
        os.close(self._requests)
        os.close(self._answers)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _serve(examine: Callable[[Path, Path | None], MediaFacts], limits: Limits, requests: int, answers: int) -> None:
    """Answer requests until they end, or one is not about a valid video."""
    while line := os.read(requests, 1 << 16):
        answer = _answer(msgspec.json.decode(line, type=Request), examine, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(answers, msgspec.json.encode(answer))
        if not isinstance(answer, Valid):
            return


def _read_unless_alone(read_end: int, pid: int) -> bytes:
    """Return what the child wrote, nothing if it has ended; if the worker ends first, kill the child and exit."""
    poll = select.poll()
    poll.register(read_end, select.POLLIN)
    poll.register(sys.stdin.fileno(), 0)  # a hang-up is reported without being asked for
    while read_end not in (ready := dict(poll.poll())):
        if sys.stdin.fileno() in ready:
            os.kill(pid, signal.SIGKILL)
            sys.exit()
    return os.read(read_end, select.PIPE_BUF)


def _answer(request: Request, examine: Callable[[Path, Path | None], MediaFacts], limits: Limits) -> Answer:
    """Examine a file within the limits."""
    try:
        limits.apply()
        thumbnail = Path(request.thumbnail) if request.thumbnail else None
        return Valid(examine(Path(request.video), thumbnail))
    except InvalidVideo as error:
        return Invalid(one_line(error.message, MAX_WORDS))
    except OutputError as error:
        return Incomplete(one_line(error.message, MAX_WORDS))
    except MemoryError:
        return Invalid(f"reading it takes more than {limits.memory >> 20} MiB of memory")
    except OSError as error:
        return Unreadable(error.errno or 0)
    except Exception as error:
        # Also the faults of the library itself: for SVG, for instance, PyAV raises AttributeError.
        return Invalid(one_line(f"the library fails on it: {type(error).__name__}: {error}", MAX_WORDS))


def _limit(kind: int, value: int, *, keeps_hard: bool = False) -> None:
    """Set a limit of this process to `value`, unless its hard limit is lower."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS has no limit on the address space
        resource.setrlimit(kind, (value, hard if keeps_hard else value))


if __name__ == "__main__":
    main()
