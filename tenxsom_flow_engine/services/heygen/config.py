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
            "the key, from the API page of the account's settings; switches HeyGen on",
            read=check_key,
        ),
    ]
    base_url: Annotated[str, Variable("HEYGEN_BASE_URL", "where HeyGen is", "workers", read=check_base_url)] = (
        "https://api.heygen.com"
    )
    avatar_id: Annotated[
        str,
        Variable(
            "HEYGEN_AVATAR_ID",
            "the avatar's look of jobs that name none; a script needs one",
            default="HeyGen's choice",
        ),
    ] = ""
    voice_id: Annotated[
        str, Variable("HEYGEN_VOICE_ID", "the voice of jobs that name none", default="the avatar's own")
    ] = ""
    #: Who pays as they go may have ten at once.
    max_in_flight: Annotated[
        int, Variable("HEYGEN_SLOTS", "generations in flight at once, over all machines", minimum=1, maximum=1000)
    ] = 10
    prices: Annotated[
        Mapping[str, float],
        Variable(
            "HEYGEN_PRICES",
            "for estimates: USD for a second, by `agent` or engine",
            default="as known",
            example="agent=0.10 avatar_iv=0.05",
            read=partial(read_prices, unit="USD"),
        ),
    ] = field(default_factory=dict)
