"""Rendered drafts, decoded: streams, tags, length, sound, motion, contrast, and reproducible bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tenxsom_flow_engine.errors import InvalidInput, OutputError, Rejected
from tenxsom_flow_engine.jobs import STYLES
from tenxsom_flow_engine.services.draft.render import fonts, render
from tenxsom_flow_engine.services.draft.render.blend import yuv
from tenxsom_flow_engine.services.draft.render.colour import contrast
from tenxsom_flow_engine.services.draft.render.fonts import Library
from tenxsom_flow_engine.services.draft.render.gradient import Gradient, pixels
from tenxsom_flow_engine.services.draft.render.render import RenderSpec
from tenxsom_flow_engine.services.draft.render.scene import safe_area
from tenxsom_flow_engine.services.draft.render.style import LEAST_CONTRAST, look

SPEC = RenderSpec("Why the ocean glows at night", "", 2, "9:16", "540p", "s1")
SIZES = {"9:16": (540, 960), "16:9": (960, 540), "1:1": (540, 540)}
LEGIBLE = 4.5  # WCAG AA


@pytest.fixture(scope="module", params=list(SIZES))
def drafted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RenderSpec, Path]:
    spec = replace(SPEC, aspect_ratio=request.param)
    folder = tmp_path_factory.mktemp("draft")
    render.render(spec, folder, lambda part: None)
    return spec, folder


def test_streams_and_tags(drafted: tuple[RenderSpec, Path]) -> None:
    """A draft is H.264 and AAC with the ordered size, rate, colours and length."""
    spec, folder = drafted
    assert {p.name for p in folder.iterdir()} == {"video.mp4", "thumbnail.jpg", "captions.srt"}
    with av.open(str(folder / "video.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        context = video.codec_context
        assert (video.codec.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.width, context.height) == SIZES[spec.aspect_ratio]
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert video.average_rate == 30
        assert (audio.codec.name, audio.rate, audio.channels) == ("aac", 48_000, 2)
        frames = sum(1 for _ in container.decode(video))
        assert frames == 30 * spec.duration
        assert float((video.duration or 0) * (video.time_base or 0)) == pytest.approx(spec.duration)


def test_sound_is_as_long_as_the_picture_neither_silent_nor_clipped(drafted: tuple[RenderSpec, Path]) -> None:
    """The sound is as long as the picture, audible, not clipped, and fades out."""
    spec, folder = drafted
    with av.open(str(folder / "video.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert sound.shape[1] / 48_000 == pytest.approx(spec.duration, abs=1 / 30)
    assert np.abs(sound).max() < 0.98
    assert -26 < 20 * np.log10(np.sqrt(np.square(sound).mean())) < -11
    edge = sound[:, -480:]
    assert np.abs(edge).max() < 0.02


def test_the_index_comes_before_the_pictures(drafted: tuple[RenderSpec, Path]) -> None:
    """A draft can be played while it loads."""
    boxes, data, at = [], (drafted[1] / "video.mp4").read_bytes(), 0
    while at < len(data):
        boxes.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    assert boxes.index(b"moov") < boxes.index(b"mdat")


def test_the_picture_moves_and_is_never_empty(drafted: tuple[RenderSpec, Path]) -> None:
    """No frame is empty, and the picture moves continuously."""
    with av.open(str(drafted[1] / "video.mp4")) as container:
        frames = [frame.to_ndarray(format="gray").astype(np.int16) for frame in container.decode(video=0)]
    assert min(frame.max() - frame.min() for frame in frames) > 100
    assert all(np.abs(after - before).max() > 2 for before, after in zip(frames[::10], frames[10::10], strict=False))


def test_thumbnail_and_captions(drafted: tuple[RenderSpec, Path]) -> None:
    """The thumbnail has the video's size and shows text, and the captions contain the topic."""
    spec, folder = drafted
    with Image.open(folder / "thumbnail.jpg") as image:
        assert image.size == SIZES[spec.aspect_ratio]
        low, high = image.convert("L").getextrema()
        assert float(str(high)) - float(str(low)) > 100
    assert spec.topic in (folder / "captions.srt").read_text(encoding="utf-8")


