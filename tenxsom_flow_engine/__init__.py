"""A job engine for paid video generation that never loses a job and never pays twice for a video.

The names in `__all__` are the Python API. Each is imported on first use, so that importing the package is cheap.
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
else:  # hidden from type checkers, which would otherwise accept every name
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
        globals()[name] = value  # later accesses do not call this function
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
