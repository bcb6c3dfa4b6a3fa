"""`serve`, and the script `cloud_tasks_worker.py`: the worker that Cloud Tasks pushes jobs to."""

from __future__ import annotations

from typing import NoReturn

import click

from tenxsom_flow_engine.cli import console, options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.host
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on.  [default: PORT, else 8080]")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of processes.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    help="Steps that each process runs concurrently.  [default: TENXSOM_WORKER_CONCURRENCY, else the queue's limit]",
)
@click.option("--allow-unauthenticated", is_flag=True, help="Accept deliveries without a token (for tests only).")
@options.log_level
def cloud_tasks_worker(
    host: str, port: int | None, workers: int, concurrency: int | None, allow_unauthenticated: bool, log_level: str
) -> None:
    """Run the worker that Cloud Tasks calls, until stopped.

    It takes deliveries at POST /process. The dashboard is at /, behind a login with the admin token
    (TENXSOM_ADMIN_TOKEN, else the file admin-token in TENXSOM_HOME). The first SIGTERM, SIGHUP or Ctrl-C lets running
    steps finish; a second Ctrl-C releases them and ends immediately.
    """
    from contextlib import suppress
    from dataclasses import replace

    from tenxsom_flow_engine.errors import StoreFull, StoreUnavailable
    from tenxsom_flow_engine.settings import load
    from tenxsom_flow_engine.web.auth import open_access
    from tenxsom_flow_engine.web.runtime import open_runtime
    from tenxsom_flow_engine.web.server import serve
    from tenxsom_flow_engine.web.wsgi import Application

    settings = load()
    web = replace(
        settings.web,
        port=settings.web.port if port is None else port,
        concurrency=concurrency or settings.web.concurrency,
        allow_unauthenticated=allow_unauthenticated or settings.web.allow_unauthenticated,
    )
    settings = replace(settings, web=web)
    # Opened and closed once here, so that this process reports errors, not a server process.
    open_access(settings)
    with suppress(StoreUnavailable, StoreFull):  # the server processes wait for the store
        open_runtime(settings).engine.close()
    serve(Application(settings), settings, host=host, processes=workers, log_level=log_level)


def main() -> NoReturn:
    """Run the command and end the process."""
    console.run(cloud_tasks_worker)
