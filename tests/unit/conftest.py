"""Unit tests are pure: they start no process or thread and open no connection and no database."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import threading
from typing import NoReturn

import pytest

#: Functions that a unit test must not call, directly or indirectly.
_IMPURE = (
    (os, "fork"), (subprocess, "Popen"), (threading.Thread, "start"), (socket.socket, "connect"),
    (socket.socket, "bind"), (sqlite3, "connect"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def pure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that is not pure; it belongs in tests/integration."""
    for owner, name in _IMPURE:

        def refuse(*_: object, called: str = f"{owner.__name__}.{name}", **__: object) -> NoReturn:
            pytest.fail(f"a unit test calls {called}: move it to tests/integration")

        monkeypatch.setattr(owner, name, refuse)
