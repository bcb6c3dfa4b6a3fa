"""The configuration of HeyGen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from tenxsom_flow_engine.env import Secret, Variable
from tenxsom_flow_engine.services.http.config import check_base_url, check_key, read_prices


@dataclass(frozen=True, slots=True)
class HeyGenConfig:
    """The variables of HeyGen."""

    key: Annotated[
        Secret,
        Variable(
            "HEYGEN_API_KEY",
            "API key, from the API page of the account's settings; switches HeyGen on",
            read=check_key,
        ),
    ]
    base_url: Annotated[
        str, Variable("HEYGEN_BASE_URL", "base URL of the HeyGen API", "workers", read=check_base_url)
    ] = "https://api.heygen.com"
    avatar_id: Annotated[
        str,
        Variable(
            "HEYGEN_AVATAR_ID",
            "default avatar look; presenters need one",
            default="HeyGen's choice",
        ),
    ] = ""
    voice_id: Annotated[str, Variable("HEYGEN_VOICE_ID", "default voice", default="the avatar's voice")] = ""
    #: HeyGen allows a pay-as-you-go account ten.
    max_in_flight: Annotated[
        int, Variable("HEYGEN_SLOTS", "limit of generations in flight, over all machines", minimum=1, maximum=1000)
    ] = 10
    prices: Annotated[
        Mapping[str, float],
        Variable(
            "HEYGEN_PRICES",
            "for estimates: USD per second, for `agent` and by engine",
            default="built-in table",
            example="agent=0.10 avatar_iv=0.05",
            read=partial(read_prices, unit="USD"),
        ),
    ] = field(default_factory=dict)
