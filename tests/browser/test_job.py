"""A job's page in the browser: its video, its actions and its live updates."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from playwright.sync_api import expect

from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.services.heygen import fake as heygen
from tenxsom_flow_engine.services.ltx_studio import fake as ltx
from tenxsom_flow_engine.services.pixverse import fake as useapi
from tests.browser.page import Visitor
from tests.browser.seeded_app import Installation


@pytest.fixture(scope="module")
def long(own: Installation) -> Iterator[JobRecord]:
    """A job whose video is larger than one piece."""
    record = own.newest(Status.SUCCEEDED, "pixverse")
    assert record.result is not None
    folder = Path(record.result.path).parent
    # Other installations share the video files.
    shutil.move(folder, folder.with_suffix(".kept"))
    shutil.copytree(folder.with_suffix(".kept"), folder)
    noise = np.random.default_rng(5)
    with av.open(record.result.path, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "crf": "12", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(300):
            picture = noise.integers(0, 256, (240, 320, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert Path(record.result.path).stat().st_size > 6e6
    yield record
    shutil.rmtree(folder)
    shutil.move(folder.with_suffix(".kept"), folder)


def test_a_video_plays_and_seeks(operator: Visitor, own: Installation, long: JobRecord) -> None:
    """The space bar plays the video, and seeking far ahead requests only that part of it."""
    page = operator.open(f"/jobs/{long.job_id}")
    film = page.locator("video")
    film.evaluate("film => { film.muted = true; film.focus(); }")
    page.keyboard.press("Space")
    own.until(lambda: film.evaluate("film => film.currentTime > 0.3"), "playing")
    with page.expect_response(lambda answer: answer.url.endswith("/video") and _start(answer.headers) > 3e6) as sought:
        film.evaluate("film => { film.currentTime = 27; }")
    assert sought.value.status == 206
    own.until(lambda: film.evaluate("film => !film.seeking && film.currentTime > 27"), "playing from there")


def test_a_download_has_its_topic_as_name(operator: Visitor, own: Installation) -> None:
    """The browser saves files under their topic in any script, without the characters that file systems reserve."""
    record = own.newest(Status.SUCCEEDED, "heygen")

    def renamed(record: JobRecord, now: float) -> JobRecord:
        return msgspec.structs.replace(record, job=msgspec.structs.replace(record.job, topic="日本 / Łódź — “why”?"))

    own.engine.store.update(record.job_id, renamed)
    page = operator.open(f"/jobs/{record.job_id}")
    for link, suffix in (("Video", "mp4"), ("Captions", "srt")):
        with page.expect_download() as download:
            page.get_by_role("link", name=link, exact=True).click()
        assert download.value.suggested_filename == f"日本 Łódź — “why”.{suffix}"


def _start(headers: dict[str, str]) -> int:
    """Return the first byte of a partial response."""
    return int(headers.get("content-range", "bytes 0-").split()[1].partition("-")[0])


def test_the_order_is_shown_without_keys(visitor: Visitor, untouched: Installation) -> None:
    """The page shows the order, and contains no key of any service."""
    for service in ("pixverse", "ltx_studio", "heygen"):
        page = visitor.open(f"/jobs/{untouched.newest(Status.SUCCEEDED, service).job_id}")
        page.get_by_text("Last order sent").click()
        expect(page.get_by_label("The order")).to_be_visible()
        assert not [key for key in (useapi.TOKEN, ltx.KEY, heygen.KEY, untouched.token) if key in page.content()]


def test_a_finished_job_shows_its_video_without_a_reload(operator: Visitor, own: Installation) -> None:
    """The open page of a rendering job shows the video when the job has finished."""
    page = operator.open(f"/jobs/{own.newest(Status.RENDERING).job_id}")
    expect(page.locator("video")).to_have_count(0)
    own.finish_one()
    expect(page.locator("video")).to_be_visible()
    expect(page.locator(".jobhead .chip")).to_have_text("succeeded")


def test_a_paid_retry_needs_confirmation(operator: Visitor, own: Installation) -> None:
    """Retry shows the price first; going back changes nothing, and confirming queues the job again."""
    record = own.newest(Status.FAILED, "pixverse")
    page = operator.open(f"/jobs/{record.job_id}")
    page.get_by_role("link", name="Retry…", exact=True).click()
    expect(page.get_by_text("$")).to_be_visible()
    page.get_by_role("link", name="Back", exact=True).click()
    assert own.engine.store.require(record.job_id).status is Status.FAILED
    page.get_by_role("link", name="Retry…", exact=True).click()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("main > [role=status]")).to_contain_text("The job is queued again.")
    expect(page.locator("#timeline")).to_contain_text("Retried")


def test_a_scheduled_job_is_cancelled(operator: Visitor, own: Installation) -> None:
    """One click cancels a job that has cost nothing."""
    record = own.newest(Status.SCHEDULED)
    page = operator.open(f"/jobs/{record.job_id}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".jobhead .chip")).to_have_text("cancelled")
    assert own.engine.store.require(record.job_id).status is Status.CANCELLED


def test_held_jobs_are_resolved(operator: Visitor, own: Installation) -> None:
    """A held job continues with a ticket that a person enters, and another one is given up."""
    first = own.newest(Status.HELD)
    page = operator.open(f"/jobs/{first.job_id}")
    page.get_by_label("Ticket (the service's id").fill("vid_0001")
    page.get_by_role("button", name="Continue with this ticket").click()
    expect(page.get_by_text("The job continues with this ticket.")).to_be_visible()
    assert own.engine.store.require(first.job_id).submission.ticket is not None

    second = own.newest(Status.HELD)
    page.goto(f"/jobs/{second.job_id}")
    page.get_by_role("button", name="Mark as failed").click()
    expect(page.locator(".jobhead .chip")).to_have_text("failed")
