"""The budgets and their amounts on Redis: the argument for `charges.lua`, and its answers.

The script decides with numbers that are prepared here. It refuses them if a budget has another text than this process
knows, so a budget that is changed applies at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from tenxsom_flow_engine.budgets import Amounts, Budget, Period, parse_budget
from tenxsom_flow_engine.budgets.charges import (
    BudgetCheck,
    ChargeChange,
    Demand,
    charge_changes,
    demands,
    quarter,
    refusal,
    scopes_of_intent,
)
from tenxsom_flow_engine.errors import BudgetSpent
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.budget_seed import seed
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.redis.totals import read_sums
from tenxsom_flow_engine.store.totals import DAY, HOUR

#: The first word of the script's answer, if it is not done.
CHANGED, SPENT = "budgets", "spent"


class Budgets:
    """The budgets of a store. Caches the texts of those that it has read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._texts: dict[str, str] = {}

    def stored(self) -> Mapping[str, Budget]:
        """Return the budgets that operators have set."""
        with self._connection.mapped(), self._connection.decoding("budgets"):
            found = self._connection.client.hgetall(self._connection.key("budgets"))
            return {scope: parse_budget(scope, found[scope]) for scope in sorted(found)}

    def put(self, scope: str, budget: Budget | None) -> None:
        """Set or remove the budget of a scope."""
        self._connection.run("set_budget", "", scope, budget.text if budget else "")

    def amounts(self, periods: Sequence[tuple[str, Period]]) -> Sequence[Amounts]:
        """Return what each scope has used in a period."""
        if not periods:
            return []
        wanted = [part for scope, one in periods for part in (scope, quarter(one.begins), quarter(one.ends))]
        found = iter(self._connection.run("amounts", "", *wanted))
        return [Amounts(int(reserved), int(spent)) for reserved, spent in zip(found, found, strict=True)]

    def change(self, before: JobRecord, after: JobRecord, check: BudgetCheck | None, now: float) -> Charges | None:
        """Return the charges of a change; None if it charges nothing. Raises `BudgetSpent` for an unknown price."""
        changes = charge_changes(before, after)
        if check is None or (check.priced and not changes):
            return Charges(changes) if changes else None
        scopes = scopes_of_intent(after)
        texts = {scope: self._texts.get(scope, "") for scope in scopes} if check.priced else self.read(scopes)
        with self._connection.decoding("budgets"):
            stored = {scope: parse_budget(scope, text) for scope, text in texts.items() if text}
        return Charges(changes, texts, tuple(demands(changes, check.matching(after, stored, now))))

    def read(self, scopes: Iterable[str]) -> dict[str, str]:
        """Read the texts of the budgets of some scopes, and cache them."""
        names = list(scopes)
        with self._connection.mapped():
            found = self._connection.client.hmget(self._connection.key("budgets"), names)
        texts = {scope: text or "" for scope, text in zip(names, found, strict=True)}
        self._texts.update(texts)
        return texts

    def seed(self, now: Callable[[], float]) -> None:
        """Count what an earlier release has spent, unless that has been done."""
        client, key = self._connection.client, self._connection.key
        with self._connection.mapped():
            if client.exists(key("charged")) or not client.exists(key(f"sums:{DAY}")):
                return
            with self._connection.decoding("sums"):
                days, hours = (read_sums(kind, client.hgetall(key(f"sums:{kind}")), "") for kind in (DAY, HOUR))
        self._connection.run("seed_charges", "", Charges(seed(days, hours, now())).encoded())


class ChargeArgument(msgspec.Struct, omit_defaults=True):
    """The charges of a change as `make_charges` reads them, in MessagePack."""

    #: For each amount its scope and quarter, and what to add to the reserved and to the spent amount.
    amounts: list[tuple[str, int, int, int]]
    #: For each budget its scope and text, as this process knows it.
    budgets: list[tuple[str, str]] = []
    #: For each limit its scope, first quarter, quarter after the last, what is needed and the limit.
    limits: list[tuple[str, int, int, int, int]] = []


class Charges:
    """The charges of a change, with the texts of the budgets that they were computed with, and the limits to keep."""

    def __init__(
        self, changes: Sequence[ChargeChange], texts: Mapping[str, str] | None = None, kept: Sequence[Demand] = ()
    ) -> None:
        self._changes = changes
        self._texts = texts or {}
        self._demands = kept

    @property
    def scopes(self) -> Iterable[str]:
        """The scopes whose budgets the charges depend on."""
        return self._texts

    @property
    def argument(self) -> ChargeArgument:
        """The argument of `make_charges`."""
        return ChargeArgument(
            [(one.scope, one.quarter, one.reserved, one.spent) for one in self._changes],
            list(self._texts.items()),
            [
                (one.budget.scope, one.first_quarter, one.end_quarter, one.micro_usd, one.limit.micro_usd)
                for one in self._demands
            ],
        )

    def encoded(self) -> bytes:
        """Return that argument in MessagePack."""
        return msgspec.msgpack.encode(self.argument)

    def refusal(self, answer: str, now: float) -> BudgetSpent:
        """Return the error for the script's answer."""
        words = iter(map(int, answer.split()[1:]))
        exceeded = [
            (self._demands[place], Amounts(reserved, spent))
            for place, reserved, spent in zip(words, words, words, strict=True)
        ]
        return refusal(exceeded, now)
