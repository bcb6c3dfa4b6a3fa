"""One browser for all tests, one installation for tests that only read, and a separate one for each changing module."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.page import Visitor
from tests.browser.seeded_app import WAIT_SECONDS, Installation
from tests.sample_day import DAY, HOUR, ChannelDay, channel_day

#: The time of day in UTC, in hours, at which the sample days end.
O_CLOCK = 14.55
# A generous time-out for busy machines; tests that pass do not wait for it.
expect.set_options(timeout=WAIT_SECONDS * 1000)
#: Options to run Chromium as root, and without requests to other hosts.
_OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Start Chromium."""
    program = shutil.which("chromium")
    assert program, "Chromium is not on PATH; make test-browser installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@contextmanager
def a_folder() -> Iterator[Path]:
    """Create a folder, in memory if possible: these tests need no durable files."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="tenxsom-", dir=memory if os.access(memory, os.W_OK) else None)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


def afternoon() -> float:
    """Return the instant at which days end: ahead of the machine's clock, so that no cookie has expired."""
    return (time.time() // DAY + 1) * DAY + O_CLOCK * HOUR


@dataclass(frozen=True)
class SampleDay:
    """A sample day in a folder, and the environment for opening its installation."""

    folder: Path
    day: ChannelDay
    environment: Mapping[str, str]


@pytest.fixture(scope="session")
def sample_day() -> Iterator[SampleDay]:
    with a_folder() as folder:
        given = {"TENXSOM_HOME": str(folder), "REDIS_PORT": "1", "TENXSOM_STORE": f"sqlite://{folder}/jobs.sqlite3"}
        with channel_day(given, afternoon()) as (day, environment):
            yield SampleDay(folder, day, environment)


@pytest.fixture(scope="session")
def open_installation(sample_day: SampleDay) -> Iterator[Callable[[], Installation]]:
    """A function that opens an installation on a copy of the day's records; all of them share the video files."""
    with a_folder() as homes:
        opened: list[Installation] = []

        def open_one() -> Installation:
            home = homes / str(len(opened))
            home.mkdir()
            store = home / "jobs.sqlite3"
            shutil.copyfile(sample_day.folder / store.name, store)
            environment = {
                **sample_day.environment, "TENXSOM_HOME": str(home), "TENXSOM_STORE": f"sqlite://{store}",
                "TENXSOM_OUTPUT_DIR": str(sample_day.folder / "videos"),
            }  # fmt: skip
            opened.append(Installation(home, environment, sample_day.day.ends - time.time()))
            return opened[-1]

        yield open_one
        for one in opened:
            one.close()


@pytest.fixture(scope="session")
def untouched(open_installation: Callable[[], Installation]) -> Installation:
    """The installation for all tests that change nothing."""
    return open_installation()


@pytest.fixture
def visitor(chromium: Browser, untouched: Installation) -> Iterator[Visitor]:
    """A visitor of the installation that no test changes."""
    visitor = Visitor(chromium, untouched)
    yield visitor
    visitor.leave()


@pytest.fixture(scope="module")
def own(open_installation: Callable[[], Installation]) -> Iterator[Installation]:
    """An installation that the tests of one module can change."""
    installation = open_installation()
    yield installation
    installation.close()


@pytest.fixture
def operator(chromium: Browser, own: Installation) -> Iterator[Visitor]:
    """A visitor of the module's own installation."""
    visitor = Visitor(chromium, own)
    yield visitor
    visitor.leave()
