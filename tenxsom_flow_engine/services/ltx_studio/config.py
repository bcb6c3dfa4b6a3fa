"""The configuration of LTX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from tenxsom_flow_engine.env import Secret, Variable
from tenxsom_flow_engine.services.http.config import check_base_url, check_key, read_prices


@dataclass(frozen=True, slots=True)
class LtxConfig:
    """The variables of LTX."""

    key: Annotated[Secret, Variable("LTX_API_KEY", "API key, from console.ltx.io; switches LTX on", read=check_key)]
    #: It was `https://api.ltx.video` until August 2026.
    base_url: Annotated[str, Variable("LTX_BASE_URL", "base URL of the LTX API", "workers", read=check_base_url)] = (
        "https://api.ltx.io"
    )
    model: Annotated[str, Variable("LTX_MODEL", "default model")] = "ltx-2-5-fast"
    #: LTX allows an account two unless it grants more.
    max_in_flight: Annotated[
        int, Variable("LTX_SLOTS", "limit of generations in flight, over all machines", minimum=1, maximum=1000)
    ] = 2
    prices: Annotated[
        Mapping[str, float],
        Variable(
            "LTX_PRICES",
            "for estimates: USD per second by quality, for the default model",
            default="built-in table",
            example="720p=0.09 4k=0.30",
            read=partial(read_prices, unit="USD"),
        ),
    ] = field(default_factory=dict)
