"""Processes that are cheap enough to be killed by the hundred: forked from one that has loaded everything.

Run as a program this is the process that they are forked from. Each line of its standard input names a function and
its arguments; it says the number of the process that runs them, and how that ended.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: What a worker loads when it first needs it.
LOADED = (
    "av", "av.error", "numpy", "PIL.Image", "PIL.JpegImagePlugin", "dotenv", "email.utils",
    "tenxsom_flow_engine.engine", "tenxsom_flow_engine.rate_limits.redis", "tenxsom_flow_engine.rate_limits.sqlite",
    "tenxsom_flow_engine.services.http.connection", "tenxsom_flow_engine.services.draft.service",
    "tenxsom_flow_engine.services.heygen.service", "tenxsom_flow_engine.services.ltx_studio.service",
    "tenxsom_flow_engine.services.pixverse.service", "tenxsom_flow_engine.services.simulated.service",
    "tenxsom_flow_engine.store.redis.store", "tenxsom_flow_engine.store.sqlite",
)  # fmt: skip
_ENDS = (signal.SIGINT, signal.SIGTERM)


class Child:
    """A process of the fork_server, with a process group of its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = threading.Event()
        self._code = 0

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        self.signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code; negative for the signal that killed it."""
        if not self._ended.wait(timeout):
            raise TimeoutError(f"process {self.pid} goes on")
        return self._code

    def end(self, code: int) -> None:
        """Take note of its end."""
        self._code = code
        self._ended.set()


class ForkServer:
    """The process that others are forked from. `more` is loaded beside `LOADED`.

    What they write to standard error goes to the file `log`, or to that of this process.
    """

    def __init__(self, log: Path | None, *more: str) -> None:
        self._children: dict[int, Child] = {}
        self._born: queue.SimpleQueue[Child] = queue.SimpleQueue()
        with contextlib.ExitStack() as opened:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", *more],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                stderr=opened.enter_context(log.open("a")) if log else None,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        #: One order and its answer at a time.
        self._asking = threading.Lock()
        self._listener = threading.Thread(target=self._listen, name="fork_server", daemon=True)
        self._listener.start()

    def start(self, function: str, *arguments: Any) -> Child:
        """Run a function, as in `package.module:function`, with arguments that JSON can hold."""
        assert self._process.stdin is not None
        with self._asking:
            self._process.stdin.write(json.dumps([function, arguments]) + "\n")
            self._process.stdin.flush()
            return self._born.get(timeout=60)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and all that it has started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, pid, code = line.split()
            if word == "born":
                child = self._children[int(pid)] = Child(int(pid))
                self._born.put(child)
            else:
                self._children.pop(int(pid)).end(int(code))


def _main(more: Sequence[str]) -> None:
    # So that the children need not load them.
    for module in (*LOADED, *more):
        importlib.import_module(module)
    from tenxsom_flow_engine.logs import configure

    configure("debug")
    ended, ending = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(ending, False)
    signal.set_wakeup_fd(ending)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    # It ends with its input, so that it leaves nobody behind: a Ctrl-C is meant for whoever started it.
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    living: set[int] = set()
    asked = b""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
        while living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            living.remove(pid)
            _say("ended", pid, os.waitstatus_to_exitcode(status))
        if 0 in ready:
            more_asked = os.read(0, 1 << 16)
            if not more_asked:
                break
            *lines, asked = (asked + more_asked).split(b"\n")
            for line in lines:
                living.add(pid := _fork(*json.loads(line)))
                _say("born", pid, 0)
    for pid in living:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _say("ended", pid, -signal.SIGKILL)


def _fork(function: str, arguments: Sequence[Any]) -> int:
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # it does so too: whoever comes first
            os.setpgid(child, child)
        return child
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *_ENDS):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        module, _, name = function.partition(":")
        getattr(importlib.import_module(module), name)(*arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _say(word: str, pid: int, code: int) -> None:
    sys.stdout.write(f"{word} {pid} {code}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
