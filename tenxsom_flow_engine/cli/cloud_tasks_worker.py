"""`serve`, and the script `cloud_tasks_worker.py`: the worker that Cloud Tasks pushes jobs to."""

from __future__ import annotations

from typing import NoReturn

import click

from tenxsom_flow_engine.cli import console, options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.host
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on.  [default: PORT, else 8080]")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    help="Steps at once in each process.  [default: TENXSOM_WORKER_CONCURRENCY, else as many as the queue allows]",
)
@click.option("--allow-unauthenticated", is_flag=True, help="Accept deliveries without a token.")
@options.log_level
def cloud_tasks_worker(
    host: str, port: int | None, workers: int, concurrency: int | None, allow_unauthenticated: bool, log_level: str
) -> None:
    """Serve the worker that Cloud Tasks calls, until stopped.

    It takes deliveries at POST /process. The dashboard is at /, behind a login with the admin token
    (TENXSOM_ADMIN_TOKEN, else admin-token in TENXSOM_HOME). After the first SIGTERM or Ctrl-C it completes its current
    steps; a Ctrl-C after it releases them and ends at once.
    """
    from dataclasses import replace

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
    # Opened and closed here once, so that errors are reported by this process and not by one of the server's.
    open_access(settings)
    open_runtime(settings).engine.close()
    serve(Application(settings), settings, host=host, processes=workers, log_level=log_level)


def main() -> NoReturn:
    """Run the command and end the process."""
    console.run(cloud_tasks_worker)
