"""The rendering process: `python -m tenxsom_flow_engine.services.draft.child FOLDER` renders one order and ends.

A process of its own, so that a render can neither starve nor bring down its worker, and goes on when the worker ends.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.services.draft.workfolder import WorkFolder

#: Bytes of address space; a render maps about 2 GiB, most of it never touched.
MEMORY = 6 * 2**30
#: Seconds that a render may take: a base, and for each second of video.
TIME_BASE, TIME_PER_SECOND = 60, 30


def main(path: str) -> None:
    """Render the order of a work folder."""
    folder = WorkFolder(Path(path))
    order = folder.order()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.alarm(TIME_BASE + TIME_PER_SECOND * order.duration)
    os.nice(5)  # the worker's short steps go before
    from tenxsom_flow_engine.services.draft.render import RenderSpec, render

    for leftover in folder.files.iterdir():
        leftover.unlink()
    spec = RenderSpec(order.topic, order.prompt or None, order.duration, order.aspect_ratio, order.quality, order.seed)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others need it less

    def report(fraction: float) -> None:
        folder.report(fraction)
        # Frames of changing size leave holes in the heap; given back, memory stays flat however long the video is.
        if trim is not None:
            trim(0)

    try:
        render(spec, folder.files, report)
    except ServiceError as error:
        folder.refuse(str(error).removeprefix("draft: "))
    else:
        folder.finish()


if __name__ == "__main__":
    main(sys.argv[1])
