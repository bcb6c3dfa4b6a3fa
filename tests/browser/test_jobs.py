"""The list of jobs in the browser: searching, paging and bulk actions."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.values import JobFilter
from tests.browser.page import Visitor
from tests.browser.seeded_app import Installation

#: Jobs on a page.
PAGE = 50


def topics(page: Page) -> list[str]:
    """Return the topics of the listed jobs, in order."""
    return [topic.strip() for topic in page.locator("#rows th a").all_inner_texts()]


def found(installation: Installation, limit: int = PAGE, **wanted: Any) -> list[str]:
    """Return the stored topics that match a filter, newest first."""
    page = installation.engine.store.page(JobFilter(**wanted), limit=limit)
    return [record.job.topic for record in page.records]


def test_a_tile_leads_to_its_jobs(visitor: Visitor, untouched: Installation) -> None:
    """A number on the overview links to the jobs that it counts."""
    page = visitor.open()
    page.locator("#tile-failed").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    assert topics(page) == found(untouched, statuses=[Status.FAILED])
    assert set(page.locator("#rows .chip").all_inner_texts()) == {"failed"}


@pytest.mark.parametrize(
    ("label", "value", "wanted"),
    [
        ("Topic or id", "SEA is", {"text": "sea is"}),
        ("Channel", "founders-daily", {"channel": "founders-daily"}),
        ("Service", "ltx_studio", {"service": "ltx_studio"}),
        ("Day added (UTC)", "yesterday", {}),
    ],
)
def test_filters(visitor: Visitor, untouched: Installation, label: str, value: str, wanted: dict[str, str]) -> None:
    """Each field of the search filters the list, and the address contains the search."""
    bounds: dict[str, Any] = dict(wanted)
    if value == "yesterday":
        midnight = untouched.engine.store.now() // 86400 * 86400
        bounds = {"added_from": midnight - 86400, "added_before": midnight}
        value = datetime.fromtimestamp(midnight - 86400, UTC).date().isoformat()
    page = visitor.open("/jobs")
    field = page.get_by_label(label, exact=True)
    field.select_option(value) if label == "Service" else field.fill(value)
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="Clear")).to_be_visible()
    expected = found(untouched, **bounds)
    assert topics(page) == expected
    assert len(expected) > 0
    page.goto(page.url)
    assert topics(page) == expected


def test_paging_shows_every_job_once(visitor: Visitor, untouched: Installation) -> None:
    """The links to older pages show every job once, and a link returns to the newest page."""
    page = visitor.open("/jobs")
    seen = topics(page)
    while page.locator("#older").count():
        page.locator("#older").click()
        expect(page.locator("#newest")).to_be_visible()
        page.wait_for_load_state()
        seen += topics(page)
    assert seen == found(untouched, 1000)
    page.locator("#newest").click()
    expect(page.locator("#rows th a").first).to_have_text(seen[0])


def test_a_list_that_finds_nothing_says_so(visitor: Visitor) -> None:
    """A search without matches shows a message and a link to all jobs instead of an empty table."""
    page = visitor.open("/jobs?text=no-such-thing-anywhere")
    expect(page.locator("#none")).to_contain_text("No jobs match")
    page.get_by_role("link", name="See all jobs").click()
    assert len(topics(page)) == PAGE


def test_a_status_changes_in_the_open_list(operator: Visitor, own: Installation) -> None:
    """A job that changes its status leaves the open list, while checked boxes stay."""
    page = operator.open("/jobs?status=rendering")
    record = own.newest(Status.RENDERING)
    page.locator(f"#pick-{found_id(own)}").check()
    own.finish_one()
    expect(page.locator(f"#pick-{record.job_id}")).to_have_count(0)
    expect(page.locator(f"#pick-{found_id(own)}")).to_be_visible()


def found_id(installation: Installation) -> str:
    """Return the id of the oldest rendering job."""
    return installation.engine.store.page(JobFilter(statuses=[Status.RENDERING]), limit=9).records[-1].job_id


def test_matching_jobs_are_cancelled_after_confirmation(operator: Visitor, own: Installation) -> None:
    """Cancel all shows the number of jobs; going back changes nothing, and confirming cancels exactly those jobs."""
    wanted: dict[str, Any] = {"statuses": [Status.SCHEDULED], "channel": "deep-sea"}
    planned = len(found(own, 1000, **wanted))
    others = own.engine.store.status_counts().by_status[Status.SCHEDULED] - planned
    assert planned > 5
    page = operator.open("/jobs?status=scheduled&channel=deep-sea")
    page.locator("#cancel-all").click()
    expect(page.get_by_role("heading", name=f"Cancel {planned} jobs?")).to_be_visible()
    page.get_by_role("link", name="Back", exact=True).click()
    assert len(found(own, 1000, **wanted)) == planned
    page.locator("#cancel-all").click()
    page.get_by_role("button", name=f"Cancel {planned} jobs").click()
    expect(page.get_by_text(f"{planned} jobs were cancelled.")).to_be_visible()
    assert not found(own, **wanted)
    assert own.engine.store.status_counts().by_status[Status.SCHEDULED] == others


def test_selected_jobs_are_retried(operator: Visitor, own: Installation) -> None:
    """Two selected jobs are retried after a page with the cost; a third one is not changed."""
    failed = own.engine.store.page(JobFilter(statuses=[Status.FAILED]), limit=9).records
    page = operator.open("/jobs?status=failed")
    for record in failed[:2]:
        page.locator(f"#pick-{record.job_id}").check()
    page.get_by_role("button", name="Retry…").click()
    expect(page.get_by_role("heading", name="Retry 2 jobs?")).to_be_visible()
    expect(page.get_by_text("ordered again")).to_be_visible()
    page.get_by_role("button", name="Retry 2 jobs").click()
    expect(page.get_by_text("2 jobs were queued again.")).to_be_visible()
    for record in failed[:2]:
        assert any("retried" in event.what for event in own.engine.store.require(record.job_id).events)
    assert own.engine.store.require(failed[2].job_id) == failed[2]


def test_a_bulk_action_needs_a_selection_or_a_filter(operator: Visitor, own: Installation) -> None:
    """No button acts on all jobs, and the address for it is refused."""
    before = own.engine.store.status_counts().by_status
    page = operator.open("/jobs")
    expect(page.locator("#cancel-all")).to_have_count(0)
    page.get_by_role("button", name="Cancel…").click()
    expect(page.get_by_text("No job selected.")).to_be_visible()
    page.goto("/bulk?act=cancel&all=1")
    expect(page).to_have_url(re.compile("/jobs$"))
    expect(page.get_by_text("This would affect every job")).to_be_visible()
    assert own.engine.store.status_counts().by_status == before
