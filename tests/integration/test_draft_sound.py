"""The sound of drafts as encoded: its loudness and peaks, measured by FFmpeg."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from av import VideoFrame

from tenxsom_flow_engine.jobs import STYLES
from tenxsom_flow_engine.services.draft.render.encode import encode
from tenxsom_flow_engine.services.draft.render.music import RATE, Music
from tenxsom_flow_engine.services.draft.render.style import look

LENGTHS = (1, 2, 4, 10, 60)
LOUDNESS, TOLERANCE = -14.0, 1.0  # LUFS, LU
HIGHEST = 10 ** (-1 / 20)  # -1 dBTP


def measured(path: Path) -> tuple[float, float]:
    """Return integrated loudness in LUFS and true peak (1 is full scale) of a file's sound."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo", time_base=Fraction(1, RATE))
    meter, sink = graph.add("ebur128", "metadata=1:peak=true"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    facts: dict[str, str] = {}
    with av.open(str(path)) as container:
        for frame in (*container.decode(audio=0), None):
            source.push(frame)
            try:
                while True:
                    facts |= sink.pull().metadata
            except (av.BlockingIOError, av.EOFError):
                continue
    return float(facts["lavfi.r128.I"]), float(facts["lavfi.r128.true_peak"])


@pytest.mark.parametrize(
    ("seconds", "style", "seed"),
    [(seconds, STYLES[number % len(STYLES)], f"seed {number}") for number, seconds in enumerate((1, 2, 4, 10, 60))]
    + [(6, style, seed) for style in STYLES for seed in ("a", "b")],
)
def test_every_draft_is_as_loud_as_platforms_play_it(tmp_path: Path, seconds: int, style: str, seed: str) -> None:
    """A draft of any length and style has -14 LUFS within 1 LU, and a true peak of at most -1 dB."""
    music = Music(look(seed, style).score, seconds, drop=min(3.0, seconds / 2))
    path = tmp_path / "sound.mp4"
    for _ in encode(path, (32, 32), seconds, lambda number: VideoFrame(32, 32, "yuv420p"), music.block):
        pass
    loudness, peak = measured(path)
    assert loudness == pytest.approx(LOUDNESS, abs=TOLERANCE)
    assert peak <= HIGHEST
