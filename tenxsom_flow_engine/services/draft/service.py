"""`draft`: the built-in service, which renders short videos on this machine, free of charge and without a network.

It has the same steps as a paid service: a create starts a child process that renders into a work folder, a check reads
the state from that folder, a fetch links the files out of it. No order is lost: the child continues when its worker
exits, and a render whose child died is started again. A repeated create orders nothing twice, because the order's
reference is the name of its work folder.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tenxsom_flow_engine.errors import InvalidInput, Rejected, Transient
from tenxsom_flow_engine.jobs import Cost, Ticket, VideoJob
from tenxsom_flow_engine.services.base import Cancels, Failed, Fit, Lost, Progress, Ready, VideoService
from tenxsom_flow_engine.services.draft.config import DraftConfig, DraftOptions
from tenxsom_flow_engine.services.draft.in_step import PREFIX, StepRenderer
from tenxsom_flow_engine.services.draft.render.formats import (
    ASPECT_RATIOS,
    MAX_DURATION,
    MORE_SPACE,
    NAME,
    QUALITIES,
    REELS,
    REELS_RATIO,
    SAFE_AREAS,
)
from tenxsom_flow_engine.services.draft.render.pacing import pause
from tenxsom_flow_engine.services.draft.render.script import Outline, outline
from tenxsom_flow_engine.services.draft.workfolder import FILES, Order, WorkFolder
from tenxsom_flow_engine.services.fitting import read_options
from tenxsom_flow_engine.text import one_line, plural
from tenxsom_flow_engine.topics import builtin_script

if TYPE_CHECKING:
    from tenxsom_flow_engine.services.draft.render.fonts import Library

#: Starts of a render after which it has failed.
MAX_STARTS = 3
#: Age in seconds at which a work folder is removed even if it was never fetched.
STALE = 86400.0
#: The name of the folder that contains the work folders, in the output folder.
FOLDER = ".drafts"
#: Seconds from the fetch of a video to the removal of its work folder; by then it has been published.
SETTLED = 60.0

#: Seconds from the last fetch to the removal of the work folder, wherever the files went.
FETCHED = 3600.0

#: The length of a draft without an ordered length, as a multiple of the shortest time in which it can be read.
COMFORT = 1.15

_DEFAULTS = DraftConfig()
#: Arguments of Python for a render; the path of the work folder is appended.
CHILD = ("-m", "tenxsom_flow_engine.services.draft.child")
_IMPORT_ROOT = Path(__file__).resolve().parents[3]
_log = logging.getLogger(__name__)


class DraftService(VideoService, Cancels):
    """See the module. `root` contains the work folders; workers that share it share their renders.

    `fonts` decides which texts fit; by default those of this machine.
    A ticket's id is the path of its work folder and its account the rendering machine, so a worker with a different
    root still finds it.
    """

    name = NAME
    create_timeout = 10.0
    lifetime = 3600.0
    is_fallback = True
    uses_scripts = True

    #: The name of a work folder: the order's reference.
    ticket_form = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,255}")

    def __init__(
        self,
        root: Path,
        now: Callable[[], float] = time.time,
        *,
        config: DraftConfig = _DEFAULTS,
        child: Sequence[str] = CHILD,
        fonts: Library | None = None,
    ) -> None:
        self._root = root.absolute()
        self._config = config
        self._fonts = fonts
        self._child = child
        self._now = now
        self._machine = socket.gethostname()
        self._children: list[subprocess.Popen[bytes]] = []
        self._guard = threading.Lock()  # guards `_children`
        self.max_in_flight = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._renderer = StepRenderer(child, _IMPORT_ROOT, self.max_in_flight)

    def fit(self, job: VideoJob) -> Fit:
        if job.duration > MAX_DURATION:
            raise InvalidInput("duration", f"drafts are 1 to {MAX_DURATION} seconds long, not {job.duration}")
        if job.aspect_ratio not in ASPECT_RATIOS:
            raise InvalidInput("aspect_ratio", f"drafts are {', '.join(ASPECT_RATIOS)}, not {job.aspect_ratio}")
        if job.quality and job.quality not in QUALITIES:
            raise InvalidInput("quality", f"drafts are {', '.join(QUALITIES)}, not {job.quality}")
        if self._options(job).safe_area == REELS and job.aspect_ratio != REELS_RATIO:
            reason = f"{REELS} are {REELS_RATIO}, not {job.aspect_ratio}"
            raise InvalidInput(
                f"options.{NAME}.safe_area", reason, next_step="leave it out, or change the aspect ratio"
            )
        for name, text in {"topic": job.topic, "script" if job.script else "prompt": self.prompt(job)}.items():
            self._check_fonts(name, text)
        return Fit(job, self._reading_notes(job))

    def default_duration(self, job: VideoJob) -> int:
        return min(MAX_DURATION, max(job.duration, math.ceil(self._outline(job).seconds * COMFORT)))

    def estimate(self, job: VideoJob) -> Cost | None:
        return Cost(usd=0.0)

    def _check_fonts(self, field: str, text: str) -> None:
        """Raise `InvalidInput` if no font of this machine covers a text.

        The machine that renders can have other fonts, so the render checks again.
        """
        if text.isascii():  # most texts; the import takes a tenth of a second
            return
        from tenxsom_flow_engine.services.draft.render.fonts import library
        from tenxsom_flow_engine.services.draft.render.tokens import clean

        try:
            (self._fonts or library()).check(clean(text))
        except Rejected as error:
            raise InvalidInput(field, error.reason, next_step=error.next_step) from error

    def prompt(self, job: VideoJob) -> str:
        # A draft shows sentences as text, so the generated prompt about light and lenses is unfit.
        return job.script.strip() or job.prompt.strip() or builtin_script(job.topic)

    def idempotency_window(self, job: VideoJob) -> float:
        return math.inf

    def order(self, job: VideoJob, reference: str) -> Mapping[str, object]:
        return msgspec.structs.asdict(self._order(job))

    def create(self, order: Mapping[str, object], reference: str) -> Ticket:
        if not self.ticket_form.fullmatch(reference):  # a delivery can carry the reference of an earlier create
            raise InvalidInput("submission", f"{one_line(reference, 100)!r} is not the name of a work folder")
        if self._config.in_step:
            return Ticket(f"{PREFIX}{reference}")
        folder = WorkFolder(self._root / reference)
        with _mapped_errors(folder):
            folder.begin(msgspec.convert(order, Order))
            with folder.lock() as lock:
                if lock is not None and not folder.starts:  # else the create is repeated
                    self._start(folder, lock)
        return Ticket(str(folder.path), account=self._machine)

    def check_ticket(self, ticket: Ticket) -> None:
        path = Path(ticket.id)
        below_root = path.parent in (Path(), self._root)
        elsewhere = path.is_absolute() and path.parent.name == FOLDER and ".." not in path.parts
        if not (below_root or elsewhere) or not self.ticket_form.fullmatch(path.name):
            shown = one_line(ticket.id, 100)
            raise InvalidInput("ticket", f"{shown!r} is not the work folder of a draft")

    def check(self, ticket: Ticket) -> Progress | Ready | Failed | Lost:
        if ticket.id.startswith(PREFIX):
            return Ready(url=ticket.id)
        folder = WorkFolder(self._root / ticket.id)
        self._reap_children()
        with _mapped_errors(folder):
            if folder.path.exists() and not folder.has_order:
                return Lost(f"{folder.path} is not the work folder of a draft")
            try:
                return self._state(folder)
            except FileNotFoundError:
                if folder.path.exists():
                    raise
                return self._missing(ticket)

    def cancel(self, ticket: Ticket) -> None:
        """Request that the render stops and removes its folder, which happens within about a second."""
        if ticket.id.startswith(PREFIX):  # it is not rendered before its step
            return
        folder = WorkFolder(self._root / ticket.id)
        if not folder.has_order:  # removed, or not a draft's folder
            self._missing(ticket)
            return
        with _mapped_errors(folder), contextlib.suppress(FileNotFoundError):  # removed in between
            # The child polls for this file. Unlike a signal it needs no process id, which might have been reused, and
            # it works from any machine that shares the folder.
            folder.cancel()
            with folder.lock() as lock:
                if lock is not None:
                    folder.remove()

    def fetch(self, job: VideoJob, ready: Ready, folder: Path) -> None:
        if ready.url.startswith(PREFIX):
            self._renderer.render(self._order(self.fit(job).job), folder)
            return
        # Linked, not moved: if publishing fails, the next fetch needs the files again. `sweep` removes them.
        work = WorkFolder(Path(ready.url))
        work.mark_fetched()
        for name in FILES:
            try:
                os.link(work.files / name, folder / name)
            except FileNotFoundError as error:
                raise Transient(NAME, f"{error.filename} no longer exists") from error
            except OSError:  # a file system without hard links
                shutil.copyfile(work.files / name, folder / name)

    def sweep(self) -> None:
        """Remove the work folders of orders that are published, cancelled, or a day old."""
        try:
            paths = [Path(entry) for entry in os.scandir(self._root) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("old drafts in %s cannot be removed: %s", self._root, error.strerror or error)
            return
        for path in paths:
            try:
                self._sweep(WorkFolder(path))
            except FileNotFoundError:  # another worker has removed it
                continue
            except OSError as error:
                _log.warning("the old draft %s cannot be removed: %s", path, error.strerror or error)

    def _outline(self, job: VideoJob) -> Outline:
        return outline(job.topic, self.prompt(job), job.duration)

    def _reading_notes(self, job: VideoJob) -> tuple[str, ...]:
        """Return a note if the text of a draft needs more time than it has."""
        plan = self._outline(job)
        seconds = math.ceil(plan.seconds)
        if seconds <= job.duration:
            return ()
        what = "script" if plan.sentences else "topic"
        note = f"the {what} needs about {seconds} s at a readable pace, but the draft lasts {job.duration} s"
        if plan.sentences:
            note += f" and shows {len(plan.points)} of {plural(plan.sentences, 'sentence')}"
        return (note,)

    def _order(self, job: VideoJob) -> Order:
        options, config = self._options(job), self._config
        # The default applies where it can; an option that cannot be met is refused in `fit`.
        area = options.safe_area or (config.safe_area if job.aspect_ratio == REELS_RATIO else SAFE_AREAS[0])
        return Order(
            topic=job.topic,
            prompt=self.prompt(job),
            duration=job.duration,
            aspect_ratio=job.aspect_ratio,
            quality=job.quality or next(iter(QUALITIES)),
            seed=job.topic,  # so the same job always gives the same video
            style=job.style,
            mark=config.mark if options.mark is None else options.mark,
            safe_area=area,
        )

    @staticmethod
    def _options(job: VideoJob) -> DraftOptions:
        return read_options(NAME, job, DraftOptions)

    def _sweep(self, folder: WorkFolder) -> None:
        now, published_at = self._now(), folder.published_at()
        published = published_at is not None and now - published_at > SETTLED
        # In a bucket, the files are copies. They can be needed again until the publication has succeeded.
        fetched_at = folder.fetched_at()
        published = published or (fetched_at is not None and now - fetched_at > FETCHED)
        if published or folder.cancelled or now - folder.path.stat().st_mtime > STALE:
            with folder.lock() as lock:
                if lock is not None:
                    folder.remove()

    def _state(self, folder: WorkFolder) -> Progress | Ready | Failed | Lost:
        # Decided under the lock: a child that finishes between two reads must not count as dead.
        with folder.lock() as lock:
            if folder.cancelled:
                return Lost("it was cancelled")
            if lock is None:
                return self._progress(folder)
            return self._idle_state(folder, lock)

    def _missing(self, ticket: Ticket) -> Lost:
        if ticket.account not in ("", self._machine):
            raise Transient(
                NAME,
                f"it renders on {ticket.account} in {ticket.id}, which {self._machine} cannot access",
                next_step="set TENXSOM_OUTPUT_DIR to a folder that all workers share",
            )
        return Lost(f"its work folder {ticket.id} no longer exists")

    def _progress(self, folder: WorkFolder) -> Progress:
        fraction, begun, reported = folder.progress()
        return Progress(fraction, pause(folder.order().duration, fraction, reported - begun, self._now() - begun))

    def _idle_state(self, folder: WorkFolder, lock: int) -> Progress | Ready | Failed:
        """Return the state of a folder without a running child; start the render again if the child died."""
        if folder.finished:
            return Ready(url=str(folder.path))
        exhausted = folder.starts >= MAX_STARTS
        fault = folder.fault()
        if fault is not None and fault.permanent:
            return Failed(fault.message, next_step=fault.next_step)
        if fault is not None and not exhausted:
            folder.forget_fault()
            raise Transient(NAME, fault.message, next_step=fault.next_step)
        if exhausted:
            folder.clear()
            reason = f"{fault.message}; {fault.next_step}" if fault else folder.last_error_line() or "it was killed"
            return Failed(f"the render failed {MAX_STARTS} times: {reason}")
        self._start(folder, lock)
        return self._progress(folder)

    def _start(self, folder: WorkFolder, lock: int) -> None:
        folder.count_start()
        with (folder.path / "errors").open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, *self._child, str(folder.path)],
                cwd=_IMPORT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(lock,),  # keeps the folder's lock until the child exits
                start_new_session=True,  # a signal to the worker's group must not reach the render
            )
        with self._guard:
            self._children.append(child)

    def _reap_children(self) -> None:
        """Reap the children that have exited."""
        with self._guard:
            self._children = [child for child in self._children if child.poll() is None]


@contextlib.contextmanager
def _mapped_errors(folder: WorkFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = f"the render's folder {folder.path} cannot be used: {error.strerror or error}"
        raise Transient(NAME, reason, next_step=MORE_SPACE if full else "") from error
