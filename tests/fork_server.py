"""Child processes that are cheap to start and to kill, forked by `multiprocessing`'s fork server.

The server has imported what workers import, so a child starts within milliseconds. It is a process of its own without
threads, so forking is safe whatever runs in the process that asks for a child, and it ignores Ctrl-C.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

from tenxsom_flow_engine.services.registry import built_in

ROOT = Path(__file__).resolve().parents[1]
#: What workers import when they first need it.
PRELOADED = (
    "av", "av.error", "av.subtitles.stream", "dotenv", "email.utils", "encodings.idna", "numpy", "structlog",
    "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin",
    "tenxsom_flow_engine.composition", "tenxsom_flow_engine.rate_limits.redis",
    "tenxsom_flow_engine.rate_limits.sqlite", "tenxsom_flow_engine.services.http.connection",
    "tenxsom_flow_engine.store.redis.store", "tenxsom_flow_engine.store.sqlite", "tests.killable_worker",
    *(f"{package}.service" for package in built_in()),
)  # fmt: skip
_CONTEXT = multiprocessing.get_context("forkserver")
#: Starting a process polls all others, and two threads must not read the exit status of one.
_REAPING = threading.Lock()


def preload(*modules: str) -> None:
    """Have the server import more modules. Call this before the first child is started."""
    _CONTEXT.set_forkserver_preload([*PRELOADED, *modules])


preload()


class Child:
    """A process of the fork server, with a process group of its own."""

    def __init__(self, process: multiprocessing.context.ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid
        self._code: int | None = None

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._code is None and not wait([self._process.sentinel], 0)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started."""
        if not self.alive:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # It has ended, or it is so young that it has no group yet and has started nothing.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        self.signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code; negative for the signal that killed it. Raises `TimeoutError`."""
        if not wait([self._process.sentinel], timeout):
            raise TimeoutError(f"process {self.pid} is still running")
        with _REAPING:
            self._process.join()
            self._code = self._process.exitcode
        assert self._code is not None
        return self._code


def start(function: Callable[..., object], *arguments: object, log: Path) -> Child:
    """Run a function of a module, with arguments that can be pickled; the child's standard error is added to a file."""
    process = _CONTEXT.Process(target=_run, args=(log, function, arguments), daemon=True)
    with _REAPING, _one_thread_for_numpy():
        process.start()
    return Child(process)


def _run(log: Path, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Be the child."""
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    function(*arguments)


def _end_with_parent() -> None:
    """Kill this process and what it has started when the process that asked for it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


@contextlib.contextmanager
def _one_thread_for_numpy() -> Iterator[None]:
    """Keep the numpy that the server imports from starting threads, which a fork would lose."""
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OPENBLAS_NUM_THREADS"]
        else:
            os.environ["OPENBLAS_NUM_THREADS"] = before
