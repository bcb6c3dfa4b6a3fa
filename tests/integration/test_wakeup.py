"""The event that a thread can poll together with a socket."""

from __future__ import annotations

import subprocess
import sys

#: Exit handlers run in reverse order, so this one runs after those that the import below registers.
_SETS_AT_EXIT = """
import atexit
events = []
atexit.register(lambda: [event.set() for event in events])
from tenxsom_flow_engine.store.wakeup import WakeupEvent
events.append(WakeupEvent())
"""


def test_the_event_can_be_set_while_python_exits() -> None:
    """Daemon threads still run then; one that set the event printed "Bad file descriptor"."""
    done = subprocess.run([sys.executable, "-c", _SETS_AT_EXIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
