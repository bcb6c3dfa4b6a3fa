"""The order of a draft: options of the job, settings of the machine, and orders of earlier releases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenxsom_flow_engine.env import read_env
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
from tenxsom_flow_engine.jobs import STYLES, VideoJob
from tenxsom_flow_engine.services.draft.config import DraftConfig
from tenxsom_flow_engine.services.draft.service import DraftService
from tenxsom_flow_engine.services.draft.workfolder import Order


def a_job(options: dict[str, Any] | None = None, **changes: Any) -> VideoJob:
    """Return a job with options for drafts."""
    values: dict[str, Any] = {"job_id": "j", "topic": "Tides", "created_at": 0.0}
    values["options"] = {} if options is None else {"draft": options}
    return VideoJob(**(values | changes))


def ordered(job: VideoJob, config: DraftConfig | None = None) -> dict[str, Any]:
    """Return the order of a fitted job."""
    service = DraftService(Path("drafts"), config=config or DraftConfig())
    return dict(service.order(service.fit(job).job, "reference"))


@pytest.mark.parametrize("style", STYLES)
def test_the_order_has_the_style(style: str) -> None:
    """The order of a draft contains the style of its job."""
    assert ordered(a_job(style=style))["style"] == style


def test_a_draft_can_be_posted_by_default() -> None:
    """Without options and settings a draft has no mark and the standard area."""
    order = ordered(a_job())
    assert (order["mark"], order["safe_area"]) == (False, "standard")


@pytest.mark.parametrize(
    ("options", "config", "mark", "area"),
    [
        ({"mark": True, "safe_area": "reels"}, DraftConfig(), True, "reels"),
        (None, DraftConfig(mark=True, safe_area="reels"), True, "reels"),
        ({"mark": False, "safe_area": "standard"}, DraftConfig(mark=True, safe_area="reels"), False, "standard"),
    ],
)
def test_options_take_precedence_over_settings(
    options: dict[str, Any] | None, config: DraftConfig, mark: bool, area: str
) -> None:
    """An option of a job takes precedence over the setting."""
    order = ordered(a_job(options), config)
    assert (order["mark"], order["safe_area"]) == (mark, area)


def test_the_setting_reels_concerns_vertical_videos_only() -> None:
    """The setting `reels` leaves horizontal drafts alone."""
    assert ordered(a_job(aspect_ratio="16:9"), DraftConfig(safe_area="reels"))["safe_area"] == "standard"


@pytest.mark.parametrize(
    ("job", "field", "words"),
    [
        (a_job({"watermark": True}), "options.draft", "watermark"),
        (a_job({"mark": "yes"}), "options.draft", "mark"),
        (a_job({"safe_area": "tiktok"}), "options.draft", "tiktok"),
        (a_job({"safe_area": "reels"}, aspect_ratio="1:1"), "options.draft.safe_area", "reels are 9:16, not 1:1"),
    ],
)
def test_an_option_that_cannot_be_met_is_refused_by_name(job: VideoJob, field: str, words: str) -> None:
    """An unknown option, a bad value, and Reels that are not vertical are refused by name."""
    with pytest.raises(InvalidInput, match=words) as caught:
        DraftService(Path("drafts")).fit(job)
    assert caught.value.field == field


def test_an_order_of_the_last_release_is_still_read() -> None:
    """An order without style, mark and area, as written by 0.2.0, gets the defaults."""
    written = b'{"topic":"T","prompt":"","duration":5,"aspect_ratio":"9:16","quality":"1080p","seed":"T"}'
    order = msgspec.json.decode(written, type=Order)
    assert (order.style, order.mark, order.safe_area) == (STYLES[0], False, "standard")


def test_the_settings_are_read_from_the_environment() -> None:
    """Each option has a setting; an unknown area is refused with the known ones."""
    environment = {"TENXSOM_DRAFT_MARK": "true", "TENXSOM_DRAFT_SAFE_AREA": "reels"}
    config = replace(DraftConfig(), **read_env(DraftConfig, environment))
    assert (config.mark, config.safe_area) == (True, "reels")
    with pytest.raises(ConfigurationError, match="standard or reels, not 'tiktok'"):
        read_env(DraftConfig, {"TENXSOM_DRAFT_SAFE_AREA": "tiktok"})
