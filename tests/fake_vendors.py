"""The three paid services together, as one account has them: one ledger of what was sold, for which job."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenxsom_flow_engine.services.heygen import fake as heygen
from tenxsom_flow_engine.services.heygen.fake import FakeHeyGen
from tenxsom_flow_engine.services.http.fake_server import FakeServer, Request
from tenxsom_flow_engine.services.ltx_studio import fake as ltx
from tenxsom_flow_engine.services.ltx_studio.fake import FakeLtx
from tenxsom_flow_engine.services.pixverse import fake as useapi
from tenxsom_flow_engine.services.pixverse.fake import FakeUseApi

#: What a job asks for, by kind; a script is bought under an idempotency key.
KINDS: Mapping[str, dict[str, Any]] = {
    "pixverse": {"service": "pixverse", "duration": 1},
    "ltx": {"service": "ltx_studio", "duration": 6},
    "agent": {"service": "heygen", "duration": 4},
    "script": {"service": "heygen", "options": {"heygen": {"script": "Tides rise.", "avatar_id": heygen.AVATAR}}},
}


@dataclass(frozen=True, slots=True)
class Bill:
    """One generation that was sold, as its service has it in its books."""

    service: str
    #: What the service calls it; a ticket can be made of it.
    id: str
    job_id: str
    usd: float
    #: The service's own; 0 where it counts in USD.
    credits: float
    #: Whether the service said, or will say, that the render failed.
    failed: bool


class Vendors:
    """The three fake services. Jobs are told by their topics, `Topic 7` being that of `job-7`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.useapi, self.ltx, self.heygen = FakeUseApi(max_jobs=100_000), FakeLtx(now), FakeHeyGen(now)
        self.ltx.most = self.heygen.most = 100_000
        self.useapi.credits_left = self.ltx.usd_left = self.heygen.usd_left = 1e9
        self.heygen.agent_life = ("thinking", "completed")
        #: By the names that the engine has for them.
        self.by_service: Mapping[str, FakeUseApi | FakeLtx | FakeHeyGen] = {
            "pixverse": self.useapi, "ltx_studio": self.ltx, "heygen": self.heygen
        }  # fmt: skip
        self.environment = {
            "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true",
            "TENXSOM_LIMITS": "; ".join(f"{name}=none" for name in (*self.by_service, "global")),
            "USEAPI_TOKEN": useapi.TOKEN, "USEAPI_BASE_URL": self.useapi.url, "USEAPI_PIXVERSE_SLOTS": "1000",
            "LTX_API_KEY": ltx.KEY, "LTX_BASE_URL": self.ltx.url, "LTX_SLOTS": "1000",
            "HEYGEN_API_KEY": heygen.KEY, "HEYGEN_BASE_URL": self.heygen.url, "HEYGEN_SLOTS": "1000",
        }  # fmt: skip

    @property
    def servers(self) -> Sequence[FakeUseApi | FakeLtx | FakeHeyGen]:
        """The servers themselves."""
        return tuple(self.by_service.values())

    def bills(self) -> Counter[str]:
        """Return how many videos were sold for each job."""
        return Counter(job_of(sale.order) for server in self.servers for sale in server.sold)

    def books(self) -> list[Bill]:
        """Return all that was sold, each service's in its order."""
        books = [
            Bill("pixverse", sale.id, job_of(sale.order), 0.0, sale.credits, sale.life[-1] == "FAILED")
            for sale in self.useapi.sold
        ]
        for service, sold in (("ltx_studio", self.ltx.sold), ("heygen", self.heygen.sold)):
            books += [
                Bill(service, sale.id, job_of(sale.order), sale.usd, 0.0, sale.life[-1].startswith("failed"))
                for sale in sold
            ]
        return books

    def creates(self) -> dict[str, list[float]]:
        """Return when paid creates came, taken or not, by service: seconds since 1970."""
        return {
            service: sorted(request.at for route in ("create", "create_agent") for request in server.seen[route])
            for service, server in self.by_service.items()
        }

    def job_of(self, server: FakeServer, request: Request) -> str:
        """Return the job that a request is about, or nothing."""
        assert isinstance(server, FakeUseApi | FakeLtx | FakeHeyGen)
        if request.method == "POST":
            return job_of(request.json())
        name = request.bare_path.rpartition("/")[2].removesuffix(".mp4")
        sales = [sale for sale in server.sold if sale.id == name or sale.id.endswith(f":{name}")]
        return job_of(sales[0].order) if sales else ""

    def create_route(self, kind: str) -> tuple[FakeServer, str]:
        """Return where the creates of a kind of jobs arrive."""
        server = {"pixverse": self.useapi, "ltx": self.ltx}.get(kind, self.heygen)
        return server, "create_agent" if kind == "agent" else "create"


def job_of(order: dict[str, Any]) -> str:
    """Return the job whose topic stands in an order, or nothing."""
    found = re.search(r"Topic (\d+)", json.dumps(order))
    return f"job-{found[1]}" if found else ""
