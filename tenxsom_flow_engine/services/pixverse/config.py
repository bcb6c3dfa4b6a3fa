"""The configuration of PixVerse through UseAPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from tenxsom_flow_engine.env import Secret, Variable
from tenxsom_flow_engine.services.http.config import check_base_url, check_key, read_prices


@dataclass(frozen=True, slots=True)
class PixVerseConfig:
    """The variables of PixVerse through UseAPI."""

    token: Annotated[Secret, Variable("USEAPI_TOKEN", "API token of UseAPI; switches PixVerse on", read=check_key)]
    base_url: Annotated[
        str, Variable("USEAPI_BASE_URL", "base URL of UseAPI, with its version", "workers", read=check_base_url)
    ] = "https://api.useapi.net/v2"
    create_path: Annotated[
        str,
        Variable("USEAPI_PIXVERSE_CREATE_PATH", "path of creates; UseAPI has changed it before", "workers"),
    ] = "/pixverse/videos/create"
    model: Annotated[str, Variable("USEAPI_PIXVERSE_MODEL", "default model")] = "v6"
    email: Annotated[
        str,
        Variable("USEAPI_PIXVERSE_EMAIL", "default linked account", default="any account with a free slot"),
    ] = ""
    #: A usual plan allows five.
    max_in_flight: Annotated[
        int,
        Variable("USEAPI_PIXVERSE_SLOTS", "limit of generations in flight, over all machines", minimum=1, maximum=1000),
    ] = 5
    prices: Annotated[
        Mapping[str, float],
        Variable(
            "USEAPI_PIXVERSE_PRICES",
            "for estimates: credits per second by quality, for the default model",
            default="built-in table",
            example="720p=7 1080p=14",
            read=partial(read_prices, unit="credits"),
        ),
    ] = field(default_factory=dict)
    #: $60 a month buys 15,000 credits (2026-04-05).
    usd_per_credit: Annotated[
        float,
        Variable("USEAPI_PIXVERSE_USD_PER_CREDIT", "for estimates: price of a credit in USD", minimum=0, maximum=100),
    ] = 0.004
