"""Budgets: their text, their calendar periods, the charges of a record, and forecasts."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenxsom_flow_engine.budgets import ALL, Amounts, Budget, Limit, Period, Span, parse_budget, parse_budgets
from tenxsom_flow_engine.budgets.charges import QUARTER, ChargeChange, charge_changes, quarter
from tenxsom_flow_engine.budgets.forecast import PlannedCost, overruns, uses
from tenxsom_flow_engine.budgets.limits import period
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Charge, Purchase, Submission, SubmissionState, lifecycle
from tenxsom_flow_engine.store.budget_seed import seed
from tenxsom_flow_engine.store.totals import DAY, HOUR, Total
from tenxsom_flow_engine.testing.samples import a_job

NOW = 1_800_014_400.0  # 2027-01-15 12:00 UTC


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("40/d", "40/d"),
        ("200/mo 10/d Europe/Berlin", "10/d 200/mo Europe/Berlin"),
        ("$0.50/w,0/d", "0/d 0.5/w"),
        ("10/d UTC", "10/d"),
    ],
)
def test_the_text_of_a_budget(text: str, stored: str) -> None:
    """Limits are kept in the order of their periods, with the zone unless it is UTC, and read back."""
    budget = parse_budget(ALL, text)
    assert budget.text == stored
    assert parse_budget(ALL, stored) == budget


@pytest.mark.parametrize(
    ("scope", "text", "reason"),
    [
        (ALL, "", "no limit"),
        (ALL, "40", "40/d"),
        (ALL, "-1/d", "40/d"),
        (ALL, "1e3/d", "40/d"),
        (ALL, "5/y", "40/d"),
        (ALL, "1/d 2/d", "twice"),
        (ALL, "1.0000001/d", "40/d"),
        (ALL, "9999999999/d", "more than"),
        (ALL, "1/d Mars/Base", "Mars/Base"),
        ("everything", "1/d", "not a scope"),
        ("channel:", "1/d", "not a scope"),
        ("service:Hey Gen", "1/d", "not a scope"),
    ],
)
def test_an_invalid_budget_is_refused(scope: str, text: str, reason: str) -> None:
    """The message names what is wrong."""
    with pytest.raises(InvalidInput, match=reason):
        parse_budget(scope, text)


def test_several_budgets() -> None:
    """The setting has a budget for each scope, and each scope once."""
    found = parse_budgets("all=40/d; channel:fun=10/d,200/mo Europe/Berlin;")
    assert found == {
        ALL: Budget(ALL, (Limit(Span.DAY, 40_000_000),)),
        "channel:fun": Budget(
            "channel:fun", (Limit(Span.DAY, 10_000_000), Limit(Span.MONTH, 200_000_000)), "Europe/Berlin"
        ),
    }
    for text in ("all", "all=1/d; all=2/d"):
        with pytest.raises(InvalidInput):
            parse_budgets(text)


@pytest.mark.parametrize(
    ("span", "zone", "at", "name", "hours"),
    [
        (Span.DAY, "UTC", "2027-01-15T23:59:59+00:00", "2027-01-15", 24),
        (Span.DAY, "Europe/Berlin", "2027-03-28T03:30:00+02:00", "2027-03-28", 23),
        (Span.DAY, "Europe/Berlin", "2027-10-31T02:30:00+01:00", "2027-10-31", 25),
        (Span.DAY, "America/Havana", "2027-03-14T01:00:00-04:00", "2027-03-14", 23),  # it has no midnight
        (Span.WEEK, "Europe/Berlin", "2027-03-28T12:00:00+02:00", "2027-W12", 167),
        (Span.WEEK, "UTC", "2027-01-01T00:00:00+00:00", "2026-W53", 168),
        (Span.MONTH, "Asia/Kathmandu", "2027-02-01T00:00:00+05:45", "2027-02", 672),
        (Span.MONTH, "UTC", "2027-12-31T23:59:59+00:00", "2027-12", 744),
    ],
)
def test_calendar_periods(span: Span, zone: str, at: str, name: str, hours: int) -> None:
    """A period is that of the zone's calendar, also where its clocks change."""
    found = period(span, zone, datetime.fromisoformat(at).timestamp())
    assert (found.name, found.ends - found.begins) == (name, hours * 3600)
    assert found.begins <= datetime.fromisoformat(at).timestamp() < found.ends


