"""The first uses of a type by several threads, as after a start: msgspec before 0.23 could crash the process there."""

from __future__ import annotations

import subprocess
import sys

_THREADS_THAT_DECODE = """
import sys, threading
import msgspec
from tenxsom_flow_engine.api import types

body = b'{"topic": "How tides work", "priority": 3, "options": {"draft": {"a": 1}}, "at": "2026-12-01T00:00:00Z"}'
sys.setswitchinterval(1e-6)
barrier, results = threading.Barrier(16), []

def decode():
    barrier.wait()
    new = msgspec.json.decode(body, type=types.NewJob)
    results.append((new.topic, new.priority))

threads = [threading.Thread(target=decode) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(results != [("How tides work", 3)] * 16)
"""


def test_threads_can_use_a_type_for_the_first_time_at_once() -> None:
    """Each of sixteen threads decodes the same body correctly, in each of ten new processes."""
    processes = [
        subprocess.run([sys.executable, "-c", _THREADS_THAT_DECODE], capture_output=True, text=True) for _ in range(10)
    ]
    assert [(one.returncode, one.stderr) for one in processes] == [(0, "")] * 10
