"""Child processes that start and end quickly, forked by `multiprocessing`'s fork server.

The server has already imported the modules that workers import, so a child starts within milliseconds. It is a separate
process without threads, so forking is safe even if the requesting process has threads, and it ignores Ctrl-C.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

from tenxsom_flow_engine.services.registry import built_in

ROOT = Path(__file__).resolve().parents[1]
#: Modules that workers import when they first need them.
PRELOADED = (
    "av", "av.error", "av.subtitles.stream", "email.utils", "encodings.idna", "numpy", "structlog",
    "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin",
    "obstore.store", "tests.outputs",
    "tenxsom_flow_engine.composition", "tenxsom_flow_engine.rate_limits.redis",
    "tenxsom_flow_engine.rate_limits.sqlite", "tenxsom_flow_engine.services.http.connection",
    "tenxsom_flow_engine.store.redis.store", "tenxsom_flow_engine.store.sqlite", "tests.killable_worker",
    *(name for package in built_in() if importlib.util.find_spec(name := f"{package}.service")),
)  # fmt: skip
_CONTEXT = multiprocessing.get_context("forkserver")
#: Starting a process polls all others, and two threads must not read the exit status of one.
_REAPING = threading.Lock()


def preload(*modules: str) -> None:
    """Let the server import more modules. Call this before the first child is started."""
    _CONTEXT.set_forkserver_preload([*PRELOADED, *modules])


preload()


class Child:
    """A process of the fork server, in a separate process group."""

    def __init__(self, process: multiprocessing.context.ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid
        self._code: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the process is still running."""
        return self._code is None and not wait([self._process.sentinel], 0)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children."""
        if not self.alive:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # It has ended, or it is so new that it has no group and no children yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process with `kill -9`."""
        self.signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; negative for the signal that killed it. Raises `TimeoutError`."""
        if not wait([self._process.sentinel], timeout):
            raise TimeoutError(f"process {self.pid} is still running")
        with _REAPING:
            self._process.join()
            self._code = self._process.exitcode
        assert self._code is not None
        return self._code


def start(function: Callable[..., object], *arguments: object, log: Path) -> Child:
    """Run a function of a module with picklable arguments; the child's standard error is appended to a file."""
    process = _CONTEXT.Process(target=_run, args=(log, function, arguments), daemon=True)
    with _REAPING, _one_thread_for_numpy():
        process.start()
    return Child(process)


def _run(log: Path, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Run as the child."""
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    function(*arguments)


def _end_with_parent() -> None:
    """Kill this process and its children when the process that requested it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


@contextlib.contextmanager
def _one_thread_for_numpy() -> Iterator[None]:
    """Prevent the numpy that the server imports from starting threads, which a fork would lose."""
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OPENBLAS_NUM_THREADS"]
        else:
            os.environ["OPENBLAS_NUM_THREADS"] = before
