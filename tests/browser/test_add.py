"""Adding jobs in the browser: form, preview, button, and errors."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.values import JobFilter
from tests.browser.page import Visitor, assert_fits
from tests.browser.seeded_app import Installation


def ask(page: Page, topics: str, **fields: str) -> None:
    """Fill in the form of an open page, and open the preview."""
    # Set the text like a paste; typing a long list is slow.
    page.get_by_label("Topics").evaluate("(field, text) => { field.value = text; }", topics)
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(text)
    page.get_by_role("button", name="Preview").click()


def topics(installation: Installation, channel: str) -> list[str]:
    """Return the topics of a channel's jobs."""
    page = installation.engine.store.page(JobFilter(channel=channel), limit=100)
    return sorted(record.job.topic for record in page.records)


def test_errors_and_previews_fit_and_are_accessible(visitor: Visitor) -> None:
    """A form with errors and a preview with invalid lines fit every width and are accessible."""
    visitor.watched.expected = {400}
    page = visitor.open("/add")
    ask(page, "Tides", Duration="99", Channel="a b", Videos_per_hour="many")
    expect(page.locator("#channel")).to_have_attribute("aria-invalid", "true")
    assert page.get_by_role("alert").get_by_role("link").all_inner_texts() == ["channel", "per hour"]
    assert_fits(page)
    page.get_by_label("Service", exact=True).select_option("pixverse")
    ask(page, f"{'tides' * 30}\nHow tides work\n{'x' * 501}", Duration="17", Channel="fits", Videos_per_hour="4")
    expect(page.get_by_role("button", name="Add 2 jobs")).to_be_visible()
    expect(page.get_by_text("Line 3")).to_be_visible()
    page.locator("summary").first.click()
    assert_fits(page)


@pytest.mark.parametrize("java_script", [True, False])
def test_a_pasted_calendar_of_last_year(operator: Visitor, own: Installation, java_script: bool) -> None:
    """Cells copied from a spreadsheet become jobs after a choice for their times in the past."""
    channel = f"calendar-{java_script}"
    page = operator.open("/add", java_script=java_script)
    table = "Topic\tNotes\tat\n" + "".join(f"#{day} of 20\tx\t2020-01-{day:02} 10:00\n" for day in range(1, 21))
    page.get_by_label("Topics").fill(f"{table}Tides\t\t{iso(own.engine.store.now() + 86400.0)}\n\t\t\n")
    page.get_by_label("Channel").fill(channel)
    page.get_by_label("Ignore unknown columns and fields").check()
    page.get_by_role("button", name="Preview").click()
    past = page.get_by_role("region", name="Times in the past")
    expect(past).to_contain_text("The times of 20 jobs lie in the past, so nothing can be added yet:")
    expect(past).to_contain_text("and 10 more")
    expect(page.get_by_role("button", name="Add")).to_have_count(0)
    if java_script:
        assert_fits(page)
    past.get_by_label("Jobs with a time in the past").select_option("leave them out")
    past.get_by_role("button", name="Preview again").click()
    page.get_by_role("button", name="Add 1 job").click()
    expect(page.get_by_text("1 job added.")).to_be_visible()
    assert topics(own, channel) == ["Tides"]


@pytest.mark.parametrize("java_script", [True, False])
def test_one_topic_becomes_one_job(operator: Visitor, own: Installation, java_script: bool) -> None:
    """A topic, its preview and one button lead to the job's page, with and without JavaScript."""
    channel = f"one-{java_script}"
    page = operator.open("/add", java_script=java_script)
    page.get_by_label("Topics").fill("Why cats purr at night")
    page.get_by_label("Channel").fill(channel)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".headline")).to_contain_text("1 new job")
    assert topics(own, channel) == []
    page.get_by_role("button", name="Add 1 job").click()
    expect(page.get_by_text("1 job added.")).to_be_visible()
    assert topics(own, channel) == ["Why cats purr at night"]
    assert "/jobs/why-cats-purr-at-night-" in page.url


