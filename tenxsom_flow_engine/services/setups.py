"""How the services over HTTP are set up: what `settings` reads for them, and what may not be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tenxsom_flow_engine.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class PixVerseSetup:
    """What is set for PixVerse."""

    #: USEAPI_TOKEN: the key of UseAPI.
    token: str = field(repr=False)
    #: USEAPI_BASE_URL: where UseAPI is, with its version.
    base_url: str = "https://api.useapi.net/v2"
    #: USEAPI_PIXVERSE_CREATE_PATH: where a create goes; UseAPI has changed it before.
    create_path: str = "/pixverse/videos/create"
    #: USEAPI_PIXVERSE_MODEL: the model of jobs that name none.
    model: str = "v6"
    #: USEAPI_PIXVERSE_EMAIL: the linked account of jobs that name none; empty: any that has room.
    email: str = ""
    #: USEAPI_PIXVERSE_SLOTS: generations in flight at once, over all machines. A usual plan renders five.
    slots: int = 5
    #: USEAPI_PIXVERSE_PRICES: credits for a second by quality, of the model above; empty: as is known.
    prices: Mapping[str, float] = field(default_factory=dict)
    #: USEAPI_PIXVERSE_USD_PER_CREDIT: 60 USD a month buy 15,000 credits (2026-04-05).
    usd_per_credit: float = 0.004


@dataclass(frozen=True, slots=True)
class LtxSetup:
    """What is set for LTX."""

    #: LTX_API_KEY: the key, from console.ltx.io.
    key: str = field(repr=False)
    #: LTX_BASE_URL: where LTX is; it was `https://api.ltx.video` until August 2026.
    base_url: str = "https://api.ltx.io"
    #: LTX_MODEL: the model of jobs that name none.
    model: str = "ltx-2-5-fast"
    #: LTX_SLOTS: generations in flight at once, over all machines. An account may have two unless LTX grants more.
    slots: int = 2
    #: LTX_PRICES: USD for a second by quality, of the model above; empty: as is known.
    prices: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeyGenSetup:
    """What is set for HeyGen."""

    #: HEYGEN_API_KEY: the key, from the API page of the account's settings.
    key: str = field(repr=False)
    #: HEYGEN_BASE_URL: where HeyGen is.
    base_url: str = "https://api.heygen.com"
    #: HEYGEN_AVATAR_ID: the avatar's look of jobs that name none; a script needs one.
    avatar_id: str = ""
    #: HEYGEN_VOICE_ID: the voice of jobs that name none; empty: the avatar's own.
    voice_id: str = ""
    #: HEYGEN_SLOTS: generations in flight at once, over all machines. Who pays as they go may have ten.
    slots: int = 10
    #: HEYGEN_PRICES: USD for a second, by `agent` or engine; empty: as is known.
    prices: Mapping[str, float] = field(default_factory=dict)


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


def check_key(variable: str, key: str) -> str:
    """Return a service's key if a header can hold it. Raises `ConfigurationError`, which does not show the key."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(
            f"{variable} holds spaces or letters that no key has", next_step="copy the key again, without quotes"
        )
    return key


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
