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

    key: Annotated[Secret, Variable("LTX_API_KEY", "the key, from console.ltx.io; switches LTX on", read=check_key)]
    #: It was `https://api.ltx.video` until August 2026.
    base_url: Annotated[str, Variable("LTX_BASE_URL", "where LTX is", "workers", read=check_base_url)] = (
        "https://api.ltx.io"
    )
    model: Annotated[str, Variable("LTX_MODEL", "the model of jobs that name none")] = "ltx-2-5-fast"
    #: An account may have two at once unless LTX grants more.
    max_in_flight: Annotated[
        int, Variable("LTX_SLOTS", "generations in flight at once, over all machines", minimum=1, maximum=1000)
    ] = 2
    prices: Annotated[
        Mapping[str, float],
        Variable(
            "LTX_PRICES",
            "for estimates: USD for a second by quality, of the model above",
            default="as known",
            example="720p=0.09 4k=0.30",
            read=partial(read_prices, unit="USD"),
        ),
    ] = field(default_factory=dict)
