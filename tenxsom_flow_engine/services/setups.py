"""How the services over HTTP are set up: what `settings` reads for them, and what may not be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from tenxsom_flow_engine.env import Secret, Variable
from tenxsom_flow_engine.errors import ConfigurationError


def check_base_url(variable: str, url: str) -> str:
    """Return a service's base URL if a key may be sent there. Raises `ConfigurationError` naming the variable."""
    try:
        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        fine = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError(
            f"{variable} must be an https address without query or password",
            next_step="write it like https://api.example.org/v2",
        )
    return url


def check_key(variable: str, key: str) -> Secret:
    """Return a service's key if a header can hold it. Raises `ConfigurationError`, which does not show the key."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(
            f"{variable} holds spaces or letters that no key has", next_step="copy the key again, without quotes"
        )
    return Secret(key)


def read_prices(variable: str, text: str, unit: str) -> Mapping[str, float]:
    """Read prices for a second such as `720p=7 1080p=14`. Raises `ConfigurationError` naming variable and unit."""
    prices: dict[str, float] = {}
    for word in text.replace(",", " ").split():
        name, _, price = word.partition("=")
        try:
            prices[name] = float(price)
        except ValueError:
            prices[name] = -1.0
        if not 0 <= prices[name] < 1e6:
            raise ConfigurationError(f"{variable}: {word!r} is no price such as 720p=7 ({unit} for a second)")
    return prices


@dataclass(frozen=True, slots=True)
class PixVerseSetup:
    """What is set for PixVerse, over UseAPI."""

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


@dataclass(frozen=True, slots=True)
class LtxSetup:
    """What is set for LTX."""

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


@dataclass(frozen=True, slots=True)
class HeyGenSetup:
    """What is set for HeyGen."""

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