def test_the_same_spec_gives_the_same_bytes(drafted: tuple[RenderSpec, Path], tmp_path: Path) -> None:
    """The same order gives the same files, byte for byte."""
    spec, folder = drafted
    render.render(spec, tmp_path, lambda part: None)
    for name in ("video.mp4", "thumbnail.jpg", "captions.srt"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


RENDER = """
import sys
from pathlib import Path
from tenxsom_flow_engine.services.draft.render.render import RenderSpec, render
render(RenderSpec("Why the ocean glows at night", "", 2, "16:9", "540p", "s1"), Path(sys.argv[1]), lambda part: None)
"""


def test_the_bytes_do_not_depend_on_uninitialised_memory(tmp_path: Path) -> None:
    """A draft has the same bytes for different initial contents of memory."""
    videos = set()
    for filler in ("1", "85"):  # the C library fills fresh memory with it
        folder = tmp_path / filler
        folder.mkdir()
        environment = os.environ | {"MALLOC_PERTURB_": filler}
        subprocess.run([sys.executable, "-c", RENDER, str(folder)], env=environment, check=True)
        videos.add((folder / "video.mp4").read_bytes())
    assert len(videos) == 1


def test_another_seed_gives_another_video(drafted: tuple[RenderSpec, Path], tmp_path: Path) -> None:
    """Another seed gives another style."""
    spec, folder = drafted
    render.render(replace(spec, seed="another", duration=1), tmp_path, lambda part: None)
    assert (tmp_path / "thumbnail.jpg").read_bytes() != (folder / "thumbnail.jpg").read_bytes()


def test_progress_rises_from_none_to_all(tmp_path: Path) -> None:
    """Progress is reported from 0 to 1, about once per second of video, and never falls."""
    reported: list[float] = []
    render.render(replace(SPEC, duration=3, aspect_ratio="1:1"), tmp_path, reported.append)
    assert reported == sorted(reported)
    assert (reported[0], reported[-1]) == (0.0, 1.0)
    assert len(reported) >= 4


@cache
def luminance_of_codes() -> NDArray[Any]:
    """Return the linear light of each 8-bit sRGB code."""
    codes = np.arange(256) / 255
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def picture(frame: av.VideoFrame) -> NDArray[Any]:
    rgb: NDArray[Any] = frame.reformat(format="rgb24", src_colorspace=1).to_ndarray()
    return rgb


def luminance(frame: av.VideoFrame) -> NDArray[Any]:
    light: NDArray[Any] = luminance_of_codes()[picture(frame)] @ np.array([0.2126, 0.7152, 0.0722])
    return light


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", [f"seed {n}" for n in range(5)])
def test_text_is_legible_on_the_whole_background(seed: str, style: str) -> None:
    """Text has WCAG AA contrast to every part of the background, at any time and in any look."""
    chosen = look(seed, style)
    filled = chosen.treatment.plate.filled
    assert not filled or contrast(chosen.accent, chosen.accent_ink) >= LEGIBLE
    inks = [chosen.ink] if filled else [chosen.ink, chosen.accent_ink]
    grounds = (chosen.ground, *(light.colour for light in chosen.lights))
    assert min(contrast(ink, ground) for ink in inks for ground in grounds) >= LEAST_CONTRAST
    width, height = SIZES["9:16"]
    area = safe_area(width, height)
    ground = Gradient(chosen, width, height)
    for seconds in (0.0, 2.5, 40.0):
        frame = ground.paint(seconds)
        field = luminance(frame)[area.top : area.bottom, area.left : area.right]
        for colour in inks:
            for number, code in enumerate(yuv(colour)):
                pixels(frame, number)[:] = code
            ink = luminance(frame).mean()
            light, dark = np.maximum(field, ink), np.minimum(field, ink)
            assert ((light + 0.05) / (dark + 0.05)).min() >= LEGIBLE


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"duration": 0}, InvalidInput),
        ({"duration": 61}, InvalidInput),
        ({"aspect_ratio": "4:3"}, InvalidInput),
        ({"quality": "8k"}, InvalidInput),
        ({"topic": " \u200b "}, Rejected),
    ],
)
def test_an_invalid_spec_is_refused(tmp_path: Path, change: dict[str, Any], error: type[Exception]) -> None:
    """An invalid spec is refused before any file is written."""
    with pytest.raises(error):
        render.render(replace(SPEC, **change), tmp_path, lambda part: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("topic", ["🦑🪸", "海 at night"])
def test_a_topic_no_font_covers_is_refused(tmp_path: Path, topic: str) -> None:
    """A topic that no font covers is refused before any file is written."""
    with pytest.raises(Rejected):
        render.render(replace(SPEC, topic=topic), tmp_path, lambda part: None, Library(folders=()))
    assert list(tmp_path.iterdir()) == []


def test_emoji_no_font_covers_are_in_no_screen(tmp_path: Path) -> None:
    """Without a font for them, the emoji of topic and prompt are in no screen and no caption; the text is complete."""
    spec = replace(SPEC, topic="🐙 5 facts 🌊", script="🔥🔥\n👉 They have three hearts.", duration=4)
    render.render(spec, tmp_path, lambda part: None, Library(folders=()))
    captions = (tmp_path / "captions.srt").read_text(encoding="utf-8").splitlines()
    assert captions[2::4][:2] == ["5 facts", "They have three hearts."]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    """A draft that cannot be written is an output error."""
    with pytest.raises(OutputError):
        render.render(SPEC, tmp_path / "missing", lambda part: None)


@pytest.mark.parametrize("name", ["thumbnail.jpg", "captions.srt"])
def test_a_full_disk_is_an_output_error_that_says_what_to_do(tmp_path: Path, name: str) -> None:
    """The next step for a draft that does not fit on the disk is to free some space."""
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OutputError) as caught:
        render.render(replace(SPEC, duration=1), tmp_path, lambda part: None)
    assert caught.value.next_step.startswith("free some space")


def test_the_library_is_shared() -> None:
    """Fonts are searched once per process."""
    assert fonts.library() is fonts.library()
