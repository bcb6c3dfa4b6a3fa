"""Worker programs for the fork server: with timings of `fast_timings`, and with a clock that can be wrong."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chaos.fast_timings import TIMINGS
from tests.fork_server import ROOT

if TYPE_CHECKING:
    from tenxsom_flow_engine.web.wsgi import Application

#: Modules that a push worker imports in addition to those that every worker imports.
PUSH_MODULES = (
    "gunicorn.app.wsgiapp", "gunicorn.arbiter", "gunicorn.workers.gthread", "tenxsom_flow_engine.web.app",
    "tenxsom_flow_engine.web.certificates", "tenxsom_flow_engine.web.server", "tenxsom_flow_engine.web.server_log",
    "tenxsom_flow_engine.queues.cloud_tasks.api", "google.auth.transport.requests", "google.oauth2.id_token",
)  # fmt: skip


def pull(environment: Mapping[str, str], clock_offset: float, timings: str, arguments: Sequence[str]) -> None:
    """Run `worker.py`, with a clock that is `clock_offset` seconds fast, and with the timings of a name."""
    from tenxsom_flow_engine.cli import console
    from tenxsom_flow_engine.cli.worker import worker

    _set_up(environment, clock_offset)
    console.run(worker, arguments, "worker.py", TIMINGS[timings])


def push(environment: Mapping[str, str], clock_offset: float, timings: str, arguments: Sequence[str]) -> None:
    """Run `gunicorn -c gunicorn.conf.py … cloud_tasks_worker:app`; the clock and timings are as for `pull`."""
    from gunicorn.app.wsgiapp import run

    _set_up(environment, clock_offset)
    sys.argv = ["gunicorn", "-c", "gunicorn.conf.py", *arguments, f"chaos.workers:application({timings!r})"]
    run()


def application(timings: str) -> Application:
    """Return the application that `push` serves."""
    from tenxsom_flow_engine.web.wsgi import Application

    return Application(overrides=TIMINGS[timings])


def _set_up(environment: Mapping[str, str], clock_offset: float) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    true_time = time.time
    time.time = lambda: true_time() + clock_offset
