"""Follow a job until it ends, with a progress line; process it here if no worker is running."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from tenxsom_flow_engine.cli.advice import next_step_of
from tenxsom_flow_engine.cli.console import info, on_terminal, out, print_error, redraw
from tenxsom_flow_engine.cli.exit_codes import DONE, FAILED, INTERRUPTED
from tenxsom_flow_engine.cli.format import cut, job_as_dict, print_json
from tenxsom_flow_engine.cli.program import program, worker_program
from tenxsom_flow_engine.cli.signals import deferred_interrupt
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.jobs.remedies import failure_of
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.workers.pull import PullWorker

#: Seconds between two reads of the job, unless the store reports a change earlier.
POLL_SECONDS = 0.5
#: Width of the progress bar in cells.
_BAR = 24


def follow(engine: Engine, job_id: str, *, as_json: bool) -> int:
    """Wait until a job is final or held; print its video's path (or the job as JSON) and return the exit code.

    Runs in the main thread. SIGTERM, SIGHUP and Ctrl-C end the wait when this process has finished its running step;
    the job then stays in the queue.
    """
    try:
        record = _wait_until_final(engine, job_id)
    except KeyboardInterrupt:
        continuation = (
            f"no worker is running; start one with: {worker_program()}"
            if engine.unattended
            else "a worker will finish it"
        )
        info(f"job {job_id} stays in the queue; {continuation}")
        return INTERRUPTED
    if record is None:
        info(f"job {job_id} has finished, and its record was removed after the retention time")
        return DONE
    with contextlib.suppress(FlowError):  # without a worker, no other process removes expired records
        engine.sweep()
    if as_json:
        print_json(job_as_dict(record, engine.store.now()))
    elif record.result:
        out(record.result.path)
    if record.status is Status.SUCCEEDED:
        return DONE
    if failure := failure_of(record):
        print_error(failure.message, next_step_of(failure, job_id))
    else:
        info(f"job {job_id} is {record.status}")
    return FAILED


def _wait_until_final(engine: Engine, job_id: str) -> JobRecord | None:
    with (
        _relay() as (notify, wake),
        deferred_interrupt(notify) as interrupt,
        _progress_line() as line,
        contextlib.closing(_InlineWorker(engine, job_id, line)) as worker,
    ):
        while not interrupt.received:
            revision = engine.store.revision()
            record = engine.store.get(job_id)
            if record is None:
                return None
            line.show(record, engine.store.now())
            if record.due is None and record.lease is None:
                return record
            worker.start_if_needed()
            engine.store.wait(revision, timeout=POLL_SECONDS, wake=wake)
        raise KeyboardInterrupt


@contextlib.contextmanager
def _relay() -> Iterator[tuple[Callable[[], None], threading.Event]]:
    """Yield a re-entrant function, and the event that a thread sets after its first call.

    Setting the event in a signal handler could deadlock: the main thread may hold the event's lock.
    """
    calls: SimpleQueue[None] = SimpleQueue()
    event = WakeupEvent()

    def relay() -> None:
        calls.get()
        event.set()

    def call() -> None:
        calls.put(None)

    thread = threading.Thread(target=relay, name="interrupt", daemon=True)
    thread.start()
    try:
        yield call, event
    finally:
        call()  # ends the thread
        thread.join()


class _ProgressLine:
    """A line that is redrawn on a terminal; elsewhere, a new line for each change of status."""

    def __init__(self) -> None:
        self._live = on_terminal(sys.stderr)
        self._last_status = ""

    def show(self, record: JobRecord, now: float) -> None:
        """Show the job's state."""
        status = record.status_at(now)
        if not self._live:
            if status != self._last_status:
                info(f"{status}" + (f": {record.error.message}" if record.error else ""))
            self._last_status = status
            return
        filled = round(_BAR * record.progress)
        last = record.events[-1]
        detail = last.detail or last.what
        text = f"{'█' * filled}{'░' * (_BAR - filled)} {record.progress:4.0%} {status}"
        if detail != status:
            text += f" {detail}"
        redraw("\r\x1b[K" + cut(text, shutil.get_terminal_size().columns - 1))

    def message(self, text: str) -> None:
        """Print a message on a separate line."""
        self.clear()
        info(text)

    def clear(self) -> None:
        """Clear the line."""
        if self._live:
            redraw("\r\x1b[K")


class _InlineWorker:
    """Processes one job in a thread of this process if no worker is running."""

    def __init__(self, engine: Engine, job_id: str, line: _ProgressLine) -> None:
        self._engine = engine
        self._job_id = job_id
        self._line = line
        self._worker: PullWorker | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._paused = False

    def start_if_needed(self) -> None:
        """Start the thread unless it runs or a worker does. Raises the error that ended the thread."""
        if self._failure is not None:
            raise self._failure
        if not isinstance(self._engine.queue, PullsJobs):
            return  # only the web worker gets the jobs of a queue that pushes
        queue = self._engine.queue.status()
        if queue.paused and not self._paused:
            self._line.message(f"the queue is paused; resume it with: {program()} queue resume")
        self._paused = queue.paused
        if self._thread is not None or queue.workers_alive or queue.paused:
            return
        self._engine.check_output()
        self._line.message("no worker is running, so this command makes the video")
        self._worker = PullWorker(self._engine, concurrency=1, only=self._job_id)
        self._thread = threading.Thread(target=self._run, args=(self._worker,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the current step; if interrupted again, release the step and end the process."""
        if self._worker is None or self._thread is None:
            return
        self._worker.stop()
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self._worker.stop()
            self._thread.join()
            self._line.message(f"job {self._job_id} is released and stays in the queue")
            # A hanging step might still use the store, so skip closing it and Python's shutdown.
            os._exit(INTERRUPTED)

    def _run(self, worker: PullWorker) -> None:
        try:
            worker.run()
        except BaseException as error:  # raised again in the main thread
            self._failure = error


@contextlib.contextmanager
def _progress_line() -> Iterator[_ProgressLine]:
    line = _ProgressLine()
    try:
        yield line
    finally:
        line.clear()
