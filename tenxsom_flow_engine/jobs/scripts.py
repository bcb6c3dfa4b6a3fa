"""Where the script of a job is: in the job, or in the options of its service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_script(job_options: Mapping[str, dict[str, Any]], script: str) -> dict[str, Any]:
    """Return the fields that another script changes: a script in the service options replaces that of the job."""
    if not any("script" in own for own in job_options.values()):
        return {"script": script}
    return {
        "options": {name: {**own, "script": script} if "script" in own else own for name, own in job_options.items()}
    }
