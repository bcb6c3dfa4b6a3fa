"""Budgets: upper bounds of what is spent in a day, week or month. Pure rules; the stores keep the amounts.

`limits` has the values and their text form, `charges` the amounts that a record takes from them, and `forecast` tells
what planned jobs would take.
"""

from tenxsom_flow_engine.budgets.limits import (
    ALL,
    Amounts,
    Budget,
    Limit,
    Period,
    Span,
    check_scope,
    in_force,
    parse_budget,
    parse_budgets,
    scopes_of,
    to_micro_usd,
    to_usd,
)

__all__ = [
    "ALL",
    "Amounts",
    "Budget",
    "Limit",
    "Period",
    "Span",
    "check_scope",
    "in_force",
    "parse_budget",
    "parse_budgets",
    "scopes_of",
    "to_micro_usd",
    "to_usd",
]
