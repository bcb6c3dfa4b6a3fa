"""gunicorn's own log, as lines of ours: one form for everything that a worker says."""

from __future__ import annotations

import sys
from typing import Any

from gunicorn.glogging import Logger

from tenxsom_flow_engine import logs
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.settings import load


class ServerLog(Logger):  # type: ignore[misc]
    """Made by gunicorn in its master, before the worker processes are forked."""

    def setup(self, cfg: Any) -> None:
        """Send gunicorn's lines where all others go, which is set here too."""
        super().setup(cfg)
        for own in list(self.error_log.handlers):
            self.error_log.removeHandler(own)
        self.error_log.propagate = True
        try:
            secrets = load().secrets
        except ConfigurationError:  # which is said where the application is opened
            secrets = frozenset()
        logs.configure(cfg.loglevel if cfg.loglevel in logs.LEVELS else "info", secrets)

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Say in a word that somebody fell silent in the middle of a request (see `server.SILENCE`)."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.info("a connection is closed: the rest of its request did not come")
        else:
            super().exception(msg, *args, **kwargs)
