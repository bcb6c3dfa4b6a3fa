"""The rendering process: `python -m tenxsom_flow_engine.services.draft.child FOLDER` renders one order and exits.

A separate process, so that a render can neither starve nor crash its worker, and continues when the worker exits.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tenxsom_flow_engine.errors import FlowError, OutputError
from tenxsom_flow_engine.services.draft.render.formats import MORE_SPACE
from tenxsom_flow_engine.services.draft.workfolder import Fault, Order, WorkFolder

if TYPE_CHECKING:
    from tenxsom_flow_engine.services.draft.render.fonts import Library

#: The limit of the address space in bytes; a render maps about 2 GiB and uses little of it.
MEMORY = 6 * 2**30
#: The time limit of a render in seconds: a constant part, and a part for each second of video.
TIME_BASE, TIME_PER_SECOND = 60, 30


class _Cancelled(Exception):
    """The order was cancelled."""


def main(
    path: str,
    *,
    memory: int = MEMORY,
    time_base: int = TIME_BASE,
    time_per_second: int = TIME_PER_SECOND,
    render: Callable[[Order, WorkFolder], None] | None = None,
) -> None:
    """Render the order in a work folder with `render` (default `render_order`), with limits in bytes and seconds."""
    folder = WorkFolder(Path(path))
    order = folder.order()
    _end_after(time_base + time_per_second * order.duration)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.nice(5)  # the worker's short steps have priority
    try:
        folder.clear()
        (render or render_order)(order, folder)
        folder.finish()
    except _Cancelled:
        folder.remove()
    except MemoryError:
        sys.exit(f"the render needed more than {memory / 2**30:.1f} GiB of memory")
    except FlowError as error:
        permanent = not isinstance(error, OutputError)
        folder.fail(Fault(error.reason, error.next_step, permanent))
    except OSError as error:  # of the small files
        folder.fail(Fault(f"the draft could not be written: {error}", MORE_SPACE, permanent=False))


def render_order(order: Order, folder: WorkFolder, fonts: Library | None = None) -> None:
    """Render an order into its folder, by default with the fonts of this machine.

    Raises `InvalidInput`, `Rejected`, `OutputError`.
    """
    from tenxsom_flow_engine.services.draft.render.render import RenderSpec, render

    values = msgspec.structs.asdict(order)
    spec = RenderSpec(script=values.pop("prompt"), **values)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only; other allocators need it less

    def report(fraction: float) -> None:
        if folder.cancelled:
            raise _Cancelled
        folder.report(fraction)
        # Frames of different sizes fragment the heap. Returning free memory keeps usage constant for long videos.
        if trim is not None:
            trim(0)

    render(spec, folder.files, report, fonts)


def _end_after(seconds: int) -> None:
    """Exit this process after some seconds, whatever it is doing."""

    def end() -> None:
        sys.stderr.write(f"the render took longer than {seconds} seconds\n")
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    signal.alarm(seconds + 10)  # in case the thread never runs


if __name__ == "__main__":
    main(sys.argv[1])
