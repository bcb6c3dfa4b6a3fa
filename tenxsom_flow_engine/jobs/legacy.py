"""Reads entries of the legacy list: JSON objects that older producers pushed to a plain Redis list.

An entry is `{"topic": …, "duration": …}`, or has the same fields inside `params`.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob, new_job_id

_FIELDS = ("job_id", "topic", "prompt", "script", "duration", "aspect_ratio", "service", "quality", "channel")


def read_legacy(entry: str | bytes) -> VideoJob:
    """Convert a legacy entry to a job, ignoring unknown fields. Raises `InvalidInput`."""
    try:
        given = msgspec.json.decode(entry)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidInput("entry", f"is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidInput("entry", "is not a JSON object")
    params = given.get("params")
    given = given | params if isinstance(params, dict) else given
    fields: dict[str, Any] = {name: given[name] for name in _FIELDS if given.get(name) is not None}
    topic = fields.get("topic")
    if not isinstance(topic, str):
        raise InvalidInput("topic", "is missing")
    if isinstance(fields.get("duration"), float) and fields["duration"].is_integer():
        fields["duration"] = int(fields["duration"])  # some JSON writers encode whole numbers as `5.0`
    fields.setdefault("job_id", new_job_id(topic))
    return VideoJob(created_at=time.time(), **fields)
