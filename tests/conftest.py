"""What all tests share: an environment without the settings of whoever runs them."""

from __future__ import annotations

import os

_OURS = ("TENXSOM_", "CLOUD_TASKS_", "REDIS_", "GOOGLE_", "USEAPI_", "LTX_", "HEYGEN_")

# At import, before any test or fixture can read them.
for _name in [name for name in os.environ if name.startswith(_OURS)]:
    del os.environ[_name]
