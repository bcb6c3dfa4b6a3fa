"""gunicorn's options for the worker, shared by `gunicorn -c gunicorn.conf.py` and the command line.

Steps run in threads of one or more processes, which share only the store. SIGTERM or Ctrl-C lets running steps finish;
a second Ctrl-C releases their leases. SIGHUP is like SIGTERM, but makes the `gunicorn` command reload gracefully.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from tenxsom_flow_engine.api.polling import LONG_POLLS
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.text import host_in_url
from tenxsom_flow_engine.web.file_streaming import STREAMS
from tenxsom_flow_engine.web.wsgi import Application

#: Threads in addition to those for steps, videos and long polls, so that `/health` and pages answer while all of those
#: are busy: six for a browser, which opens at most six connections to a host, and two for probes.
SPARE_THREADS = 8


def options(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's settings, except the address and the number of processes."""
    return {
        # Not gunicorn's own: in those a few slow clients occupy all threads (see docs/architecture.md).
        "worker_class": "tenxsom_flow_engine.web.gunicorn_worker.BufferingWorker",
        # The groups cannot take each other's threads: excess steps, videos and long polls are answered immediately, so
        # a request that waits for a thread waits for a spare one.
        "threads": settings.web.concurrency + STREAMS + LONG_POLLS + SPARE_THREADS,
        # Seconds without a heartbeat of a process's main thread. Steps run in other threads and can last longer.
        "timeout": 120,
        # Seconds for running steps to finish; the longest are downloads and uploads.
        "graceful_timeout": 150,
        # Google's load balancers keep an idle connection for 600 s and must close it first.
        "keepalive": 620,
        # The worker's own log has one line per delivery, without headers.
        "accesslog": None,
        "logger_class": "tenxsom_flow_engine.web.server_log.ServerLog",
        "control_socket_disable": True,
        "on_starting": on_starting,
        "post_worker_init": post_worker_init,
        "worker_int": worker_int,
        "worker_exit": worker_exit,
    }


def configuration() -> dict[str, Any]:
    """Return gunicorn's settings from the environment, for a configuration file; exit if the environment is invalid."""
    try:
        settings = load()
    except FlowError as error:
        sys.exit(f"error: {error}")
    return options(settings) | {"bind": f"0.0.0.0:{settings.web.port}"}


def on_starting(server: Any) -> None:
    """Make the first Ctrl-C a graceful shutdown, like SIGTERM. gunicorn treats a second one as a quick shutdown."""
    server.handle_int = server.handle_term


def post_worker_init(worker: Any) -> None:
    """Start the worker in its process."""
    # A Ctrl-C and the end of a terminal reach the whole process group; the master forwards them as the right signal, so
    # they do nothing here. This must be a handler: an ignored signal would stay ignored in programs that a step starts.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)
    try:
        worker.wsgi.start()
    except FlowError as error:
        from gunicorn.errors import AppImportError

        raise AppImportError(f"error: {error}") from error


def worker_int(worker: Any) -> None:
    """Abandon the running steps (quick shutdown)."""
    # gunicorn calls this in a signal handler, which another signal can interrupt.
    worker.wsgi.abandon()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the worker in its process."""
    # `wsgi` is None if the process failed before it loaded the application.
    if worker.wsgi is not None and not worker.wsgi.close():
        # A normal exit would wait for the threads of hanging steps, whose leases are already released.
        os._exit(1)


def serve(application: Application, settings: Settings, *, host: str, processes: int, log_level: str) -> NoReturn:
    """Serve an application until it is stopped, then end the process."""
    from gunicorn.app.base import BaseApplication

    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def starting(server: Any) -> None:
        on_starting(server)
        # gunicorn reloads its configuration file at SIGHUP, but here it has none.
        server.handle_hup = (lambda: None) if nohup else server.handle_term

    given = options(settings) | {
        "on_starting": starting,
        "bind": f"{host_in_url(host)}:{settings.web.port}",
        "workers": processes,
        "loglevel": log_level,
    }

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in given.items():
                self.cfg.set(name, value)

        def load(self) -> Application:
            return application

    Server().run()
    raise AssertionError("gunicorn ends the process itself")
