"""Topics in, videos out: a job engine for paid video generation that keeps every job and pays once.

The names in `__all__` are the Python API. Each is loaded when it is first used, so that importing the package is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"

__all__ = [
    "ActionRefused",
    "ConfigurationError",
    "FlowError",
    "InvalidInput",
    "JobNotFound",
    "JobRecord",
    "QueueError",
    "QueueManager",
    "RateLimitedAPIClient",
    "ServiceError",
    "Status",
    "StoreError",
    "UseAPIRateLimiter",
    "VideoJob",
    "__version__",
]

if TYPE_CHECKING:
    from tenxsom_flow_engine.errors import (
        ActionRefused,
        ConfigurationError,
        FlowError,
        InvalidInput,
        JobNotFound,
        QueueError,
        ServiceError,
        StoreError,
    )
    from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
    from tenxsom_flow_engine.python_api.queue_manager import QueueManager
    from tenxsom_flow_engine.python_api.rate_limiter import RateLimitedAPIClient, UseAPIRateLimiter
else:  # hidden from type checkers, to which it would say that every name exists
    _MODULES = {
        "JobRecord": "jobs",
        "QueueManager": "python_api.queue_manager",
        "RateLimitedAPIClient": "python_api.rate_limiter",
        "Status": "jobs",
        "UseAPIRateLimiter": "python_api.rate_limiter",
        "VideoJob": "jobs",
    }

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
        globals()[name] = value  # found without this function from now on
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
