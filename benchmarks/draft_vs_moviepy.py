"""The draft renderer against MoviePy 2.2: the same scene, size and length, measured alternately.

Run by `make bench`, or `python -m benchmarks.draft_vs_moviepy`. The first run installs MoviePy into `.bench-venv`. Each
round is a new process, so the figures include interpreter start and imports. The scene has a moving gradient, three
screens of text, and sound; 1080 x 1920, 30 frames a second, 5 seconds, H.264 and AAC. Both pass the same options to
x264. MoviePy runs in two ways: with its own text clips in a composite, as its manual shows, and as a writer of frames
that Pillow drew, which is its fastest way. Both draw less than the draft renderer: text only fades, no word is
highlighted, the gradient is not dithered and the music is one chord.

Processor time depends less than wall time on what else the machine does, and decides how many drafts it can make.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import results
from benchmarks.venvs import ROOT, bench_python
from tenxsom_flow_engine.services.draft.render.encode import X264
from tenxsom_flow_engine.services.draft.render.fonts import DISPLAY

ROUNDS = 5
TOPIC = "Why the ocean glows at night"
#: The font that the draft renderer uses first, for MoviePy too.
FONT = DISPLAY[0]

OURS = """
import sys
from pathlib import Path
from tenxsom_flow_engine.services.draft.render.render import RenderSpec, render
render(RenderSpec(sys.argv[1], "", 5, "9:16", "1080p", "seed"), Path(sys.argv[2]), lambda part: None)
"""

_BEFORE = """
import sys
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from moviepy import AudioArrayClip, CompositeVideoClip, TextClip, VideoClip, vfx

width, height, seconds, rate = 1080, 1920, 5, 48_000
rows, columns = np.mgrid[0:1:128j, 0:1:72j]
beats = ((sys.argv[1], 0, 2), ("What would prove it?", 2, 3.5), ("Follow for the full story.", 3.5, 5))

def field(t):
    total, mixed = np.full(rows.shape, 0.3), np.zeros((*rows.shape, 3)) + (3, 8, 24)
    for n, colour in enumerate(((20, 90, 200), (10, 130, 130), (60, 30, 140), (0, 70, 120))):
        x, y = 0.5 + 0.4 * np.sin(0.5 * t + 1.7 * n), 0.5 + 0.4 * np.cos(0.4 * t + 2.3 * n)
        weight = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 0.15)
        total, mixed = total + weight, mixed + weight[..., None] * colour
    small = Image.fromarray((mixed / total[..., None]).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)
"""

_CLIPS = """
layers = [VideoClip(lambda t: np.asarray(field(t)), duration=seconds)]
for text, start, end in beats:
    clip = TextClip(font=sys.argv[3], text=text, font_size=150, color="white", size=(870, 1250), method="caption",
                    duration=end - start)
    clip = clip.with_start(start).with_position((80, 250))
    layers.append(clip.with_effects([vfx.CrossFadeIn(0.3), vfx.CrossFadeOut(0.2)]))
video = CompositeVideoClip(layers, use_bgclip=True)
"""

_FRAMES = """
def words(text, size=150):
    font, lines = ImageFont.truetype(sys.argv[3], size), [""]
    for word in text.split():
        wider = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], wider] if font.getlength(wider) < 870 else [*lines, word]
    picture = Image.new("RGBA", (870, 180 * len(lines)))
    ImageDraw.Draw(picture).multiline_text((0, 0), "\\n".join(lines), fill="white", font=font)
    return picture

screens = [(words(text), start, end) for text, start, end in beats]

def frame(t):
    picture = field(t)
    screen, start, end = next(s for s in screens if t < s[2] or s[2] == seconds)
    fade = max(0.0, min(1.0, (t - start) / 0.3, (end - t) / 0.2))
    picture.paste(screen, (80, 300), screen.getchannel("A").point(lambda alpha: int(alpha * fade)))
    return np.asarray(picture)

video = VideoClip(frame, duration=seconds)
"""

_AFTER = """
t = np.arange(seconds * rate) / rate
tone = sum(np.sin(2 * np.pi * hertz * t) for hertz in (220.0, 277.2, 329.6)) * 0.1
video = video.with_audio(AudioArrayClip(np.stack([tone, tone], 1), rate))
video.write_videofile(sys.argv[2] + "/video.mp4", fps=30, codec="libx264", preset=sys.argv[4], audio_codec="aac",
                      audio_fps=rate, threads=2, ffmpeg_params=["-crf", sys.argv[5], "-x264-params", sys.argv[6]],
                      logger=None)
"""


@dataclass(frozen=True)
class Run:
    """One run: wall and processor time in seconds, and the size of the video in megabytes."""

    wall: float
    processor: float
    size: float


def measure(python: str, code: str) -> Run:
    """Run the code once."""
    with tempfile.TemporaryDirectory() as folder:
        before, began = _processor_time(), time.perf_counter()
        subprocess.run([python, "-c", code, TOPIC, folder, str(FONT), *X264.values()], cwd=ROOT, check=True)
        wall = time.perf_counter() - began
        return Run(wall, _processor_time() - before, (Path(folder) / "video.mp4").stat().st_size / 1e6)


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a table with the medians and their ratios, and report those of the processor times."""
    moviepy = str(bench_python("moviepy==2.2.1"))
    renderers = {
        "draft renderer": (sys.executable, OURS),
        "moviepy, clips": (moviepy, _BEFORE + _CLIPS + _AFTER),
        "moviepy, frames": (moviepy, _BEFORE + _FRAMES + _AFTER),
    }
    runs: dict[str, list[Run]] = {name: [] for name in renderers}
    for _ in range(ROUNDS):
        for name, (python, code) in renderers.items():
            runs[name].append(measure(python, code))
    print(f"{'medians':16}{'wall s':>9}{'ratio':>7}{'processor s':>13}{'ratio':>7}{'MB':>7}")
    ours = runs["draft renderer"]
    ratios: dict[str, float] = {}
    for name, of in runs.items():
        wall, processor = (statistics.median(values) for values in ([r.wall for r in of], [r.processor for r in of]))
        wall_ratio = wall / statistics.median(r.wall for r in ours)
        processor_ratio = processor / statistics.median(r.processor for r in ours)
        if of is not ours:
            ratios[f"processor time: {name} : draft renderer"] = processor_ratio
        print(f"{name:16}{wall:>9.2f}{wall_ratio:>7.2f}{processor:>13.2f}{processor_ratio:>7.2f}{of[-1].size:>7.1f}")
    results.report("draft_vs_moviepy", ratios)


if __name__ == "__main__":
    main()
