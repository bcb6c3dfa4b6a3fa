"""The exit codes of all commands.

0 done, 1 failed, 2 usage, 3 partly done, 4 quota or budget, 5 queue or store unreachable, 130 interrupted.
"""

from __future__ import annotations

from tenxsom_flow_engine.errors import (
    BudgetSpent,
    ConfigurationError,
    FlowError,
    InvalidInput,
    QueueUnavailable,
    StoreUnavailable,
)

DONE, FAILED, USAGE, PARTLY, QUOTA_OR_BUDGET, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_CODES: tuple[tuple[type[FlowError], int], ...] = (
    (InvalidInput, USAGE),
    (ConfigurationError, USAGE),
    (BudgetSpent, QUOTA_OR_BUDGET),
    (StoreUnavailable, UNREACHABLE),
    (QueueUnavailable, UNREACHABLE),
    (FlowError, FAILED),
)


def exit_code(error: FlowError) -> int:
    """Return the exit code of a command that ends with an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
