"""The dashboard on the Redis store."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tenxsom_flow_engine.jobs import Status
from tests.browser.conftest import a_folder
from tests.browser.page import Visitor
from tests.browser.seeded_app import Installation
from tests.redis_server import RedisServer
from tests.sample_day import channel_day


@pytest.fixture
def on_redis(redis_server: RedisServer) -> Iterator[Installation]:
    """An installation with the records of some hours on a Redis server, whose clock is not set ahead."""
    with a_folder() as home:
        given = {"TENXSOM_HOME": str(home), "REDIS_URL": redis_server.url, "REDIS_QUEUE_KEY": secrets.token_hex(6)}
        with channel_day(given, time.time(), hours=2.0) as (_, environment):
            installation = Installation(home, environment)
            yield installation
            installation.close()


def test_the_views_work_on_redis(chromium: Browser, on_redis: Installation) -> None:
    """Overview, list of jobs, a job with its video, and adding a job all work with records on Redis."""
    visitor = Visitor(chromium, on_redis)
    page = visitor.open()
    made = on_redis.engine.store.status_counts().by_status[Status.SUCCEEDED]
    assert made
    # The day was recorded with a clock that is ahead of this machine's.
    expect(page.locator("#verdict .headline")).to_contain_text("The store's clock is")
    expect(page.locator("#day")).to_contain_text(f"{made} done")
    page.get_by_role("link", name="Jobs", exact=True).click()
    record = on_redis.newest(Status.SUCCEEDED)
    page.get_by_role("link", name=record.job.topic).first.click()
    expect(page.locator("video")).to_be_visible()
    page.get_by_role("link", name="Add", exact=True).click()
    page.get_by_label("Topics").fill("Why the sea is blue")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Add 1 job").click()
    expect(page.get_by_text("1 job added.")).to_be_visible()
    visitor.leave()
