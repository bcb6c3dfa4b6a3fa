"""Addresses that no proxy of the environment can reach."""

from __future__ import annotations

import pytest

from tenxsom_flow_engine.queues.cloud_tasks.loopback import is_loopback, proxies


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8123", True),
        ("localhost:8123", True),
        ("[::1]:8123", True),
        ("127.8.8.8:1", True),
        ("http://LOCALHOST/certs", True),
        ("http://[::1]:8080", True),
        ("emulator:8123", False),
        ("10.0.0.1:8123", False),
        ("https://localhost.example.com", False),
        ("https://user:127.0.0.1@example.com", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_loopback_addresses(address: str, expected: bool) -> None:
    """Loopback addresses and `localhost` are recognised in URLs and in `host:port`; they get no proxy."""
    assert is_loopback(address) is expected
    assert proxies(address) == ({"http": "", "https": ""} if expected else {})
