"""gunicorn around the worker: its options, the same for `gunicorn -c gunicorn.conf.py` and the command line.

Steps run in threads of one or more processes, which share nothing but the store. SIGTERM lets the steps in hand end; so
does Ctrl-C, and a second one hands them back.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.web.file_streaming import STREAMS
from tenxsom_flow_engine.web.wsgi import Application

#: Threads beside those for steps and for videos, so that `/health` and pages answer while all of these are taken: six
#: for a browser, which opens no more connections to one place at once and may hold each for five seconds before it asks
#: (gunicorn's `DEFAULT_WORKER_DATA_TIMEOUT`), and two for those who look after the worker.
SPARE_THREADS = 8
#: Seconds for which a thread waits for the rest of a request that has begun. gunicorn itself waits for ever, so that a
#: few connections that fall silent would hold all threads.
SILENCE = 10


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings. Those that name no worker processes or address are gunicorn's own to choose."""
    return {
        "worker_class": "gthread",
        # Each of the three has threads of its own, and none can take those of another: steps and videos that are too
        # many are refused at once, so what waits for a thread waits for one of the spare ones.
        "threads": settings.web.concurrency + STREAMS + SPARE_THREADS,
        # Seconds without a sign of life from a process's main thread, which takes no steps: those may last longer.
        "timeout": 120,
        # Seconds that the steps in hand are given to end; the longest are downloads and uploads.
        "graceful_timeout": 150,
        # Longer than the 600 s for which Google's load balancers keep an idle connection: they must close it first.
        "keepalive": 620,
        # One line for each delivery is in the worker's own log, and holds no header.
        "accesslog": None,
        "logger_class": "tenxsom_flow_engine.web.server_log.ServerLog",
        "control_socket_disable": True,
        "on_starting": on_starting,
        "when_ready": when_ready,
        "post_worker_init": post_worker_init,
        "worker_int": worker_int,
        "worker_exit": worker_exit,
    }


def configuration() -> dict[str, Any]:
    """Return gunicorn's settings from the environment, for a configuration file; end the process if it is wrong."""
    try:
        settings = load()
    except FlowError as error:
        sys.exit(f"error: {error}")
    return options(settings) | {"bind": f"0.0.0.0:{settings.web.port}"}


def on_starting(server: Any) -> None:
    """Let the first Ctrl-C be as gentle as SIGTERM. Of a second one gunicorn makes a quick shutdown."""
    server.handle_int = server.handle_term


def when_ready(server: Any, *, silence: int = SILENCE) -> None:
    """Let no connection hold a thread in silence."""
    for listener in server.LISTENERS:
        # The system's own time-out: it passes on to accepted connections, whatever gunicorn sets there.
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", silence, 0))


def post_worker_init(worker: Any) -> None:
    """Open the worker in its own process."""
    # A Ctrl-C goes to the whole group of processes; the master passes it on as what it means.
    # A handler, since an ignored signal would stay ignored in programs that a step starts.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        worker.wsgi.start()
    except FlowError as error:
        from gunicorn.errors import AppImportError

        raise AppImportError(f"error: {error}") from error


def worker_int(worker: Any) -> None:
    """Give up the steps in hand: the quick shutdown."""
    # The first call takes no more of them, the second waits for none.
    worker.wsgi.stop()
    worker.wsgi.stop()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the worker in its own process."""
    # It may have failed before the application was loaded.
    if worker.wsgi is not None and not worker.wsgi.close():
        # Python would wait for the threads of steps that hang; they are handed back.
        os._exit(1)


def serve(application: Application, settings: Settings, *, host: str, processes: int, log_level: str) -> NoReturn:
    """Serve an application until stopped, and end the process."""
    from gunicorn.app.base import BaseApplication

    given = options(settings) | {"bind": f"{host}:{settings.web.port}", "workers": processes, "loglevel": log_level}

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in given.items():
                self.cfg.set(name, value)

        def load(self) -> Application:
            return application

    Server().run()
    raise AssertionError("gunicorn ends the process itself")
