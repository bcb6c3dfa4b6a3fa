"""The jobs whose id starts with a text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenxsom_flow_engine.operations.job_ids import MOST_FOUND, starting_with
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import ListBounds
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, new


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[JobStore]:
    with closing(SQLiteStore(tmp_path / "jobs.sqlite3", clock)) as store:
        yield store


def found(store: JobStore, text: str) -> tuple[list[str], bool]:
    result = starting_with(store, text)
    return [record.job_id for record in result.records], result.more


def test_a_beginning_finds_the_jobs(store: JobStore) -> None:
    """A beginning finds every id that starts with it, newest first, not those that contain it; case counts."""
    for job_id in ("tides-1", "tides-22", "the-tides", "Tides-3"):
        store.add(QUEUE, new(job_id))
    assert found(store, "tides") == (["tides-22", "tides-1"], False)
    assert found(store, "tides-2") == (["tides-22"], False)
    assert found(store, "tides-3") == ([], False)
    assert found(store, "") == ([], False)


def test_the_exact_id_wins(store: JobStore) -> None:
    """A whole id names its job, even if other ids start with it."""
    for job_id in ("tides", "tides-2"):
        store.add(QUEUE, new(job_id))
    assert found(store, "tides") == (["tides"], False)


def test_the_search_is_bounded(tmp_path: Path, clock: ManualClock) -> None:
    """The search ends after a maximum number of matches or pages, and says that others are possible."""
    bounds = ListBounds(page=1, count=1)
    with closing(SQLiteStore(tmp_path / "jobs.sqlite3", clock, bounds=bounds)) as store:
        store.add(QUEUE, new("old", *(f"tides-{n:05}" for n in range(9000))))
        ids, more = found(store, "tides")
        assert (len(ids), more) == (MOST_FOUND, True)
        assert found(store, "tides-00007") == (["tides-00007"], False)  # whole: found without a search
        assert found(store, "ol") == ([], True)
