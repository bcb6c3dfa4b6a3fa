"""Renders a draft within one step, into the folder of that step: nothing runs, and nothing is kept, between steps.

For platforms that give a container no processor between requests, and whose machines share no folder. Any machine can
render any draft, because an order gives the same bytes everywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tenxsom_flow_engine.errors import Rejected, Transient
from tenxsom_flow_engine.services.draft.render.formats import NAME
from tenxsom_flow_engine.services.draft.workfolder import FILES, Order, WorkFolder

#: The beginning of the tickets of such drafts.
PREFIX = "in-step."


class StepRenderer:
    """Runs at most `at_once` renders of a process, each in a child process that runs Python with `child`."""

    def __init__(self, child: Sequence[str], import_root: Path, at_once: int) -> None:
        self._child = child
        self._import_root = import_root
        self._turns = threading.BoundedSemaphore(at_once)

    def render(self, order: Order, folder: Path) -> None:
        """Write the files of an order into a folder. Raises `Transient`, and `Rejected` if no attempt can succeed."""
        with self._turns, tempfile.TemporaryDirectory(prefix="draft.", dir=folder.parent) as path:
            work = WorkFolder(Path(path))
            work.begin(order)
            with (work.path / "errors").open("wb") as errors:
                subprocess.run(
                    [sys.executable, *self._child, str(work.path)],
                    cwd=self._import_root,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    check=False,
                )
            if (fault := work.fault()) is not None:
                error = Rejected if fault.permanent else Transient
                raise error(NAME, fault.message, next_step=fault.next_step)
            if not work.finished:
                raise Transient(NAME, f"the render failed: {work.last_error_line() or 'it was killed'}")
            for name in FILES:
                os.replace(work.files / name, folder / name)