@given(
    st.sampled_from(list(Span)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Pacific/Apia", "America/Sao_Paulo"]),
    st.floats(1_230_768_000.0, 2_208_988_800.0),  # 2009 to 2040
)
@example(Span.DAY, "UTC", 2_208_988_799.9999995)
def test_periods_have_no_gap_and_no_overlap(span: Span, zone: str, at: float) -> None:
    """Each instant is in exactly one period, which is made of whole quarters of an hour."""
    found = period(span, zone, at)
    assert found.begins <= at < found.ends
    assert found.begins % QUARTER == found.ends % QUARTER == 0
    assert period(span, zone, found.ends).begins == found.ends
    assert period(span, zone, found.begins - 1).ends == found.begins
    assert found.ends - found.begins <= timedelta(days=31, hours=1).total_seconds()


def test_the_charges_of_a_record() -> None:
    """A reservation and a purchase count for each matching scope, in the quarter of their instant."""
    empty = lifecycle.add(a_job(channel="sea"), queue="local", nonce="n", now=NOW, due=NOW)
    reserved = msgspec.structs.replace(
        empty, service="alpha",
        submission=Submission(state=SubmissionState.INTENT, id="s", charge=Charge(NOW, 500)),
    )  # fmt: skip
    scopes = (ALL, "channel:sea", "service:alpha")
    assert charge_changes(empty, reserved) == [ChargeChange(scope, quarter(NOW), 500, 0) for scope in scopes]
    spent = msgspec.structs.replace(
        reserved, submission=Submission(), purchases=(Purchase("s", "alpha", NOW + 60, charge=Charge(NOW, 300)),)
    )
    assert charge_changes(reserved, spent) == [ChargeChange(scope, quarter(NOW), -500, 300) for scope in scopes]
    assert charge_changes(None, spent) == [ChargeChange(scope, quarter(NOW), 0, 300) for scope in scopes]
    assert charge_changes(spent, msgspec.structs.replace(spent, seq=9)) == ()


def test_an_earlier_release_keeps_what_it_has_spent() -> None:
    """The first amounts are the totals: of hours where they are known, and of the rest of each day."""
    days = [Total(DAY, "2027-01-14", "alpha", "usd", 5.0), Total(DAY, "2027-01-14", "alpha", "videos", 9.0)]
    hours = [Total(HOUR, "2027-01-14T22", "alpha", "usd", 2.0)]
    at = datetime.fromisoformat("2027-01-14T00:00Z").timestamp()
    assert sorted(seed(days, hours, NOW), key=lambda one: (one.quarter, one.scope)) == [
        ChargeChange(ALL, quarter(at), 0, 3_000_000),
        ChargeChange("service:alpha", quarter(at), 0, 3_000_000),
        ChargeChange(ALL, quarter(at) + 88, 0, 2_000_000),
        ChargeChange("service:alpha", quarter(at) + 88, 0, 2_000_000),
    ]
    assert seed(days, [], NOW + 100 * 86400) == []


def read(periods: object) -> list[Amounts]:
    """Return 3 dollars of each period as used."""
    assert isinstance(periods, list)
    return [Amounts(reserved=1_000_000, spent=2_000_000) for _ in periods]


def test_the_use_of_budgets() -> None:
    """Stored budgets win over those of the environment, and each limit has its period and its share."""
    found = uses(parse_budgets("all=3/d; service:alpha=4/w"), parse_budgets("all=6/d 30/mo"), read, NOW)
    assert [(use.name, use.share, use.free, use.stored, use.spent) for use in found] == [
        ("all 6/d", 0.5, 3.0, True, False),
        ("all 30/mo", 0.1, 27.0, True, False),
        ("service:alpha 4/w", 0.75, 1.0, False, False),
    ]
    assert found[0].period == Period("2027-01-15", NOW - 43_200, NOW + 43_200)
    assert found[0].resets == "2027-01-16 00:00 UTC"
    (nothing,) = uses({}, parse_budgets("channel:sea=0/d"), read, NOW)
    assert (nothing.spent, nothing.public_name) == (True, "of a channel 0/d")


def test_planned_jobs_that_do_not_fit() -> None:
    """Jobs are counted in the period of their start; one that is too expensive leaves room for cheaper ones."""
    budgets = parse_budgets("all=5/d; channel:sea=100/d")
    costs = [(NOW, 1_500_000), (NOW, 900_000), (NOW, 400_000), (NOW, 0), (NOW + 86400, 1_900_000)]
    (over,) = overruns({}, budgets, read, [PlannedCost(at, "sea", "alpha", cost) for at, cost in costs])
    assert (over.use.name, over.use.period.name, over.planned, over.excess) == ("all 5/d", "2027-01-15", 3, 1)
    assert str(over) == (
        "1 of 3 jobs in 2027-01-15 would wait: they cost $2.80, and the budget all 5/d has $2.00 left until "
        "2027-01-16 00:00 UTC"
    )
    (unknown,) = overruns({}, parse_budgets("all=5/d"), read, [PlannedCost(NOW, "", "alpha", None)])
    assert "1 job of unknown price" in str(unknown)
