"""What tests of all paid services need of the fake of each: jobs for it, its states, its money and its books.

A service's `fake.py` has a subclass of `FakeVendor`, `KINDS` (the kinds of jobs that it sells) and `make_fake(now)`,
which returns a fake with room and money for any number of jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tenxsom_flow_engine.services.http.fake_server import FakeServer

#: More generations, and more money, than any test asks for.
PLENTY = 100_000
MUCH_MONEY = 1e9


class Sale(Protocol):
    """A generation that was sold."""

    @property
    def id(self) -> str:
        """The service's own id."""

    @property
    def order(self) -> dict[str, Any]:
        """The body of its create."""

    @property
    def usd(self) -> float:
        """What it cost in USD; 0 where the service counts in credits."""

    @property
    def credits(self) -> float:
        """What it cost in credits; 0 where the service counts in USD."""

    @property
    def failed(self) -> bool:
        """Whether the service said, or will say, that the render failed."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of jobs: the fields of a `VideoJob`, and the route of the fake at which their creates arrive."""

    wishes: Mapping[str, Any]
    route: str = "create"


class FakeVendor(FakeServer):
    """A fake of a paid service. The routes of paid creates begin with `create`."""

    #: How a generation can go well, state by state, one for each poll; and how it goes where the service fails.
    lives: ClassVar[Sequence[Sequence[str]]]
    failing: ClassVar[Sequence[str]]

    key: str
    #: Generations that it renders at once.
    most: int
    #: What is left to spend, in USD or in credits.
    balance: float
    #: The states of the generations that are sold from now on.
    life: Sequence[str]
    #: All that was sold, in order.
    sold: Sequence[Sale]
