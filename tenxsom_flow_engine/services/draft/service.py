"""`draft`: the service that is built in. It renders a short on this machine, for nothing, without a network.

It goes through the same steps as a paid one: a create starts a child process that renders into a work folder, a check
looks at that folder, a fetch takes the files out of it. The child goes on when its worker ends, and a render whose
child died is begun again, so an order is never lost; and since the work folder carries the order's reference,
repeating a create orders nothing twice.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tenxsom_flow_engine.errors import InvalidInput, Transient
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import Failed, Fit, Progress, Ready, VideoService
from tenxsom_flow_engine.services.draft.workfolder import FILES, Order, WorkFolder

NAME = "draft"
MAX_DURATION = 60
ASPECT_RATIOS = ("9:16", "16:9", "1:1")
QUALITIES = ("1080p", "720p", "540p")
#: A render whose child died so often is given up.
MAX_STARTS = 3
#: Seconds between two looks at a render.
POLL = 0.3
#: Seconds after which a work folder has been fetched, or never will be.
STALE = 86400.0

_CHILD = "tenxsom_flow_engine.services.draft.child"
_IMPORT_ROOT = Path(__file__).resolve().parents[3]


class DraftService(VideoService):
    """See the module. `root` holds the work folders; workers that share it share their renders."""

    name = NAME
    create_timeout = 10.0
    lifetime = 3600.0
    repeatable_for = math.inf

    def __init__(self, root: Path) -> None:
        self._root = root
        self._children: list[subprocess.Popen[bytes]] = []
        self.slots = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def fit(self, job: VideoJob) -> Fit:
        if job.duration > MAX_DURATION:
            raise InvalidInput("duration", f"drafts are 1 to {MAX_DURATION} seconds long, not {job.duration}")
        if job.aspect_ratio not in ASPECT_RATIOS:
            raise InvalidInput("aspect_ratio", f"drafts are {', '.join(ASPECT_RATIOS)}, not {job.aspect_ratio}")
        if job.quality and job.quality not in QUALITIES:
            raise InvalidInput("quality", f"drafts are {', '.join(QUALITIES)}, not {job.quality}")
        return Fit(job)

    def estimate(self, job: VideoJob) -> Cost | None:
        return Cost(usd=0.0)

    def create(self, job: VideoJob, reference: str) -> Ticket:
        folder = WorkFolder(self._root / reference)
        try:
            # The seed is the topic, so the same job always gives the same video.
            folder.begin(
                Order(
                    job.topic, job.prompt, job.duration, job.aspect_ratio, job.quality or QUALITIES[0], seed=job.topic
                )
            )
            self._start(folder)
        except OSError as error:
            raise Transient(NAME, f"the render cannot be started in {self._root}: {error.strerror or error}") from error
        return Ticket(reference)

    def check(self, ticket: Ticket) -> Progress | Ready | Failed:
        folder = WorkFolder(self._root / ticket.id)
        if not folder.path.is_dir():
            return Failed(f"its work folder {folder.path} is gone", charged=False)
        try:
            with folder.lock() as mine:
                # Decided under the lock: a child that ends between two looks must not be taken for a dead one.
                if mine is None:
                    return Progress(folder.progress(), POLL)
                if refusal := folder.refusal():
                    return Failed(refusal, charged=False)
                if folder.finished:
                    return Ready(url=str(folder.path))
            return self._start(folder)
        except OSError as error:
            reason = f"the render's folder {folder.path} cannot be used: {error.strerror or error}"
            raise Transient(NAME, reason) from error

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        # Linked, not moved: if publishing fails, the next fetch finds the files still here. `sweep` clears them.
        work = WorkFolder(Path(ready.url))
        for name in FILES:
            try:
                os.link(work.files / name, folder / name)
            except OSError:  # a file system without hard links
                shutil.copyfile(work.files / name, folder / name)

    def sweep(self) -> None:
        """Remove the work folders of old orders."""
        with contextlib.suppress(OSError):  # another worker sweeps too
            for path in self._root.iterdir():
                if time.time() - path.stat().st_mtime > STALE:
                    with WorkFolder(path).lock() as mine:
                        if mine is not None:
                            shutil.rmtree(path, ignore_errors=True)

    def _start(self, folder: WorkFolder) -> Progress | Failed:
        """Start the child unless one is at work."""
        self._children = [child for child in self._children if child.poll() is None]  # also buries the dead
        with folder.lock() as lock:
            if lock is None or folder.finished:
                return Progress(folder.progress(), POLL)
            if folder.count_start() > MAX_STARTS:
                return Failed(f"the render died {MAX_STARTS} times: {folder.last_words() or 'it was killed'}", False)
            with (folder.path / "errors").open("wb") as errors:
                child = subprocess.Popen(
                    [sys.executable, "-m", _CHILD, str(folder.path.resolve())],
                    cwd=_IMPORT_ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=(lock,),  # holds the folder's lock for as long as the child lives
                    start_new_session=True,  # a signal to the worker's group is not for the render
                )
            self._children.append(child)
        return Progress(0.0, POLL)
