"""The worker programs as the fork server starts them: with fast timings, on a machine whose clock may be wrong."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chaos.fast_timings import FAST
from tests.fork_server import ROOT

if TYPE_CHECKING:
    from tenxsom_flow_engine.web.wsgi import Application

#: What a worker that Cloud Tasks calls imports in addition to what all import.
PUSHED = (
    "gunicorn.app.wsgiapp", "gunicorn.arbiter", "gunicorn.workers.gthread", "tenxsom_flow_engine.web.app",
    "tenxsom_flow_engine.web.certificates", "tenxsom_flow_engine.web.server", "tenxsom_flow_engine.web.server_log",
    "tenxsom_flow_engine.queues.cloud_tasks.api", "google.auth.transport.requests", "google.oauth2.id_token",
)  # fmt: skip


def pull(environment: Mapping[str, str], clock_off: float, arguments: Sequence[str]) -> None:
    """Be `worker.py`."""
    from tenxsom_flow_engine.cli import console
    from tenxsom_flow_engine.cli.worker import worker

    _begin(environment, clock_off)
    console.run(worker, arguments, "worker.py", FAST)


def push(environment: Mapping[str, str], clock_off: float, arguments: Sequence[str]) -> None:
    """Be `gunicorn -c gunicorn.conf.py … cloud_tasks_worker:app`."""
    from gunicorn.app.wsgiapp import run

    _begin(environment, clock_off)
    sys.argv = ["gunicorn", "-c", "gunicorn.conf.py", *arguments, "chaos.workers:app"]
    run()


def __getattr__(name: str) -> Application:
    """Make the application that `push` serves, in the process that asks for it."""
    if name != "app":
        raise AttributeError(name)
    from tenxsom_flow_engine.web.wsgi import Application

    return Application(overrides=FAST)


def _begin(environment: Mapping[str, str], clock_off: float) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    right = time.time
    time.time = lambda: right() + clock_off
