"""`dashboard`: serve the web pages where workers pull jobs and therefore serve no pages."""

from __future__ import annotations

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info
from tenxsom_flow_engine.text import host_in_url


@click.command()
@options.host
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="The port; 0 chooses a free one."
)
@options.queue_type
def dashboard(host: str, port: int, queue_type: str | None) -> None:
    """Serve the dashboard until stopped.

    It also serves /health, /ready, /stats and /metrics. It takes no deliveries and makes no videos. Log in with the
    admin token: TENXSOM_ADMIN_TOKEN, else the content of the file admin-token in TENXSOM_HOME. Expose it to other
    machines only through a proxy with TLS.
    """
    from contextlib import suppress
    from dataclasses import replace

    from tenxsom_flow_engine.composition import open_engine
    from tenxsom_flow_engine.errors import StoreFull, StoreUnavailable
    from tenxsom_flow_engine.queues.selection import choose_queue
    from tenxsom_flow_engine.settings import load
    from tenxsom_flow_engine.web.dashboard.session import admin_token, token_file
    from tenxsom_flow_engine.web.server import serve
    from tenxsom_flow_engine.web.wsgi import Application

    settings = load()
    choice = choose_queue(settings, queue_type)
    # Opened and closed once here, so that this process reports errors, not the serving one.
    with suppress(StoreUnavailable, StoreFull):  # the serving process waits for the store
        open_engine(settings, choice=choice).close()
    admin_token(settings)
    settings = replace(settings, web=replace(settings.web, port=port))
    place = "TENXSOM_ADMIN_TOKEN" if settings.admin_token else str(token_file(settings))
    info(f"the dashboard of the {choice.queue_type} queue ({choice.reason}); its token is in {place}")
    info(f"serving http://{host_in_url(host)}:{port}/" if port else "serving on a free port, shown below")
    serve(Application(settings, showing=choice), settings, host=host, processes=1, log_level="info")
