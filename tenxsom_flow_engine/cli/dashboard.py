"""`dashboard`: the pages of a worker's address, for those whose workers pull and have none."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info
from tenxsom_flow_engine.cli.session import session


@click.command()
@options.host
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="The port; 0 is any that is free."
)
@options.queue_type
def dashboard(host: str, port: int, queue_type: str | None) -> None:
    """Serve the dashboard until stopped, with /health, /ready, /stats and /metrics beside it.

    It takes no deliveries and makes no videos. Whoever opens it logs in with the admin token: TENXSOM_ADMIN_TOKEN, else
    what stands in the file admin-token in TENXSOM_HOME. Other machines should reach it through a proxy with TLS only.
    """
    from dataclasses import replace

    from tenxsom_flow_engine.web.dashboard.session import admin_token, token_file
    from tenxsom_flow_engine.web.server import serve
    from tenxsom_flow_engine.web.wsgi import Application

    # Opened and closed again, so that what is wrong is said here and not by the process that serves.
    with session(queue_type) as engine:
        settings, queue_type, reason = engine.settings, engine.queue.name, engine.queue_reason
    admin_token(settings)
    settings = replace(settings, web=replace(settings.web, port=port))
    place = "TENXSOM_ADMIN_TOKEN" if settings.admin_token else str(token_file(settings))
    info(f"the dashboard of the {queue_type} queue ({reason}); its token is in {place}")
    info(f"serving http://{host}:{port}/" if port else "serving on a free port, which the next lines name")
    serve(Application(settings, showing=queue_type), settings, host=host, processes=1, log_level="info")
