"""Take the screenshots of the dashboard for the documents: `python -m tests.browser.screenshots FOLDER`.

They show the sample day of the tests, with drafts as its latest videos.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.services.draft.render.render import RenderSpec, render
from tenxsom_flow_engine.topics import builtin_script
from tests.browser.conftest import a_browser, afternoon
from tests.browser.page import NARROW, Visitor
from tests.browser.seeded_app import Installation
from tests.sample_day import HOUR, channel_day

#: Videos of the last hours of the day are rendered; the others are tiny placeholders.
RENDERED_HOURS = 3.2
#: The text pasted into the form.
TOPICS = "How tides turn a turbine\nWhy rivers bend\nThe islands that move\nHow salt is made from the sea"


def take(visitor: Visitor, installation: Installation) -> Iterator[tuple[str, bytes]]:
    """Give screenshots with their names."""
    for scheme in ("light", "dark"):
        page = visitor.open("/", scheme=scheme)
        # Balances are fetched in the background.
        page.get_by_text("Credits").first.wait_for()
        yield f"overview-{scheme}", page.screenshot(full_page=True, clip=_top(1440, 1210))
    page = visitor.open("/", size=NARROW, scheme="dark")
    yield "overview-narrow", page.screenshot(full_page=True, clip=_top(NARROW[0], 1100))
    page = visitor.open("/jobs")
    yield "jobs", page.screenshot()
    page = visitor.open(f"/jobs/{installation.newest(Status.SUCCEEDED, 'pixverse').job_id}")
    # After playing, the player shows no loading indicator.
    page.locator("video").evaluate("async film => { film.muted = true; await film.play(); film.pause(); }")
    yield "job", page.screenshot()
    page = visitor.open(f"/jobs/{installation.newest(Status.HELD).job_id}", scheme="dark")
    yield "held", page.screenshot()
    page = visitor.open("/add")
    page.get_by_label("Topics").fill(TOPICS)
    page.get_by_label("Channel").fill("deep-sea")
    page.get_by_label("Videos per hour").fill("2")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="Preview").wait_for()
    yield "plan", page.screenshot()


def _top(width: int, height: int) -> FloatRect:
    return {"x": 0, "y": 0, "width": width, "height": height}


def smaller(picture: bytes) -> bytes:
    """Reduce a screenshot to 256 colours, which are enough, and to a third of the size."""
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


@contextmanager
def an_installation() -> Iterator[Installation]:
    """Open an installation with drafts as its latest videos."""
    ends = afternoon()
    # The folder's name is visible in the screenshots.
    home = Path(tempfile.gettempdir()) / "flow"
    home.mkdir()
    drafts = home / "drafts"
    drafts.mkdir()

    def film(topic: str, at: float) -> bytes | None:
        if at < ends - RENDERED_HOURS * HOUR:
            return None
        render(RenderSpec(topic, builtin_script(topic), 6, "9:16", "720p", topic), drafts, lambda part: None)
        return (drafts / "video.mp4").read_bytes()

    try:
        given = {"TENXSOM_HOME": str(home), "REDIS_PORT": "1", "TENXSOM_STORE": f"sqlite://{home}/jobs.sqlite3"}
        with channel_day(given, ends, film=film) as (day, environment):
            installation = Installation(home, environment, day.ends - time.time())
            try:
                yield installation
            finally:
                installation.close()
    finally:
        shutil.rmtree(home)


def main(folder: Path) -> None:
    """Write all screenshots."""
    with an_installation() as installation, a_browser() as browser:
        visitor = Visitor(browser, installation)
        for name, picture in take(visitor, installation):
            (folder / f"dashboard-{name}.png").write_bytes(smaller(picture))
        visitor.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
