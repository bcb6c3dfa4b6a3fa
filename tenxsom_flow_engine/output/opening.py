"""Opens the output that the settings name: a folder, or a bucket with the spool of this machine."""

from __future__ import annotations

from pathlib import Path

from tenxsom_flow_engine.output.address import NO_KEYS, BucketAddress, BucketKeys
from tenxsom_flow_engine.output.base import Output
from tenxsom_flow_engine.output.folder import OutputFolder


def open_output(place: Path | BucketAddress, spool: Path, keys: BucketKeys = NO_KEYS) -> Output:
    """Return the output at a place; nothing is read or written before its first use."""
    if isinstance(place, Path):
        return OutputFolder(place)
    from tenxsom_flow_engine.output.bucket import OutputBucket

    return OutputBucket(place, spool, keys)
