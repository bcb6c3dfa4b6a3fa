"""The fakes of all built-in paid services that have one, with one list of their sales by job."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenxsom_flow_engine.services.http.fake_server import FakeServer, Request
from tenxsom_flow_engine.services.http.fake_vendor import FakeVendor, JobKind
from tenxsom_flow_engine.services.registry import ServiceSpec, built_in

#: The services that have a fake, by package.
_SPECS = {
    package: spec for package, spec in built_in().items() if spec.switch and importlib.util.find_spec(f"{package}.fake")
}
#: The module of each service's fake, by the service's name.
_FAKES = {spec.name: importlib.import_module(f"{package}.fake") for package, spec in _SPECS.items()}
_KINDS: Mapping[str, tuple[str, JobKind]] = {
    name: (service, kind) for service, fake in _FAKES.items() for name, kind in fake.KINDS.items()
}
#: The fields of a job, by kind.
KINDS: Mapping[str, dict[str, Any]] = {
    name: {"service": service, **kind.fields} for name, (service, kind) in _KINDS.items()
}


@dataclass(frozen=True, slots=True)
class Bill:
    """A generation that a service sold."""

    service: str
    #: The id at the service, from which a ticket can be made.
    id: str
    job_id: str
    usd: float
    #: 0 if the service counts in USD.
    credits: float
    #: Whether the service reports, or will report, that the render failed.
    failed: bool


class Vendors:
    """The fake services. A job is identified by its topic: `Topic 7` belongs to `job-7`."""

    def __init__(self, now: Callable[[], float]) -> None:
        #: The fakes by service name.
        self.by_service: Mapping[str, FakeVendor] = {name: fake.make_fake(now) for name, fake in _FAKES.items()}
        self.environment = {
            "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true",
            "TENXSOM_LIMITS": "; ".join(f"{name}=none" for name in (*self.by_service, "global")),
        }
        for spec in _SPECS.values():
            self.environment |= _variables(spec, self.by_service[spec.name])

    @property
    def servers(self) -> Sequence[FakeVendor]:
        """All fakes."""
        return tuple(self.by_service.values())

    def bills(self) -> Counter[str]:
        """Return the number of videos sold for each job."""
        return Counter(job_of(sale.order) for server in self.servers for sale in server.sold)

    def books(self) -> list[Bill]:
        """Return all sales, in order for each service."""
        return [
            Bill(service, sale.id, job_of(sale.order), sale.usd, sale.credits, sale.failed)
            for service, server in self.by_service.items()
            for sale in server.sold
        ]

    def creates(self) -> dict[str, list[float]]:
        """Return the times of all paid creates, accepted or not, by service: seconds since 1970."""
        return {
            service: sorted(
                request.at for route in [*server.seen] if route.startswith("create") for request in server.seen[route]
            )
            for service, server in self.by_service.items()
        }

    def job_of(self, server: FakeServer, request: Request) -> str:
        """Return the id of the job that a request concerns, or an empty string."""
        assert isinstance(server, FakeVendor)
        if request.method == "POST":
            return job_of(request.json())
        name = request.bare_path.rpartition("/")[2].removesuffix(".mp4")
        sales = [sale for sale in server.sold if sale.id == name or sale.id.endswith(f":{name}")]
        return job_of(sales[0].order) if sales else ""

    def create_route(self, kind: str) -> tuple[FakeVendor, str]:
        """Return the fake and its route for the creates of a kind of job."""
        service, details = _KINDS[kind]
        return self.by_service[service], details.route


def _variables(spec: ServiceSpec, server: FakeVendor) -> Mapping[str, str]:
    """Return the variables that connect a service to its fake, with slots for any number of jobs."""
    names = {one.field: one.variable.name for one in spec.variables}
    basic = {spec.switch: server.key, names["base_url"]: server.url, names["max_in_flight"]: "1000"}
    return {**basic, **server.variables}


def job_of(order: dict[str, Any]) -> str:
    """Return the id of the job whose topic an order contains, or an empty string."""
    found = re.search(r"Topic (\d+)", json.dumps(order))
    return f"job-{found[1]}" if found else ""
