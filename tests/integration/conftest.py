"""Fixtures for tests with real servers and processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.killable_worker import Lives

if TYPE_CHECKING:
    from tests.emulator_harness import Setting


@pytest.fixture
def cloud() -> Iterator[Setting]:
    """A Cloud Tasks emulator with a manual clock, and a target for its tasks."""
    from tenxsom_flow_engine.emulator.server import CloudTasksServer
    from tenxsom_flow_engine.testing.clock import ManualClock
    from tests.emulator_harness import Setting
    from tests.http_target import ScriptedTarget

    clock, target = ManualClock(), ScriptedTarget()
    with CloudTasksServer(clock) as server:
        yield Setting(server, clock, target)
    target.close()


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lives, Lives]:
    """Two series of workers: one whose workers are killed, and one that takes their jobs over."""
    folder = tmp_path_factory.mktemp("lives")
    return Lives(folder / "log"), Lives(folder / "log")
