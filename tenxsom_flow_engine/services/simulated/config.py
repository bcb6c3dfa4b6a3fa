"""The configuration of the simulated service: latency and faults of a rehearsal."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated

from tenxsom_flow_engine.env import Variable
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput

#: The options that are not probabilities or shares.
_UNBOUNDED = frozenset({"latency", "create_latency", "create_timeout", "slots"})


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """The behaviour of the service. Times in seconds; faults are probabilities of 0 to 1 for each call."""

    latency: float = 5.0
    #: Random variation of the latency, as a share of it in both directions.
    jitter: float = 0.2
    #: Seconds until a create is answered.
    create_latency: float = 0.0
    #: The time limit of a create, as declared to the engine.
    create_timeout: float = 30.0
    slots: float = 1000
    #: 1: a repeated create with the same reference sells nothing new (an idempotency key).
    idempotent: float = 0
    #: 0: sales cannot be looked up, so a job whose create has an unknown outcome is held.
    searchable: float = 1
    #: Probabilities of the outcomes of a create.
    rejected: float = 0.0
    busy: float = 0.0
    transient: float = 0.0
    uncertain: float = 0.0
    #: A check that gets no answer, and a generation that fails.
    check_fault: float = 0.0
    failed: float = 0.0
    #: The worker process is killed -9 in a create (after the sale), a check or a fetch.
    crash: float = 0.0

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            highest = 1e9 if option.name in _UNBOUNDED else 1.0
            if not 0 <= value <= highest:
                raise InvalidInput("TENXSOM_SIMULATED", f"{option.name}={value:g} is not between 0 and {highest:g}")

    @classmethod
    def parse(cls, text: str) -> SimulationPlan:
        """Parse a plan such as `latency=60 busy=0.02`. Raises `InvalidInput` naming the bad option."""
        known = {option.name for option in fields(cls)}
        values: dict[str, float] = {}
        for word in text.replace(",", " ").split():
            name, _, value = word.partition("=")
            if name not in known:
                raise InvalidInput(
                    "TENXSOM_SIMULATED",
                    f"{name!r} is not one of {', '.join(sorted(known))}",
                    next_step="see docs/services/simulated.md",
                )
            try:
                values[name] = float(value)
            except ValueError:
                raise InvalidInput("TENXSOM_SIMULATED", f"{word!r} has no number") from None
        return cls(**values)


def _read_plan(variable: str, text: str) -> SimulationPlan:
    try:
        return SimulationPlan.parse(text)
    except InvalidInput as error:
        raise ConfigurationError(f"{variable}: {error.reason}", next_step=error.next_step) from error


@dataclass(frozen=True, slots=True)
class SimulatedConfig:
    """The variables of the simulated service, which is always configured."""

    plan: Annotated[
        SimulationPlan,
        Variable(
            "TENXSOM_SIMULATED",
            "latency and faults of the service `simulated`",
            "workers",
            default="`latency=5`, no faults",
            example="latency=60 busy=0.02 uncertain=0.01",
            read=_read_plan,
        ),
    ] = field(default_factory=SimulationPlan)
