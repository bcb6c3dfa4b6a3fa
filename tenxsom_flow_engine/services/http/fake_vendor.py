"""The interface of the fake of a paid service, for tests of all paid services: jobs, states, balance and sales.

A service's `fake.py` has a subclass of `FakeVendor`, `KINDS` (the kinds of jobs that it sells) and `make_fake(now)`,
which returns a fake with slots and money for any number of jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tenxsom_flow_engine.services.http.fake_server import FakeServer

#: More generations, and more money, than any test needs.
PLENTY = 100_000
MUCH_MONEY = 1e9


class Sale(Protocol):
    """A sold generation."""

    @property
    def id(self) -> str:
        """The id at the service."""

    @property
    def order(self) -> dict[str, Any]:
        """The body of its create."""

    @property
    def usd(self) -> float:
        """The price in USD; 0 if the service counts in credits."""

    @property
    def credits(self) -> float:
        """The price in credits; 0 if the service counts in USD."""

    @property
    def failed(self) -> bool:
        """Whether the service reports, or will report, that the render failed."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job: the fields of its `VideoJob`, and the route of its creates at the fake."""

    fields: Mapping[str, Any]
    route: str = "create"


class FakeVendor(FakeServer):
    """A fake of a paid service. The routes of paid creates begin with `create`."""

    #: State sequences of successful generations, one state for each poll; and the sequence of a failing one.
    lives: ClassVar[Sequence[Sequence[str]]]
    failing: ClassVar[Sequence[str]]

    #: More variables that make the service fit the fake, such as its prices.
    variables: ClassVar[Mapping[str, str]] = {}

    key: str
    #: The limit of generations in flight.
    most: int
    #: The remaining balance, in USD or in credits.
    balance: float
    #: The states of generations sold from now on.
    life: Sequence[str]
    #: All sales, in order.
    sold: Sequence[Sale]
