"""A move between stores in a process that kills itself before a chosen write."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tenxsom_flow_engine.operations.move_store import move_store
from tenxsom_flow_engine.settings import load

#: The functions in C that write: to a database, to a server, and to the folder.
_WRITES = {"execute", "executemany", "backup", "sendall", "rename", "replace", "unlink"}


@dataclass(frozen=True, slots=True)
class Move:
    """A move, and its death: before the write with this number, from 0; None: it lives."""

    environment: dict[str, str]
    source: str
    target: str
    #: The number of writes is put here by a move that lives.
    counted: Path
    dies_before: int | None = None


def run(move: Move) -> None:
    """Move, counting the writes."""
    count = 0

    def watch(_: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        if event != "c_call" or argument.__name__ not in _WRITES:
            return
        owner = getattr(argument, "__self__", None)
        if isinstance(owner, sqlite3.Connection | socket.socket) or owner is sys.modules["posix"]:
            if count == move.dies_before:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    settings = load(move.environment)
    sys.setprofile(watch)
    try:
        move_store(settings, move.source, move.target)
    finally:
        sys.setprofile(None)
    move.counted.write_text(str(count))
