"""What all tests share: an environment without the settings of whoever runs them, their files in memory, a server."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.environment import ours

if TYPE_CHECKING:
    from tenxsom_flow_engine.testing.clock import ManualClock
    from tests.redis_server import RedisServer

# At import, before any test or fixture can read them.
for _name in ours():
    del os.environ[_name]

# In memory, where there is room: a process that is killed loses nothing that the system has, and stores that put each
# write on disk would else make the whole run wait for it. Programs that tests start follow.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 2 << 30:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

# Whoever runs the tests in the background of a shell may have them ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A noisy machine must not fail a property for being slow.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

# So that a failure inside a conformance suite shows what was compared.
pytest.register_assert_rewrite("tenxsom_flow_engine.testing")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until a test moves it."""
    from tenxsom_flow_engine.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server, one for each process of the test run; tests keep apart by the prefix of their keys."""
    from tests.redis_server import RedisServer

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()
