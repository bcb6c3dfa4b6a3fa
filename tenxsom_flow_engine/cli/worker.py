"""`worker`, and the script `worker.py`: the process that pulls jobs and runs their steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import click

from tenxsom_flow_engine import logs
from tenxsom_flow_engine.cli import console, options
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED, INTERRUPTED
from tenxsom_flow_engine.cli.program import program
from tenxsom_flow_engine.cli.session import overrides
from tenxsom_flow_engine.cli.signals import ReceivedSignals, received_signals

if TYPE_CHECKING:
    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.workers.pull import PullWorker

#: Seconds between two attempts to open a store that is away.
RETRY_SECONDS = 1.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.queue_type
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=96,
    show_default=True,
    help="Maximum number of steps run concurrently, each in a thread. The queue's limit applies too.",
)
@click.option("--burst", is_flag=True, help="End when no job is due or rendering any more.")
@options.log_level
def worker(queue_type: str | None, concurrency: int, burst: bool, log_level: str) -> int:
    """Claim jobs from the queue and make their videos, until stopped.

    The first SIGTERM, SIGHUP or Ctrl-C lets running steps finish; a second SIGTERM or Ctrl-C releases them and ends
    immediately. A store that is away at the start is waited for, except with --burst, which exits with 1 if a job
    failed or is held.
    """
    import logging

    from tenxsom_flow_engine import settings
    from tenxsom_flow_engine.composition import open_engine
    from tenxsom_flow_engine.errors import OutputAway
    from tenxsom_flow_engine.report.query import findings
    from tenxsom_flow_engine.text import plural
    from tenxsom_flow_engine.workers.pull import PullWorker

    given = settings.load()
    logs.configure(log_level, given.secrets)
    log = logging.getLogger(__name__)
    handed_in = overrides()

    def opened() -> Engine:
        return open_engine(given, queue_type, pulled=True, overrides=handed_in)

    with received_signals() as signals:
        # A burst is run by cron or a person, who gets an exit code instead.
        engine = opened() if burst else _when_available(opened, signals)
        if engine is None:
            return DONE
        runner = PullWorker(engine, concurrency=concurrency, burst=burst, findings=findings)
        try:
            engine.check_output()
        except OutputAway as away:  # what is fetched until then waits in the spool
            log.warning("%s", away)
        if engine.home and not burst:
            engine.home.remember()  # the first job must come to this worker
        log.info(
            "worker %s serves the %s queue (%s) with at most %d threads; store %s",
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
    if burst and runner.unsuccessful:
        log.error("%s failed or held; list them with: %s jobs", plural(runner.unsuccessful, "job"), program())
        return FAILED
    return DONE


def _when_available(opened: Callable[[], Engine], signals: ReceivedSignals) -> Engine | None:
    """Open the engine, waiting for a store that is away; return None if a signal ends the wait."""
    import logging

    from tenxsom_flow_engine.errors import StoreFull, StoreUnavailable
    from tenxsom_flow_engine.store.outage import Outage

    outage = Outage(logging.getLogger(__name__), "the store")
    while True:
        try:
            engine = opened()
        except (StoreUnavailable, StoreFull) as error:
            outage.failed("open", f"waiting for the store: {error}")
        else:
            outage.succeeded("open")
            return engine
        if signals.within(RETRY_SECONDS):
            return None


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
