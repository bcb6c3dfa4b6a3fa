"""The configuration of PixVerse, over UseAPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from tenxsom_flow_engine.env import Secret, Variable
from tenxsom_flow_engine.services.http.config import check_base_url, check_key, read_prices


@dataclass(frozen=True, slots=True)
class PixVerseConfig:
    """The variables of PixVerse, over UseAPI."""

    token: Annotated[Secret, Variable("USEAPI_TOKEN", "the key of UseAPI; switches PixVerse on", read=check_key)]
    base_url: Annotated[
        str, Variable("USEAPI_BASE_URL", "where UseAPI is, with its version", "workers", read=check_base_url)
    ] = "https://api.useapi.net/v2"
    create_path: Annotated[
        str,
        Variable("USEAPI_PIXVERSE_CREATE_PATH", "where a create goes; UseAPI has changed it before", "workers"),
    ] = "/pixverse/videos/create"
    model: Annotated[str, Variable("USEAPI_PIXVERSE_MODEL", "the model of jobs that name none")] = "v6"
    email: Annotated[
        str,
        Variable(
            "USEAPI_PIXVERSE_EMAIL", "the linked account of jobs that name none", default="any account that has room"
        ),
    ] = ""
    #: A usual plan renders five at once.
    max_in_flight: Annotated[
        int,
        Variable("USEAPI_PIXVERSE_SLOTS", "generations in flight at once, over all machines", minimum=1, maximum=1000),
    ] = 5
    prices: Annotated[
        Mapping[str, float],
        Variable(
            "USEAPI_PIXVERSE_PRICES",
            "for estimates: credits for a second by quality, of the model above",
            default="as known",
            example="720p=7 1080p=14",
            read=partial(read_prices, unit="credits"),
        ),
    ] = field(default_factory=dict)
    #: 60 USD a month buy 15,000 credits (2026-04-05).
    usd_per_credit: Annotated[
        float,
        Variable("USEAPI_PIXVERSE_USD_PER_CREDIT", "for estimates: what a credit costs in USD", minimum=0, maximum=100),
    ] = 0.004
