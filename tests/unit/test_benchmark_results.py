"""The comparison of the benchmarks' ratios with the committed ones."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.results import COMMITTED, NOISE, Ratios, changes, read

RATIOS = st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), st.floats(0.001, 1000.0)))


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"a": 2.0}, {"a": 2.0}, []),
        ({"a": 2.0}, {"a": 2.29}, []),
        ({"a": 2.0}, {"a": 1.75}, []),
        ({"a": 2.0}, {"a": 2.32}, ["better: queue: a was 2.00, is 2.32 (+16%)"]),
        ({"a": 2.0}, {"a": 1.7}, ["worse: queue: a was 2.00, is 1.70 (-15%)"]),
        ({"a": 2.0, "b": 1.0}, {"b": 1.0, "c": 3.0}, ["missing: queue: a was 2.00", "new: queue: c is 3.00"]),
    ],
)
def test_what_moved(before: Mapping[str, float], after: Mapping[str, float], lines: list[str]) -> None:
    """A ratio that differs by more than the noise is named with both values, and so is a new or missing one."""
    assert [str(change) for change in changes({"queue": before}, {"queue": after})] == lines


def test_only_benchmarks_that_ran_are_compared() -> None:
    """A benchmark that did not run is not missing; one that ran for the first time is new."""
    found = list(changes({"queue": {"a": 1.0}}, {"limiters": {"b": 1.0}}))
    assert [(change.benchmark, change.ratio, change.worse) for change in found] == [("limiters", "b", False)]


@given(before=RATIOS, after=RATIOS)
def test_changes_are_complete_and_mirrored(before: Ratios, after: Ratios) -> None:
    """Each change is outside the noise, and a change back is the same one the other way round."""
    found = {(change.benchmark, change.ratio): change for change in changes(before, after)}
    for benchmark in after.keys() & before.keys():
        for ratio in after[benchmark].keys() & before[benchmark].keys():
            factor = after[benchmark][ratio] / before[benchmark][ratio]
            change = found.get((benchmark, ratio))
            assert (change is None) == (1 / NOISE <= factor <= NOISE)
            assert change is None or change.worse == (factor < 1)


def test_the_committed_ratios() -> None:
    """The committed ratios are positive numbers."""
    assert all(ratio > 0 for ratios in read(COMMITTED).values() for ratio in ratios.values())
