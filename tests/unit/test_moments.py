"""Dates and times from users: their forms, and local times near a change of the clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.clock_changes import LocalTime
from tenxsom_flow_engine.planning.periods import window
from tenxsom_flow_engine.planning.timestamps import parse_moment, parse_time_of_day

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def machine_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set this machine's zone during the test."""

    def to(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield to
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text",
    ["2027-01-10 18.30", "2027-01-10T18,30", "2027-01-10T18.5", "2027-01-10T18:30.5", "2027-01-10T18.30Z",
     "20270110T1830.5", "2027-W02-1 18.30", "2027-01-10T18:30+01.5"],
)  # fmt: skip
def test_a_time_without_a_colon_is_refused(text: str) -> None:
    """A decimal mark instead of the colon is refused, not read as a fraction of a second."""
    with pytest.raises(InvalidInput, match="has no colon; write hours and minutes as 18:30"):
        parse_moment(text, zone=UTC)


@pytest.mark.parametrize(
    "text",
    ["2027-01-10T18:30", "2027-01-10 18:30", "2027-01-10T18:30:00.0", "20270110T1830", "20270110T183000,0",
     "2027-01-10T19:30+01:00", " 2027-01-10T18:30Z "],
)  # fmt: skip
def test_forms_of_a_moment(text: str) -> None:
    """ISO 8601 is read, also without separators, and with fractions of seconds."""
    assert parse_moment(text, zone=UTC) == datetime(2027, 1, 10, 18, 30, tzinfo=UTC).timestamp()


def test_an_hour_can_have_one_digit() -> None:
    """An hour before ten can have one digit, as spreadsheets write it."""
    assert parse_moment("2027-01-10 8:30", zone=UTC) == parse_moment("2027-01-10T08:30Z")
    assert parse_moment("2027-01-10T8:30:00+01:00") == parse_moment("2027-01-10T07:30Z")
    assert parse_time_of_day("8:30", "start") == parse_time_of_day("08:30", "start")


@pytest.mark.parametrize("text", ["18.30", "18,30", "18.5", "18:30.5"])
def test_a_time_of_day_has_a_colon(text: str) -> None:
    """The same holds for a time of day, and so for the start of a schedule."""
    with pytest.raises(InvalidInput, match=r"start: the time in .* has no colon"):
        parse_time_of_day(text, "start")
    with pytest.raises(InvalidInput, match=r"start: the time in .* has no colon"):
        window(0.0, day="2027-01-10", start=text)


@pytest.mark.parametrize(
    ("zone", "text", "change"),
    [
        ("Europe/Berlin", "2027-03-28T02:30", "from 02:00 to 03:00"),
        ("Europe/Berlin", "2027-03-28T02:00", "from 02:00 to 03:00"),
        ("America/Sao_Paulo", "2018-11-04T00:30", "from 00:00 to 01:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:10", "from 02:00 to 02:30"),
        ("Pacific/Apia", "2011-12-30T12:00", "from 2011-12-30 00:00 to 2011-12-31 00:00"),
    ],
)
def test_a_skipped_time_is_refused(zone: str, text: str, change: str) -> None:
    """A local time that the clocks skip is refused, with the change."""
    with pytest.raises(InvalidInput) as refused:
        parse_moment(text, zone=ZoneInfo(zone))
    assert refused.value.message == f"at: {text} does not exist in {zone}: clocks go {change}"


def test_a_repeated_time_is_refused() -> None:
    """A local time that the clocks show twice is refused with both forms, and each of these is read."""
    with pytest.raises(InvalidInput) as refused:
        parse_moment("2026-10-25 02:30", zone=BERLIN)
    first, second = "2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"
    assert refused.value.message == f"at: 2026-10-25T02:30 is ambiguous in Europe/Berlin: write {first} or {second}"
    assert parse_moment(second, zone=BERLIN) - parse_moment(first, zone=BERLIN) == 3600


def test_this_machines_zone_has_clock_changes_too(machine_in: Callable[[str], None]) -> None:
    """A time without a zone is checked in the zone of this machine, which the message describes."""
    machine_in("Europe/Berlin")
    with pytest.raises(InvalidInput, match=r"in this machine's zone \(CET/CEST\): clocks go from 02:00 to 03:00"):
        parse_moment("2027-03-28T02:30")
    with pytest.raises(InvalidInput, match=r"write 2027-10-31T02:30\+02:00 or 2027-10-31T02:30\+01:00"):
        parse_moment("2027-10-31T02:30")
    assert parse_moment("2027-03-28T03:00") == datetime(2027, 3, 28, 1, tzinfo=UTC).timestamp()


@given(st.integers(0, 3_800_000_000), st.sampled_from(["Europe/Berlin", "Asia/Tokyo"]))
def test_every_other_time_means_one_instant(seconds: int, name: str) -> None:
    """A time that is neither skipped nor repeated is that time when it is shown again, with its form."""
    zone, shown = ZoneInfo(name), datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    local = LocalTime(shown, zone)
    for instant, form in zip(local.instants, local.forms, strict=True):
        assert datetime.fromtimestamp(instant, zone).replace(tzinfo=None) == shown
        assert datetime.fromisoformat(form).timestamp() == instant


def test_a_start_at_a_change_of_the_clocks_is_noted() -> None:
    """A daily start works on the days of a change; a note says at which instant it begins."""
    spring = window(0.0, day="2027-03-28", zone="Europe/Berlin", start="02:30")
    assert spring.note == "the clocks skip 02:30 on 2027-03-28, so the period begins at 03:30"
    autumn = window(0.0, day="2026-10-25", zone="Europe/Berlin", start="02:30")
    assert autumn.note == "the clocks show 02:30 twice on 2026-10-25, so the period begins at 2026-10-25T02:30+02:00"
    assert autumn.start == datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
