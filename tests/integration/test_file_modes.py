"""Who can read the engine's files: the home and the store are private, videos follow the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.services.draft.workfolder import Order, WorkFolder
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.web.dashboard.session import admin_token

UMASKS = [0o000, 0o022, 0o077]


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"TENXSOM_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)})


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of the files in a folder."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


def test_the_home_is_private(settings: Settings, umask: int) -> None:
    """With any umask, only the owner can read the home, the store with its companions, and the admin token."""
    with open_engine(settings, "local") as engine:
        engine.check_output()
        assert admin_token(settings)
        assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
        found = modes(settings.home)
    assert {"jobs.sqlite3", "jobs.sqlite3-wal", "jobs.sqlite3-shm", "admin-token"} <= found.keys()
    assert set(found.values()) == {0o600}


def test_a_store_elsewhere_is_private(tmp_path: Path, clock: ManualClock, umask: int) -> None:
    """A store outside the home is created for its owner only, and so is a missing folder around it."""
    with closing(SQLiteStore(tmp_path / "data" / "jobs.sqlite3", clock)):
        assert set(modes(tmp_path / "data").values()) == {0o600}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_permissions_that_someone_set_are_kept(settings: Settings) -> None:
    """A home and a store that exist keep their permissions."""
    with open_engine(settings, "local"):
        pass
    settings.home.chmod(0o750)
    (settings.home / "jobs.sqlite3").chmod(0o640)
    with open_engine(settings, "local"):
        assert stat.S_IMODE(settings.home.stat().st_mode) == 0o750
        assert modes(settings.home)["jobs.sqlite3"] == 0o640


def test_videos_follow_the_umask(settings: Settings, umask: int) -> None:
    """The folder of the videos can be opened to others, such as a web server; the lock of a draft never is."""
    with open_engine(settings, "local") as engine:
        engine.check_output()
    assert stat.S_IMODE(settings.work_dir.stat().st_mode) == 0o777 & ~umask
    folder = WorkFolder(settings.work_dir / "draft")
    folder.begin(Order("topic", "", 1, "9:16", "540p", "topic"))
    with folder.lock():
        assert modes(folder.path)["lock"] == 0o600
        assert modes(folder.path)["order.json"] == 0o666 & ~umask
