"""What a process says of itself: one line for each event, on standard error."""

from __future__ import annotations

import logging
import sys

from tenxsom_flow_engine.clock import iso

LEVELS = ("debug", "info", "warning", "error")


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return iso(record.created)


def configure(level: str) -> None:
    """Send the log to standard error. Called once, by the process's door."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It tells whole addresses, and those of finished videos carry signatures.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
