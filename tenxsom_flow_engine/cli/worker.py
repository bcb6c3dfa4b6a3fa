"""`worker`, and the script `worker.py`: the process that pulls jobs and runs their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import click

from tenxsom_flow_engine import logs
from tenxsom_flow_engine.cli import console, options
from tenxsom_flow_engine.cli.exit_codes import DONE, INTERRUPTED
from tenxsom_flow_engine.cli.session import overrides
from tenxsom_flow_engine.cli.signals import ReceivedSignals, received_signals

if TYPE_CHECKING:
    from tenxsom_flow_engine.workers.pull import PullWorker


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.queue_type
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    help="Number of steps run concurrently. Waiting jobs use none.",
)
@click.option("--burst", is_flag=True, help="End when every due job has succeeded or failed.")
@options.log_level
def worker(queue_type: str | None, concurrency: int, burst: bool, log_level: str) -> int:
    """Claim jobs from the queue and make their videos, until stopped.

    The first SIGTERM, SIGHUP or Ctrl-C lets running steps finish; a second SIGTERM or Ctrl-C releases them and ends
    immediately.
    """
    import logging

    from tenxsom_flow_engine import settings
    from tenxsom_flow_engine.composition import open_engine
    from tenxsom_flow_engine.workers.pull import PullWorker

    given = settings.load()
    logs.configure(log_level, given.secrets)
    engine = open_engine(given, queue_type, pulled=True, overrides=overrides())
    runner = PullWorker(engine, concurrency=concurrency, burst=burst)
    engine.check_output()
    log = logging.getLogger(__name__)
    with received_signals() as signals:
        log.info(
            "worker %s serves the %s queue (%s) with %d threads; store %s",
            runner.id,
            engine.queue.name,
            engine.queue_reason,
            concurrency,
            engine.store.place,
        )
        if engine.store.advice:
            log.warning("%s", engine.store.advice)
        _run_in_thread(runner, signals)
    log.info("worker %s ended", runner.id)
    if runner.firm:
        # Hanging steps still run in their threads and might use the store, so it stays open.
        return INTERRUPTED
    engine.close()
    return DONE


def _run_in_thread(runner: PullWorker, signals: ReceivedSignals) -> None:
    """Run the worker in a thread, and call its `stop` in this one for each signal."""
    import threading

    failures: list[BaseException] = []

    def run() -> None:
        try:
            runner.run()
        except BaseException as error:  # raised again below
            failures.append(error)
        finally:
            signals.end()

    thread = threading.Thread(target=run, name="worker")
    thread.start()
    while signals.next():
        runner.stop()
    thread.join()
    if failures:
        raise failures[0]


def main() -> NoReturn:
    """Run the command and end the process."""
    console.run(worker)
