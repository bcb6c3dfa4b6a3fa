"""Shared by all tests: an environment without the user's settings, temporary files in memory, and fixtures."""

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

from tests.environment import engine_variables

if TYPE_CHECKING:
    from tenxsom_flow_engine.testing.clock import ManualClock
    from tests.redis_server import RedisServer

# At import, before a test or fixture can read them.
for _name in engine_variables():
    del os.environ[_name]

# Temporary files in memory, if there is room: stores sync each write, and the whole run would wait for the disk. Tests
# lose nothing by it, since the kernel keeps the writes of a killed process. Child processes inherit TMPDIR.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 2 << 30:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

# A shell can start background jobs with SIGINT and SIGQUIT ignored, and `nohup` does so with SIGHUP; the programs under
# test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(_number, signal.SIG_DFL)

# No deadline: a property must not fail because the machine is busy.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

# Makes a failed assertion inside a conformance suite show the compared values.
pytest.register_assert_rewrite("tenxsom_flow_engine.testing")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the size of the test that `make api-kills` repeats with more requests."""
    parser.addoption("--api-requests", type=int, default=60, help="requests whose answers are lost")


@pytest.fixture
def api_requests(request: pytest.FixtureRequest) -> int:
    """The number of requests whose answers are lost."""
    number: int = request.config.getoption("--api-requests")
    return number


@pytest.fixture
def clock() -> ManualClock:
    """A clock that changes only when a test moves it."""
    from tenxsom_flow_engine.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis server for each process of the test run; each test uses its own key prefix."""
    from tests.redis_server import RedisServer

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()
