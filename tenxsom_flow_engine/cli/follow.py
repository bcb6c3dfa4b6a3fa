"""Following one job to its end, with a line of progress, and working on it where no worker does."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator

from tenxsom_flow_engine.cli.console import DONE, FAILED, INTERRUPTED, info, on_terminal, out, print_error, redraw
from tenxsom_flow_engine.cli.format import cut, job_as_dict, print_json
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.workers.pull import PullWorker

#: Seconds between two looks, if the store does not report a change before.
LOOK = 0.5
_BAR = 24


def follow(engine: Engine, job_id: str, *, as_json: bool) -> int:
    """Wait until a job is final or held; print its video's path (or all as JSON) and return the exit code.

    Runs in the main thread, so that Ctrl-C ends it at once; the job then stays in the queue.
    """
    try:
        record = _to_the_end(engine, job_id)
    except KeyboardInterrupt:
        onward = (
            "no worker is running: go on with: python3 worker.py" if engine.unattended else "a worker goes on with it"
        )
        info(f"job {job_id} stays in the queue; {onward}")
        return INTERRUPTED
    if record is None:
        info(f"the record of job {job_id} is gone: it has finished and was not to be kept longer")
        return DONE
    with contextlib.suppress(FlowError):  # nobody else may clear away here what is done with
        engine.sweep()
    if as_json:
        print_json(job_as_dict(record, engine.store.now()))
    elif record.result:
        out(record.result.path)
    if record.status is Status.SUCCEEDED:
        return DONE
    if record.error:
        print_error(record.error.message, record.error.next_step)
    else:
        info(f"job {job_id} is {record.status}")
    return FAILED


def _to_the_end(engine: Engine, job_id: str) -> JobRecord | None:
    never = threading.Event()
    with _progress_line() as line, contextlib.closing(_Helper(engine, job_id, line)) as helper:
        while True:
            revision = engine.store.revision()
            record = engine.store.get(job_id)
            if record is None:
                return None
            line.show(record, engine.store.now())
            if record.due is None and record.lease is None:
                return record
            helper.step_in()
            engine.store.wait(revision, timeout=LOOK, wake=never)


class _ProgressLine:
    """One line on a terminal that is written again and again; elsewhere a line for each change of status."""

    def __init__(self) -> None:
        self._live = on_terminal(sys.stderr)
        self._said = ""

    def show(self, record: JobRecord, now: float) -> None:
        """Show how the job stands."""
        status = record.status_at(now)
        if not self._live:
            if status != self._said:
                info(f"{status}" + (f": {record.error.message}" if record.error else ""))
            self._said = status
            return
        filled = round(_BAR * record.progress)
        last = record.events[-1]
        detail = last.detail or last.what
        text = f"{'█' * filled}{'░' * (_BAR - filled)} {record.progress:4.0%} {status}"
        if detail != status:
            text += f" {detail}"
        redraw("\r\x1b[K" + cut(text, shutil.get_terminal_size().columns - 1))

    def talk(self, text: str) -> None:
        """Say something else, on a line of its own."""
        self.clear()
        info(text)

    def clear(self) -> None:
        """Leave a clean line behind."""
        if self._live:
            redraw("\r\x1b[K")


class _Helper:
    """Works on one job, from a thread of its own, while no worker is alive."""

    def __init__(self, engine: Engine, job_id: str, line: _ProgressLine) -> None:
        self._engine = engine
        self._job_id = job_id
        self._line = line
        self._worker: PullWorker | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._paused = False

    def step_in(self) -> None:
        """Start working, unless a worker is alive or this works already. Raises what ended the work."""
        if self._failure is not None:
            raise self._failure
        if not isinstance(self._engine.queue, PullsJobs):
            return  # its carrier brings the job to a worker, and nowhere else
        queue = self._engine.queue.status()
        if queue.paused and not self._paused:
            self._line.talk("the queue is paused; hand out jobs again with: run_flow_enhanced.py queue resume")
        self._paused = queue.paused
        if self._thread is not None or queue.workers_alive or queue.paused:
            return
        self._engine.check_output()
        self._line.talk("no worker is running, so this command makes the video itself")
        self._worker = PullWorker(self._engine, concurrency=1, only=self._job_id)
        self._thread = threading.Thread(target=self._run, args=(self._worker,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the work after the step in hand; interrupted once more, hand the step back and end the process."""
        if self._worker is None or self._thread is None:
            return
        self._worker.stop()
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self._worker.stop()
            self._thread.join()
            self._line.talk(f"job {self._job_id} is handed back and stays in the queue")
            # A step that hangs may still use the store, so that is not closed and Python's own end is passed over.
            os._exit(INTERRUPTED)

    def _run(self, worker: PullWorker) -> None:
        try:
            worker.run()
        except BaseException as error:  # raised again in the thread that follows
            self._failure = error


@contextlib.contextmanager
def _progress_line() -> Iterator[_ProgressLine]:
    line = _ProgressLine()
    try:
        yield line
    finally:
        line.clear()
