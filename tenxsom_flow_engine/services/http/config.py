"""Readers for the variables that all services over HTTP have."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from tenxsom_flow_engine.env import Secret
from tenxsom_flow_engine.errors import ConfigurationError


def check_base_url(variable: str, url: str) -> str:
    """Return a service's base URL if it is safe to send a key there. Raises `ConfigurationError`."""
    try:
        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        fine = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError(
            f"{variable} must be an https URL without query or password",
            next_step="write it like https://api.example.org/v2",
        )
    return url


def check_key(variable: str, key: str) -> Secret:
    """Return a service's key if it is valid in a header. Raises `ConfigurationError`, which does not show the key."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(
            f"{variable} contains spaces or non-ASCII characters", next_step="copy the key again, without quotes"
        )
    return Secret(key)


def read_prices(variable: str, text: str, unit: str) -> Mapping[str, float]:
    """Parse prices per second such as `720p=7 1080p=14`. Raises `ConfigurationError` with variable and unit."""
    prices: dict[str, float] = {}
    for word in text.replace(",", " ").split():
        name, _, price = word.partition("=")
        try:
            prices[name] = float(price)
        except ValueError:
            prices[name] = -1.0
        if not 0 <= prices[name] < 1e6:
            raise ConfigurationError(f"{variable}: {word!r} is not a price such as 720p=7 ({unit} per second)")
    return prices
