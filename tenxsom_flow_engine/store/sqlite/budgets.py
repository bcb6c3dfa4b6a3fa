"""The budgets and their amounts in the SQLite store, in the transaction of the record whose change they count."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from importlib import resources

from tenxsom_flow_engine.budgets import Amounts, Budget, Period, parse_budget
from tenxsom_flow_engine.budgets.charges import (
    KEEP_QUARTERS,
    BudgetCheck,
    ChargeChange,
    Demand,
    demands,
    quarter,
    refusal,
    scopes_of_intent,
)
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.budget_seed import seed
from tenxsom_flow_engine.store.totals import DAY, HOUR, read_total

_SUM = (
    "SELECT ifnull(sum(reserved), 0), ifnull(sum(spent), 0) FROM charges"
    " WHERE scope = ? AND quarter >= ? AND quarter < ?"
)
_ADD = (
    "INSERT INTO charges VALUES (:scope, :quarter, max(0, :reserved), max(0, :spent)) ON CONFLICT DO UPDATE"
    " SET reserved = max(0, reserved + :reserved), spent = max(0, spent + :spent)"
)
_ADD_TO_PERIODS = (
    "UPDATE charge_periods SET reserved = max(0, reserved + :reserved), spent = max(0, spent + :spent)"
    " WHERE scope = :scope AND begins <= :quarter AND ends > :quarter"
)


def made(db: sqlite3.Connection) -> bool:
    """Return whether the file has the tables of budgets."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'charge_periods'").fetchone() is not None


def make(db: sqlite3.Connection) -> None:
    """Create the tables in the caller's transaction; a file of an earlier release keeps what it has spent."""
    if made(db):
        return
    schema = resources.files(__package__).joinpath("budgets.sql").read_text("utf-8")
    for statement in schema.split(";\n"):
        db.execute(statement)
    now = float(db.execute("SELECT ifnull(max(last), 0) FROM clock").fetchone()[0])
    days, hours = (
        [read_total(**row) for row in db.execute("SELECT * FROM sums WHERE kind = ? AND name = 'usd'", (kind,))]
        for kind in (DAY, HOUR)
    )
    charge(db, seed(days, hours, now))


def stored(db: sqlite3.Connection, scopes: Iterable[str] | None = None) -> dict[str, Budget]:
    """Return the budgets that operators have set: all, or those of some scopes."""
    rows: Iterable[sqlite3.Row]
    if scopes is None:
        rows = db.execute("SELECT scope, text FROM budgets ORDER BY scope")
    else:
        names = tuple(scopes)
        rows = db.execute(f"SELECT scope, text FROM budgets WHERE scope IN ({', '.join('?' * len(names))})", names)
    return {row["scope"]: parse_budget(row["scope"], row["text"]) for row in rows}


def put(db: sqlite3.Connection, scope: str, budget: Budget | None) -> None:
    """Set or remove the budget of a scope."""
    if budget is None:
        db.execute("DELETE FROM budgets WHERE scope = ?", (scope,))
    else:
        db.execute("INSERT OR REPLACE INTO budgets VALUES (?, ?)", (scope, budget.text))


def require_room(
    db: sqlite3.Connection, record: JobRecord, changes: Sequence[ChargeChange], check: BudgetCheck, now: float
) -> None:
    """Raise `BudgetSpent` if a budget has no room for the charges of a create, or if its price is unknown."""
    if not changes and check.priced:
        return
    matching = check.matching(record, stored(db, scopes_of_intent(record)), now)
    exceeded = []
    for demand in demands(changes, matching):
        amounts = _of_period(db, demand, now)
        if amounts.used + demand.micro_usd > demand.limit.micro_usd:
            exceeded.append((demand, amounts))
    if exceeded:
        raise refusal(exceeded, now)


def charge(db: sqlite3.Connection, changes: Sequence[ChargeChange]) -> None:
    """Add to the amounts of quarters and periods."""
    for change in changes:
        values = {
            "scope": change.scope, "quarter": change.quarter, "reserved": change.reserved, "spent": change.spent
        }  # fmt: skip
        db.execute(_ADD, values)
        db.execute(_ADD_TO_PERIODS, values)


def amounts(db: sqlite3.Connection, periods: Iterable[tuple[str, Period]]) -> list[Amounts]:
    """Return what each scope has used in a period."""
    found = []
    for scope, period in periods:
        place = (scope, quarter(period.begins), quarter(period.ends))
        found.append(_sum_of_period(db, *place) or _sum(db, *place))
    return found


def set_clock_back(db: sqlite3.Connection, instant: float) -> None:
    """Count the charges of later instants at this one."""
    now = quarter(instant)
    later = db.execute(
        "SELECT scope, sum(reserved), sum(spent) FROM charges WHERE quarter > ? GROUP BY scope", (now,)
    ).fetchall()
    db.execute("DELETE FROM charges WHERE quarter > ?", (now,))
    db.execute("DELETE FROM charge_periods")
    charge(db, [ChargeChange(scope, now, reserved, spent) for scope, reserved, spent in later])


def trim(db: sqlite3.Connection, now: float) -> None:
    """Remove the amounts that no budget counts any more."""
    db.execute("DELETE FROM charges WHERE quarter < ?", (quarter(max(0.0, now - KEEP_QUARTERS)),))


def _of_period(db: sqlite3.Connection, demand: Demand, now: float) -> Amounts:
    scope, begins, ends = demand.budget.scope, demand.first_quarter, demand.end_quarter
    if known := _sum_of_period(db, scope, begins, ends):
        return known
    found = _sum(db, scope, begins, ends)
    db.execute("DELETE FROM charge_periods WHERE scope = ? AND ends < ?", (scope, quarter(now)))
    db.execute("INSERT INTO charge_periods VALUES (?, ?, ?, ?, ?)", (scope, begins, ends, found.reserved, found.spent))
    return found


def _sum_of_period(db: sqlite3.Connection, scope: str, begins: int, ends: int) -> Amounts | None:
    row = db.execute(
        "SELECT reserved, spent FROM charge_periods WHERE scope = ? AND begins = ? AND ends = ?", (scope, begins, ends)
    ).fetchone()
    return Amounts(*row) if row else None


def _sum(db: sqlite3.Connection, scope: str, begins: int, ends: int) -> Amounts:
    return Amounts(*db.execute(_SUM, (scope, begins, ends)).fetchone())
