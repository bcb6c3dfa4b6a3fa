"""Render a draft of a topic: `video.mp4`, `thumbnail.jpg` and `captions.srt`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from av import FFmpegError, VideoFrame
from av.video.reformatter import Colorspace
from PIL import Image

from tenxsom_flow_engine.errors import InvalidInput, OutputError, Rejected
from tenxsom_flow_engine.jobs import STYLES
from tenxsom_flow_engine.services.draft.render.encode import FPS, encode
from tenxsom_flow_engine.services.draft.render.fonts import Library, library
from tenxsom_flow_engine.services.draft.render.formats import (
    ASPECT_RATIOS,
    MAX_DURATION,
    MORE_SPACE,
    NAME,
    QUALITIES,
    REELS,
    SAFE_AREAS,
)
from tenxsom_flow_engine.services.draft.render.music import Music, beat_seconds
from tenxsom_flow_engine.services.draft.render.scene import Scene
from tenxsom_flow_engine.services.draft.render.script import Beat, write
from tenxsom_flow_engine.services.draft.render.style import look
from tenxsom_flow_engine.services.draft.render.tokens import clean
from tenxsom_flow_engine.text import srt


@dataclass(frozen=True, slots=True)
class RenderSpec:
    """The input of a render. Equal specs give equal bytes on one machine with the same libraries.

    `duration` is in whole seconds, 1 to 60; `aspect_ratio` is "9:16", "16:9" or "1:1"; `quality` names the short
    side: "1080p", "720p" or "540p"; the sentences of `script` are shown after the topic; `seed` picks palette, motion
    and music within the `style`, one of `jobs.STYLES`. `mark` burns the word DRAFT in; `safe_area` is "standard", or
    "reels" for a vertical video whose lower 35 % stay free of text.
    """

    topic: str
    script: str
    duration: int
    aspect_ratio: str
    quality: str
    seed: str
    style: str = STYLES[0]
    mark: bool = False
    safe_area: str = SAFE_AREAS[0]


def frame_size(aspect_ratio: str, quality: str) -> tuple[int, int]:
    """Return width and height in pixels, both even. Raises `InvalidInput` for an unknown ratio or quality."""
    if aspect_ratio not in ASPECT_RATIOS:
        raise InvalidInput("aspect_ratio", f"{aspect_ratio!r} is not one of {', '.join(ASPECT_RATIOS)}")
    if quality not in QUALITIES:
        raise InvalidInput("quality", f"{quality!r} is not one of {', '.join(QUALITIES)}")
    across, down = ASPECT_RATIOS[aspect_ratio]
    unit = QUALITIES[quality] / min(across, down)
    return round(across * unit), round(down * unit)


def render(spec: RenderSpec, folder: Path, progress: Callable[[float], None], fonts: Library | None = None) -> None:
    """Write the three files into the folder. Calls `progress` with 0 to 1 about once per second of video.

    Raises `InvalidInput` for an invalid spec, `Rejected` for a topic that cannot be shown (no visible characters, or
    characters that no font on the machine covers), and `OutputError` if a file cannot be written.
    """
    if not 1 <= spec.duration <= MAX_DURATION:
        raise InvalidInput("duration", f"must be 1 to {MAX_DURATION} seconds, not {spec.duration}")
    size = frame_size(spec.aspect_ratio, spec.quality)
    style = look(spec.seed, spec.style)
    fonts = fonts or library()
    topic = clean(spec.topic)
    fonts.check(topic)
    beats = write(fonts.drawable(topic), fonts.drawable(spec.script), spec.duration, beat_seconds(style.score))
    if not beats:
        raise Rejected(NAME, "the topic has no visible characters", next_step="give it at least one letter")
    progress(0.0)
    scene = Scene(beats, style, size, fonts, mark=spec.mark, reels=spec.safe_area == REELS)
    drop = beats[1].start if len(beats) > 1 else 0.0
    try:
        with ThreadPoolExecutor(1) as pool:
            music = pool.submit(Music, style.score, spec.duration, drop)
            still = pool.submit(_thumbnail, scene.paint(round(_still(beats[0]) * FPS)), folder / "thumbnail.jpg")
            captions = srt((beat.start, beat.end, beat.text) for beat in beats)
            (folder / "captions.srt").write_text(captions, encoding="utf-8", newline="\n")
            frames = encode(
                folder / "video.mp4", size, spec.duration, scene.paint, lambda *at: music.result().block(*at)
            )
            for number in frames:
                if number % FPS == 0:
                    progress((number + 1) / (spec.duration * FPS))
            still.result()
    except MemoryError:  # PyAV's class for it is an FFmpegError too
        raise
    except (OSError, FFmpegError) as error:
        raise OutputError(f"the draft could not be written: {error}", next_step=MORE_SPACE) from error
    progress(1.0)


def _still(hook: Beat) -> float:
    """Return a time at which the whole hook is visible, with its longest word highlighted."""
    word = max(hook.words, key=lambda w: len(w.token.text))
    return max((word.start + word.end) / 2, hook.start + (hook.end - hook.start) * 0.55)


def _thumbnail(frame: VideoFrame, path: Path) -> None:
    rgb = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709)
    Image.fromarray(rgb.to_ndarray()).save(path, quality=88, optimize=True)
