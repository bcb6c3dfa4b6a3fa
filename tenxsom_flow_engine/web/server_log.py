"""Route gunicorn's log through this engine's logging, so that a worker writes one format."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger

from tenxsom_flow_engine import logs
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.settings import load


class ServerLog(Logger):  # type: ignore[misc]
    """gunicorn's logger. gunicorn creates it in the master, before it forks the worker processes."""

    def setup(self, cfg: Any) -> None:
        """Configure logging, and let gunicorn's lines propagate to it."""
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True
        try:
            secrets = load().secrets
        except ConfigurationError:  # opening the application reports it
            secrets = frozenset()
        logs.configure(cfg.loglevel if cfg.loglevel in logs.LEVELS else "info", secrets)
