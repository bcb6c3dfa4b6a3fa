"""Following one job to its end, with a line of progress, and working on it where no worker does."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator

import click

from tenxsom_flow_engine.cli.exits import DONE, FAILED, complain, say
from tenxsom_flow_engine.cli.view import describe, print_json
from tenxsom_flow_engine.engine import Engine, open_engine
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.pull_worker import PullWorker
from tenxsom_flow_engine.settings import load

#: Seconds between two looks, if the store does not report a change before.
LOOK = 0.5
_BAR = 24


def follow(queue_type: str | None, job_id: str, *, as_json: bool) -> int:
    """Wait until a job is final or held; print its video's path (or all as JSON) and return the exit code.

    Runs in the main thread, so that Ctrl-C ends it at once; the job then stays in the queue.
    """
    with open_engine(load(), queue_type) as engine:
        try:
            record = _to_the_end(engine, job_id)
        except KeyboardInterrupt:
            say(f"job {job_id} stays in the queue; a worker goes on with it")
            raise
        if as_json:
            print_json(describe(record, engine.store.now()))
        elif record.result:
            click.echo(record.result.path)
    if record.status is Status.SUCCEEDED:
        return DONE
    if record.error:
        complain(record.error.message, record.error.next_step)
    else:
        say(f"job {job_id} is {record.status}")
    return FAILED


def _to_the_end(engine: Engine, job_id: str) -> JobRecord:
    helper = _Helper(engine, job_id)
    never = threading.Event()
    with contextlib.closing(helper), _progress_line() as line:
        while True:
            revision = engine.store.revision()
            record = engine.store.require(job_id)
            line.show(record, engine.store.now())
            if record.due is None and record.lease is None:
                return record
            helper.step_in()
            engine.store.wait(revision, timeout=LOOK, wake=never)


class _Helper:
    """Works on one job, from a thread of its own, while no worker is alive."""

    def __init__(self, engine: Engine, job_id: str) -> None:
        self._engine = engine
        self._job_id = job_id
        self._worker: PullWorker | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def step_in(self) -> None:
        """Start working, unless a worker is alive or this works already. Raises what ended the work."""
        if self._failure is not None:
            raise self._failure
        if self._thread is not None or self._engine.queue.status().workers_alive:
            return
        self._engine.check_output()
        say("no worker is running, so this command makes the video itself")
        self._worker = PullWorker(self._engine, concurrency=1, only=self._job_id)
        self._thread = threading.Thread(target=self._run, args=(self._worker,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the work after the step in hand."""
        if self._worker is not None and self._thread is not None:
            self._worker.stop()
            self._thread.join()

    def _run(self, worker: PullWorker) -> None:
        try:
            worker.run()
        except BaseException as error:  # raised again in the thread that follows
            self._failure = error


class _ProgressLine:
    """One line on a terminal that is written again and again; elsewhere a line for each change of status."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said = ""

    def show(self, record: JobRecord, now: float) -> None:
        """Show how the job stands."""
        status = record.status_at(now)
        if not self._live:
            if status != self._said:
                say(f"{status}" + (f": {record.error.message}" if record.error else ""))
            self._said = status
            return
        filled = round(_BAR * record.progress)
        last = record.events[-1]
        text = f"{'█' * filled}{'░' * (_BAR - filled)} {record.progress:4.0%} {status} {last.detail or last.what}"
        width = shutil.get_terminal_size().columns
        click.echo("\r\x1b[K" + text[: width - 1], err=True, nl=False)

    def clear(self) -> None:
        """Leave a clean line behind."""
        if self._live:
            click.echo("\r\x1b[K", err=True, nl=False)


@contextlib.contextmanager
def _progress_line() -> Iterator[_ProgressLine]:
    line = _ProgressLine()
    try:
        yield line
    finally:
        line.clear()
