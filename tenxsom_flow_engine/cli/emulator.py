"""`emulator`: a Cloud Tasks API server on this machine, for trials and development."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.signals import received_signals

if TYPE_CHECKING:
    from tenxsom_flow_engine.emulator.attempts import HttpAttempt


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65534),
    default=8123,
    show_default=True,
    help="Port of the API; 0 chooses a free one.",
)
@click.option(
    "--queue",
    "queues",
    metavar="NAME",
    multiple=True,
    help="Create this queue with the current limits, as `queue create` does. Can be given several times.",
)
@click.option("--project", default="local", show_default=True, help="Project of --queue.")
@click.option("--location", default="us-central1", show_default=True, help="Location of --queue.")
@click.option(
    "--worker-url",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="The worker's address to print.",
)
def emulator(port: int, queues: tuple[str, ...], project: str, location: str, worker_url: str) -> None:
    """Run a Cloud Tasks API server on this machine until stopped.

    It delivers tasks as Google does, with signed tokens. It prints the variables that the other commands need to
    standard output, and each delivery to standard error. Only this machine can reach it. The next higher port serves
    the certificates of its tokens. Its queues and tasks are lost when it ends.
    """
    from dataclasses import replace

    from tenxsom_flow_engine.emulator.server import CloudTasksServer
    from tenxsom_flow_engine.errors import QueueError
    from tenxsom_flow_engine.queues.cloud_tasks.api import Api
    from tenxsom_flow_engine.settings import load
    from tenxsom_flow_engine.store.values import DispatchLimits

    settings = load()
    limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
    failures: list[BaseException] = []

    def report(delivery: HttpAttempt) -> None:
        try:
            info(_line(delivery))
        except BaseException as error:  # raised again below, in the main thread
            failures.append(error)
            signals.end()

    with (
        received_signals() as signals,
        CloudTasksServer(port=port, certificates_port=port and port + 1, on_delivery=report) as server,
    ):
        local = replace(settings.cloud_tasks, emulator_host=server.target, project=project, location=location)
        for queue in queues:
            try:
                with closing(Api(replace(local, queue=queue))) as api:
                    api.create_queue(limits)
            except QueueError as error:
                raise click.BadParameter(error.message, param_hint="--queue") from error
        out(f"CLOUD_TASKS_EMULATOR_HOST={server.target}")
        out(f"TENXSOM_TOKEN_CERTS_URL={server.certs_url}")
        out(f"GOOGLE_CLOUD_PROJECT={project}")
        out(f"CLOUD_TASKS_LOCATION={location}")
        if queues:
            out(f"CLOUD_TASKS_QUEUE={queues[0]}")
        out(f"CLOUD_TASKS_WORKER_URL={worker_url}")
        out(f"CLOUD_TASKS_SERVICE_ACCOUNT=worker@{project}.iam.gserviceaccount.com")
        info("serving the Cloud Tasks API; set these for the other commands, or save them and set TENXSOM_ENV_FILE")
        signals.next()
    if failures:
        raise failures[0]


def _line(delivery: HttpAttempt) -> str:
    """Describe a delivery and its response in one line."""
    from tenxsom_flow_engine.clock import iso

    answer = f"{delivery.status} {delivery.reason}" if delivery.status else f"no answer ({delivery.reason})"
    then = delivery.then if delivery.next_at is None else f"again at {iso(delivery.next_at)}"
    return (
        f"{iso(delivery.at)} {delivery.queue}/{delivery.task} attempt {delivery.retry_count + 1} to {delivery.url}: "
        f"{answer} after {delivery.took:.2f} s; {then}"
    )
