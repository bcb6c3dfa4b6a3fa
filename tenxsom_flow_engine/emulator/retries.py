"""The rules of `RetryConfig` as pure functions: when a failed task is delivered again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from tenxsom_flow_engine.emulator.protobuf import invalid, seconds

UNLIMITED = -1
#: The service's defaults (documented for queues created by the API).
MAX_ATTEMPTS, MIN_BACKOFF, MAX_BACKOFF, MAX_DOUBLINGS = 100, 0.1, 3600.0, 16


@dataclass(frozen=True, slots=True)
class RetryRule:
    """The retry settings of one task. All times in seconds; a `max_retry_duration` of 0 means no limit."""

    max_attempts: int = MAX_ATTEMPTS
    max_retry_duration: float = 0.0
    min_backoff: float = MIN_BACKOFF
    max_backoff: float = MAX_BACKOFF
    max_doublings: int = MAX_DOUBLINGS

    @classmethod
    def of(cls, queue: Any, task: Any | None = None) -> Self:
        """Read a queue's `RetryConfig`, overridden by a task's; fields set in neither get the service's default.

        In protobuf a number that is 0 cannot be distinguished from one that is not set.
        """
        rule: dict[str, Any] = {}
        for config in (queue, *([] if task is None else [task])):
            rule |= {field: value for field in ("max_attempts", "max_doublings") if (value := getattr(config, field))}
            rule |= {
                field: seconds(getattr(config, field))
                for field in ("max_retry_duration", "min_backoff", "max_backoff")
                if config.HasField(field)
            }
        if "max_retry_duration" in rule:
            rule["max_retry_duration"] = float(int(rule["max_retry_duration"]))  # whole seconds, as documented
        return cls(**rule)

    def delay(self, retry: int) -> float:
        """Return the wait before the `retry`-th retry (counted from 0).

        It doubles `max_doublings` times, then grows linearly by the last doubled delay, up to `max_backoff`.
        """
        # The exponent is bounded because a float overflows near 2**1024.
        doubled = self.min_backoff * 2.0 ** min(retry, self.max_doublings, 1000)
        return min(self.max_backoff, doubled * max(1, retry - self.max_doublings + 1))

    def used_up(self, attempts: int, since_first: float) -> bool:
        """Return whether a task is given up after `attempts`, the first of them `since_first` seconds ago.

        Every limit that is set must be reached; without limits, only the retention of tasks ends it. Documented: both
        limits must be reached, and -1 with 0 means no end. Inferred: if one is unlimited, the other decides alone.
        """
        bounds = []
        if self.max_attempts != UNLIMITED:
            bounds.append(attempts >= self.max_attempts)
        if self.max_retry_duration > 0:
            bounds.append(since_first >= self.max_retry_duration)
        return bool(bounds) and all(bounds)


def check(config: Any) -> None:
    """Refuse a `RetryConfig` that the service refuses."""
    if config.max_attempts < UNLIMITED:
        raise invalid("RetryConfig.max_attempts must be -1 (unlimited) or greater.")
    if config.max_doublings < 0:
        raise invalid("RetryConfig.max_doublings must not be negative.")
    for field in ("max_retry_duration", "min_backoff", "max_backoff"):
        if seconds(getattr(config, field)) < 0:
            raise invalid(f"RetryConfig.{field} must not be negative.")
    rule = RetryRule.of(config)
    if rule.min_backoff > rule.max_backoff:
        raise invalid("RetryConfig.min_backoff must not be greater than RetryConfig.max_backoff.")


def complete(config: Any) -> None:
    """Refuse a queue's `RetryConfig` that the service refuses; fill in its defaults."""
    check(config)
    rule = RetryRule.of(config)
    config.max_attempts, config.max_doublings = rule.max_attempts, rule.max_doublings
    config.max_retry_duration.FromSeconds(int(rule.max_retry_duration))
    config.min_backoff.FromMicroseconds(round(rule.min_backoff * 1e6))
    config.max_backoff.FromMicroseconds(round(rule.max_backoff * 1e6))
