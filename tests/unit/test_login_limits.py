"""The limits of wrong logins."""

from __future__ import annotations

import pytest

from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.web.dashboard.login_limits import EACH, REMEMBERED, TOGETHER, LoginLimits, keys_of


def test_an_address_has_some_attempts_and_then_one_a_minute() -> None:
    """After a burst, attempts are allowed at the rate; an idle address gets its burst again."""
    clock = ManualClock()
    limits = LoginLimits(clock.now)
    keys = keys_of(None, "192.0.2.1", "")
    assert [limits.attempt(keys) for _ in range(EACH.burst)] == [0.0] * EACH.burst
    assert limits.attempt(keys) == pytest.approx(EACH.seconds)
    clock.advance(EACH.seconds / 2)
    assert limits.attempt(keys) == pytest.approx(EACH.seconds / 2)
    clock.advance(EACH.seconds / 2)
    assert limits.attempt(keys) == 0.0
    assert limits.attempt(keys) > 0
    clock.advance(EACH.seconds * EACH.burst)
    assert [limits.attempt(keys) for _ in range(EACH.burst)] == [0.0] * EACH.burst
    assert limits.attempt(keys) > 0


def test_many_addresses_share_a_limit_that_known_browsers_do_not_have() -> None:
    """However many addresses guess, together they have one rate; a browser that was logged in is not affected."""
    limits = LoginLimits(ManualClock().now)
    allowed = sum(limits.attempt(keys_of(None, "127.0.0.1", f"198.51.100.{n}")) == 0 for n in range(200))
    assert allowed == TOGETHER.burst
    assert limits.attempt(keys_of("a-browser", "127.0.0.1", "198.51.100.1")) == 0
    assert limits.attempt(keys_of(None, "127.0.0.1", "198.51.100.201")) > 0


def test_a_right_login_is_not_counted() -> None:
    """An attempt with the right token gives back what it used."""
    limits = LoginLimits(ManualClock().now)
    keys = keys_of(None, "192.0.2.1", "")
    for _ in range(5 * TOGETHER.burst):
        assert limits.attempt(keys) == 0
        limits.undo(keys)


def test_a_forged_forwarded_header_is_another_address_only_in_its_last_entry() -> None:
    """What a client writes before the proxy's entry of `X-Forwarded-For` does not change its key."""
    key = keys_of(None, "127.0.0.1", "198.51.100.7")
    assert keys_of(None, "127.0.0.1", "1.2.3.4, 198.51.100.7") == key
    assert keys_of(None, "127.0.0.1", "198.51.100.8") != key
    assert keys_of(None, "2001:db8::1", "") == keys_of(None, "2001:db8::ffff:1", "")
    assert keys_of(None, "2001:db8:0:1::1", "") != keys_of(None, "2001:db8::1", "")


def test_the_memory_is_bounded() -> None:
    """Only the latest addresses are remembered, and never less than all of them together."""
    clock = ManualClock()
    limits = LoginLimits(clock.now)
    for number in range(3 * REMEMBERED):
        assert limits.attempt(keys_of(None, f"192.0.2.{number}", "")) == 0
        clock.advance(TOGETHER.seconds)
    assert len(limits._full_at) == REMEMBERED
    assert "*" in limits._full_at
