"""The looks of drafts, in pixels: styles, the draft mark, and the area that Reels keep free."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tenxsom_flow_engine.jobs import STYLES
from tenxsom_flow_engine.services.draft.render.fonts import Library
from tenxsom_flow_engine.services.draft.render.palettes import PALETTES
from tenxsom_flow_engine.services.draft.render.render import RenderSpec, frame_size, render
from tenxsom_flow_engine.services.draft.render.scene import Scene
from tenxsom_flow_engine.services.draft.render.script import write
from tenxsom_flow_engine.services.draft.render.style import look
from tenxsom_flow_engine.services.draft.render.treatments import TREATMENTS

VENDORED = Library(folders=())
TOPIC = "Why the ocean glows at night"
#: Fills the area for text.
LONG = "Incomprehensibly extraordinary bioluminescence everywhere"
Picture = NDArray[Any]


def still(
    style: str, seed: str = "s", topic: str = TOPIC, *, ratio: str = "9:16", second: float = 2.0, **options: bool
) -> Picture:
    """Return a frame of a video of 5 seconds, height x width x RGB."""
    scene = Scene(write(topic, "", 5), look(seed, style), frame_size(ratio, "540p"), VENDORED, **options)
    frame = scene.paint(round(second * 30))
    picture: Picture = frame.reformat(format="rgb24", src_colorspace=1).to_ndarray()
    return picture


def changed(one: Picture, other: Picture) -> NDArray[np.bool]:
    """Return which pixels differ visibly, height x width."""
    return np.asarray(np.abs(one.astype(int) - other).max(axis=2) > 24)


def box(marked: NDArray[np.bool]) -> tuple[float, float, float, float]:
    """Return the bounds of the marked pixels (left, top, right, bottom), as shares of the frame."""
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    height, width = marked.shape
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


def test_every_style_of_a_job_has_a_treatment_and_several_palettes() -> None:
    """Every style of a job has a treatment, and palettes among which the seed chooses."""
    assert set(TREATMENTS) == set(PALETTES) == set(STYLES)
    assert min(map(len, PALETTES.values())) >= 4


@pytest.mark.parametrize("ratio", ["9:16", "16:9", "1:1"])
def test_styles_differ_at_a_glance(ratio: str) -> None:
    """Two styles of one topic differ by more than a shade over most of the frame."""
    stills = {style: still(style, ratio=ratio) for style in STYLES}
    for one, other in combinations(STYLES, 2):
        assert changed(stills[one], stills[other]).mean() > 0.5, f"{one} and {other}"


@pytest.mark.parametrize("style", STYLES)
def test_videos_of_one_style_differ(style: str) -> None:
    """Topics of one style get different palettes or backgrounds."""
    first, *others = (still(style, seed) for seed in ("a", "b", "c", "d"))
    assert max(changed(first, other).mean() for other in others) > 0.3


@pytest.mark.parametrize("style", STYLES)
def test_the_picture_moves_in_every_style(style: str) -> None:
    """Text and background move in every style."""
    first, later = still(style, second=1.0), still(style, second=2.0)
    assert changed(first, later).mean() > 0.01


@pytest.mark.parametrize("ratio", ["9:16", "16:9", "1:1"])
@pytest.mark.parametrize("style", STYLES)
def test_the_mark_is_large_and_optional(style: str, ratio: str) -> None:
    """The mark is a contrasting plate of at least a fifth of the short side, above the text; without it, nothing."""
    # A topic of one line, whose text is far from the mark.
    plain, marked = (still(style, topic="I", ratio=ratio, second=0.5, mark=mark) for mark in (False, True))
    text_top = frame_size(ratio, "540p")[1] * 0.05 + 540 * 0.085
    difference = changed(plain, marked)[: int(text_top + 540 * 0.09 * 0.5)]
    rows, columns = np.flatnonzero(difference.any(axis=1)), np.flatnonzero(difference.any(axis=0))
    assert columns[-1] - columns[0] > 540 * 0.2
    assert rows[-1] - rows[0] > 540 * 0.08
    assert difference[rows[0] : rows[-1], columns[0] : columns[-1]].mean() > 0.5


def test_the_thumbnail_carries_the_mark(tmp_path: Path) -> None:
    """The thumbnail of a marked draft carries the mark too."""
    thumbnails = []
    for name, mark in (("plain", False), ("marked", True)):
        (tmp_path / name).mkdir()
        render(RenderSpec(TOPIC, "", 1, "9:16", "540p", "s", mark=mark), tmp_path / name, lambda part: None, VENDORED)
        with Image.open(tmp_path / name / "thumbnail.jpg") as image:
            thumbnails.append(np.asarray(image.convert("RGB")))
    assert changed(*thumbnails)[:105].mean() > 0.05


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_reels_keep_text_out_of_what_instagram_covers(style: str, mark: bool) -> None:
    """With the safe area `reels`, text, line and mark keep out of the top 14 %, the lower 35 % and 6 % at each side."""
    stills = [still(style, topic=topic, mark=mark, reels=True) for topic in (TOPIC, LONG, "I")]
    for other in stills[1:]:
        left, top, right, bottom = box(changed(stills[0], other))
        assert left >= 0.06
        assert right <= 0.94
        assert top >= 0.14
        assert bottom <= 0.65


@pytest.mark.parametrize("style", STYLES)
def test_the_standard_area_is_larger(style: str) -> None:
    """Without the option, text is set lower and the line is at the top."""
    assert changed(still(style), still(style, reels=True)).mean() > 0.02