def test_topics_are_written_in_their_direction(operator: Visitor, own: Installation) -> None:
    """A Hebrew topic is written from right to left in the preview, the list and its page; an English one is not."""
    page = operator.open("/add")
    ask(page, "מה קורה בגוף כשישנים? (2)\nWhy we sleep? (2)", Channel="directions")
    for name in ("Preview", "Jobs"):
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        ways = page.locator(".topic [dir], .topic[dir]").evaluate_all(
            "all => all.map(one => getComputedStyle(one).direction)"
        )
        assert sorted(ways) == ["ltr", "rtl"]
        assert_fits(page)
        if name == "Preview":
            page.get_by_role("button", name="Add 2 jobs").click()
    page.get_by_role("link", name="מה קורה").click()
    heading = page.get_by_role("heading", name="מה קורה")
    assert heading.evaluate("one => getComputedStyle(one).direction") == "rtl"
    # It begins where the page does, like other headings.
    assert heading.evaluate(
        "one => one.getBoundingClientRect().left === one.parentElement.getBoundingClientRect().left"
    )


def test_two_presses_add_once(operator: Visitor, own: Installation) -> None:
    """A double click on the button adds the jobs once."""
    page = operator.open("/add")
    page.get_by_label("Allow duplicates").check()
    ask(page, "Tides\nDreams\nSalt", Channel="twice")
    page.get_by_role("button", name="Add 3 jobs").dblclick()
    expect(page.get_by_text("3 jobs added.")).to_be_visible()
    assert topics(own, "twice") == ["Dreams", "Salt", "Tides"]


def test_going_back_keeps_the_fields(operator: Visitor) -> None:
    """The button of the preview and the browser's back button both return to the filled-in form."""
    page = operator.open("/add")
    ask(page, "Tides\nDreams", Channel="kept")
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Topics")).to_have_value("Tides\nDreams")
    expect(page.get_by_label("Channel")).to_have_value("kept")
    page.goto("/add")
    page.get_by_label("Topics").fill("Salt")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Preview")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Topics")).to_have_value("Salt")


def test_a_plan_outlives_the_worker(operator: Visitor, own: Installation) -> None:
    """A plan previewed before a restart can be added after it; while the worker is down, the form is not submitted."""
    page = operator.open("/add")
    ask(page, "Tides\nDreams", Channel="outlives", Videos_per_hour="4")
    button = page.get_by_role("button", name="Add 2 jobs")
    expect(button).to_be_visible()
    with operator.outage():
        own.kill()
        button.click()
        expect(page.locator("#offline")).to_contain_text("nothing was sent")
        own.start()
    button.click()
    expect(page.get_by_text("2 jobs added.")).to_be_visible()
    assert topics(own, "outlives") == ["Dreams", "Tides"]


def test_an_oversized_form_is_refused_with_a_reason(operator: Visitor) -> None:
    """The worker refuses an oversized form with a hint to use the command `batch`."""
    operator.watched.expected = {413}
    page = operator.open("/add")
    ask(page, "How tides work\n" * 100_000)
    expect(page.locator("#topics-wrong")).to_contain_text("put them into a file")


def test_a_job_is_duplicated_from_its_page(operator: Visitor, own: Installation) -> None:
    """Duplicate fills in the form with the settings of the job, and adds a separate job."""
    (record,) = own.engine.store.page(JobFilter(statuses=[Status.FAILED]), limit=1).records
    page = operator.open(f"/jobs/{record.job_id}")
    page.get_by_role("link", name="Duplicate").click()
    expect(page.get_by_label("Topics")).to_have_value(record.job.topic)
    page.get_by_label("Channel").fill("copied")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Add 1 job").click()
    expect(page.get_by_text("1 job added.")).to_be_visible()
    (copy,) = own.engine.store.page(JobFilter(channel="copied"), limit=9).records
    assert copy.job_id != record.job_id
    assert copy.job.duration == record.job.duration
