"""Entries of the legacy list are imported, or refused with a reason."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.jobs.legacy import read_legacy


def test_both_shapes_are_read() -> None:
    """Fields at the top level and inside `params` give the same job; unknown fields are ignored."""
    plain = read_legacy('{"job_id": "a", "topic": "Tides", "duration": 8, "priority": 3}')
    inner = read_legacy('{"job_id": "a", "task": "video", "params": {"topic": "Tides", "duration": 8.0}}')
    assert (
        (plain.job_id, plain.topic, plain.duration) == (inner.job_id, inner.topic, inner.duration) == ("a", "Tides", 8)
    )


def test_an_entry_without_an_id_gets_one() -> None:
    """Two identical entries are two jobs."""
    assert read_legacy('{"topic": "Tides"}').job_id != read_legacy('{"topic": "Tides"}').job_id


@pytest.mark.parametrize(
    "entry", ["", "Tides", "[]", "7", '{"topic": 7}', '{"params": {}}', '{"topic": "x", "duration": "8"}',
              '{"topic": "x", "duration": 8.5}', '{"topic": "x", "job_id": "../x"}', "[" * 100_000],
)  # fmt: skip
def test_bad_entries_are_refused(entry: str) -> None:
    """Each invalid entry raises `InvalidInput`."""
    with pytest.raises(InvalidInput):
        read_legacy(entry)


@given(st.text())
def test_any_text_is_a_job_or_refused(entry: str) -> None:
    """Any text gives a job or `InvalidInput`."""
    with contextlib.suppress(InvalidInput):
        assert isinstance(read_legacy(entry), VideoJob)
