"""Outputs in buckets for tests, and a worker that publishes one job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.output.address import BucketAddress
from tenxsom_flow_engine.output.bucket import OutputBucket
from tenxsom_flow_engine.output.completion import Inspect
from tenxsom_flow_engine.output.media import examine
from tenxsom_flow_engine.output.objects import PART
from tenxsom_flow_engine.settings import load
from tests.bucket_servers import BucketServer
from tests.contract.output_suite import RECORD, fill


def open_bucket(server: BucketServer, home: Path, prefix: str = "flow", *, part: int = PART) -> OutputBucket:
    """Open a bucket as a machine with this home does. Files are inspected in this process, which is faster."""
    home.mkdir(parents=True, exist_ok=True)
    return open_as({"TENXSOM_HOME": str(home), **server.environment(home, prefix)}, part=part)


def numbered(number: int) -> JobRecord:
    """Return the record of one of many jobs."""
    return msgspec.structs.replace(RECORD, job=msgspec.structs.replace(RECORD.job, job_id=f"job-{number}"))


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker publishes: a local file, as the video of a numbered job, in parts of some bytes."""

    environment: dict[str, str]
    video: Path
    number: int
    part: int


def publish_job(order: Order) -> None:
    """Publish one job, as the fetch step of a worker does."""
    open_as(order.environment, part=order.part).publish(numbered(order.number), fill(order.video.read_bytes()))


def open_as(environment: dict[str, str], *, part: int = PART, inspect: Inspect | None = examine) -> OutputBucket:
    """Open the bucket of an environment; without `inspect`, files are inspected in child processes."""
    settings = load(environment)
    assert isinstance(settings.output_dir, BucketAddress)
    return OutputBucket(settings.output_dir, settings.work_dir, settings.bucket_keys, inspect, part)
