"""The exit codes of all commands.

0 done, 1 failed, 2 usage, 3 partly done, 5 queue or store unreachable, 130 interrupted.
4 is reserved for a quota or budget; no command ends with it yet.
"""

from __future__ import annotations

from tenxsom_flow_engine.errors import ConfigurationError, FlowError, InvalidInput, QueueUnavailable, StoreUnavailable

DONE, FAILED, USAGE, PARTLY, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 5, 130

_CODES: tuple[tuple[type[FlowError], int], ...] = (
    (InvalidInput, USAGE),
    (ConfigurationError, USAGE),
    (StoreUnavailable, UNREACHABLE),
    (QueueUnavailable, UNREACHABLE),
    (FlowError, FAILED),
)


def exit_code(error: FlowError) -> int:
    """Return the exit code of a command that ends with an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
