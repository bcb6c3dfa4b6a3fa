"""Retention of videos: which publications a rule removes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.output.base import Publication
from tenxsom_flow_engine.output.keep import ALL_VIDEOS, KeepVideos, parse_keep_videos
from tenxsom_flow_engine.output.retention import to_remove

DAY = 86400.0
NOW = 100 * DAY


def made(*ages: float, size: int = 10) -> list[Publication]:
    """Return publications of these ages in days."""
    return [Publication(f"job-{number}", size, NOW - age * DAY) for number, age in enumerate(ages)]


def names(publications: list[Publication], keep: KeepVideos) -> list[str]:
    return [one.name for one in to_remove(publications, keep, NOW, lambda one: True)]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("30d", KeepVideos(age=30 * DAY)), ("200GB", KeepVideos(size=2e11)), ("36h, 1.5TB", KeepVideos(129600, 1.5e12)),
        ("500MB,2d", KeepVideos(2 * DAY, 5e8)),
    ],
)  # fmt: skip
def test_a_rule_is_an_age_or_a_size(text: str, rule: KeepVideos) -> None:
    """Both parts are optional, in any order."""
    assert parse_keep_videos("X", text) == rule


@pytest.mark.parametrize("text", ["", "30", "0d", "30d,7d", "1GB,2GB", "30d 200GB", "-1d", "GB", "30m"])
def test_other_texts_are_refused(text: str) -> None:
    """The message names the variable and the form."""
    with pytest.raises(ConfigurationError, match="X must be an age, a size or both, such as 30d, 200GB or 30d,200GB"):
        parse_keep_videos("X", text)


def test_old_videos_go_first() -> None:
    """The age counts from the publication; the size removes the oldest ones until the rest fits."""
    assert names(made(1, 40, 29, 31), KeepVideos(age=30 * DAY)) == ["job-1", "job-3"]
    assert names(made(1, 40, 29, 31), KeepVideos(size=25)) == ["job-1", "job-3"]
    assert names(made(1, 40, 29, 31), KeepVideos(age=35 * DAY, size=15)) == ["job-1", "job-3", "job-2"]
    assert names(made(1, 400), ALL_VIDEOS) == []


def test_unfinished_uploads_go_after_a_day() -> None:
    """Files without metadata are removed under any rule, but not those of an upload that can be under way."""
    left = [
        Publication("new", 10, NOW - 0.5 * DAY, complete=False),
        Publication("old", 10, NOW - 2 * DAY, complete=False),
    ]
    assert names(left, ALL_VIDEOS) == ["old"]
    assert names(left, KeepVideos(size=1)) == ["old"]


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 50)), max_size=30),
    st.integers(1, 60),
    st.one_of(st.integers(1, 500), st.just(math.inf)),
    st.sets(st.integers(0, 30)),
)
def test_no_kept_video_breaks_the_rule(
    videos: list[tuple[int, int]], days: int, size: float, protected: set[int]
) -> None:
    """What may not be removed stays; of the rest, none is too old, and no more than needed is removed for the size."""
    all_of_them = [Publication(f"job-{n}", big, NOW - age * DAY) for n, (age, big) in enumerate(videos)]
    keep = KeepVideos(days * DAY, size)
    removed = to_remove(all_of_them, keep, NOW, lambda one: int(one.name[4:]) not in protected)
    left = [one for one in all_of_them if one not in removed]
    free = [one for one in left if int(one.name[4:]) not in protected]
    assert all(int(one.name[4:]) not in protected for one in removed)
    assert all(NOW - one.at <= keep.age for one in free)
    assert sum(one.size for one in left) <= size or not free
    young = [one for one in removed if NOW - one.at <= keep.age]
    assert all(sum(one.size for one in left) + kept.size > size for kept in young[-1:])
