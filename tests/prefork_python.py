"""A `python3` for shell scripts that does not import the engine for each command.

One process imports everything and forks for each call; the program on PATH is a client that passes its arguments,
environment and standard streams. Only the draft service is replaced: it makes tiny videos.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tenxsom_flow_engine.cli import console
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.cli.worker import worker
from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.composition import Overrides, make_services
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.simulated.config import SimulationPlan
from tenxsom_flow_engine.services.simulated.service import SimulatedService
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.timings import Timings

ROOT = Path(__file__).resolve().parents[1]

CLIENT = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    call = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(call).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(call)
    sys.exit(next(iter(server.recv(1)), 1))
"""


class WarmPython:
    """The forking process, alive for one `with` block; `program` is the path of its client."""

    def __init__(self, folder: Path) -> None:
        address = folder / "python.socket"
        client = folder / "client.py"
        client.write_text(CLIENT)
        self.program = folder / "python3"
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{client}" "{address}" "$@"\n')
        self.program.chmod(0o755)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.prefork_python", str(address)], cwd=ROOT, stdout=subprocess.PIPE
        )

    def __enter__(self) -> WarmPython:
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"warm\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.terminate()
        self._server.communicate()


def serve(address: str) -> None:
    """Accept calls one after another until killed; a call can make further calls."""
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps ended children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("warm\n")
        sys.stdout.flush()
        while True:
            caller, _ = listener.accept()
            if not os.fork():
                listener.close()
                _answer(caller)
            caller.close()


#: Modules that commands import lazily.
LOADED = (
    "av", "flask", "grpc", "redis", "tenxsom_flow_engine.cli.cloud_tasks_worker",
    "tenxsom_flow_engine.cli.main", "tenxsom_flow_engine.cli.worker", "tenxsom_flow_engine.doctor.run",
    "tenxsom_flow_engine.output.media", "tenxsom_flow_engine.queues.cloud_tasks.queue",
    "tenxsom_flow_engine.store.redis.store", "tenxsom_flow_engine.store.sqlite",
)  # fmt: skip


def _load() -> None:
    for name in LOADED:
        importlib.import_module(name)
    tiny_video("9:16", 5)  # fills the cache


def _with_tiny_drafts(settings: Settings, clock: Clock, timings: Timings) -> Mapping[str, VideoService]:
    """Make the default services with a simulated draft service, because rendering takes seconds."""

    class Drafts(SimulatedService):
        name, auto_selectable = "draft", True

    drafts = Drafts(SimulationPlan(latency=0.0), settings.home / "drafts", clock)
    return {**make_services(settings, clock, timings), "draft": drafts}


#: Programs that run with overrides.
COMMANDS = {"run_flow_enhanced.py": cli, "tenxsom-flow": cli, "worker.py": worker}


def _answer(caller: socket.socket) -> None:
    """Run the called program in this process and send its exit code to the caller."""
    size, streams, _, _ = socket.recv_fds(caller, 8, 3)
    length, call = int.from_bytes(size, "big"), b""
    while len(call) < length:
        call += caller.recv(length - len(call))
    sys.argv, folder, environment = json.loads(call)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 0
    try:
        if sys.argv[0] == "-c":
            exec(sys.argv[1], {"__name__": "__main__"})
        elif command := COMMANDS.get(sys.argv[0]):
            console.run(command, sys.argv[1:], sys.argv[0], Overrides(make_services=_with_tiny_drafts))
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    caller.sendall(code.to_bytes())
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
