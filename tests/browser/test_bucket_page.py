"""A job's page in the browser when its video is in a bucket, on another origin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tenxsom_flow_engine.jobs import Lease, Ticket
from tenxsom_flow_engine.jobs.lifecycle import take
from tenxsom_flow_engine.jobs.outcomes import Done
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.testing.samples import new
from tests.browser.page import Visitor
from tests.browser.seeded_app import Installation
from tests.bucket_servers import S3Server
from tests.contract.output_suite import fill


@pytest.fixture(scope="module")
def with_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose only video is in a bucket."""
    folder = tmp_path_factory.mktemp("bucket")
    bucket = S3Server()
    environment = {"TENXSOM_HOME": str(folder), "TENXSOM_STORE": f"sqlite://{folder}/jobs.sqlite3", "REDIS_PORT": "1"}
    installation = Installation(folder, environment | bucket.environment(Path(folder)))
    publish(installation)
    yield installation
    installation.close()
    bucket.close()


def publish(installation: Installation) -> None:
    """Make a job whose video is published."""
    engine, store = installation.engine, installation.engine.store
    store.add(engine.queue.name, new("sea", topic="Why the sea is salt", service="draft"))
    lease = Lease("token", "w", store.now() + 60)
    record = store.update("sea", lambda record, now: take(record, lease, now))
    store.intend("sea", record.lease_token, Intent(submission_id="s", service="draft", lifetime=9.0, max_in_flight=9))
    record = store.accept("sea", Receipt(submission_id="s", ticket=Ticket("t"), lifetime=9.0))
    video = engine.output.publish(record, fill(tiny_video("9:16", 5)))
    store.settle("sea", record.lease_token, Done(video))


def test_a_video_in_a_bucket_plays(chromium: Browser, with_bucket: Installation) -> None:
    """The page may load video and thumbnail from the bucket; the captions come from the worker."""
    visitor = Visitor(chromium, with_bucket)
    page = visitor.open("/jobs/sea")
    film = page.locator("video")
    with_bucket.until(lambda: film.evaluate("film => film.readyState >= 1 && film.duration > 4"), "the video's length")
    film.evaluate("film => { film.muted = true; film.play(); }")
    with_bucket.until(lambda: film.evaluate("film => film.currentTime > 0.3"), "playing")
    page = visitor.open("/")
    picture = page.locator("img[src*='/jobs/sea/thumbnail']")
    expect(picture).to_be_visible()
    with_bucket.until(lambda: picture.evaluate("picture => picture.naturalWidth > 0"), "the thumbnail")
    visitor.leave()
