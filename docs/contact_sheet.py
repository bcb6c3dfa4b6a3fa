"""Make the contact sheet of drafts: `python docs/contact_sheet.py FILE.jpg`.

Renders drafts of ten built-in topics, two in each style, in the way that a worker does, and shows two frames of each:
its first screen, and one from its middle.
"""

from __future__ import annotations

import re
import sys
import tempfile
from itertools import cycle
from pathlib import Path

import av
import msgspec
from av.video.reformatter import Colorspace
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tenxsom_flow_engine.jobs import STYLES, VideoJob
from tenxsom_flow_engine.services.draft.child import render_order
from tenxsom_flow_engine.services.draft.service import DraftService
from tenxsom_flow_engine.services.draft.workfolder import Order, WorkFolder
from tenxsom_flow_engine.topics import builtin_topics

COUNT, COLUMNS = 10, 5
WIDTH, HEIGHT, GAP = 216, 384, 8
MOST = 400_000  # bytes
_CUE = re.compile(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)")


def render(topic: str, style: str, folder: Path) -> Path:
    """Render a draft with the default settings and return the folder of its files."""
    job = VideoJob(job_id="sheet", topic=topic, style=style, quality="540p", created_at=0.0)
    service, work = DraftService(folder), WorkFolder(folder / style)
    job = msgspec.structs.replace(job, duration=service.default_duration(job))
    work.begin(msgspec.convert(service.order(service.fit(job).job, "sheet"), Order))
    render_order(work.order(), work)
    return work.files


def stills(files: Path) -> list[Image.Image]:
    """Return a frame of the first caption and of the one in the middle, near the end of each."""
    spans = [_span(found) for found in _CUE.finditer((files / "captions.srt").read_text("utf-8"))]
    chosen = [spans[0], spans[len(spans) // 2]]
    wanted = sorted(start + (end - start) * 0.7 for start, end in chosen)
    found: list[Image.Image] = []
    with av.open(str(files / "video.mp4")) as container:
        for frame in container.decode(video=0):
            if len(found) < len(wanted) and (frame.time or 0.0) >= wanted[len(found)]:
                rgb = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709)
                found.append(Image.fromarray(rgb.to_ndarray()))
    return found


def sheet(videos: list[list[Image.Image]]) -> Image.Image:
    """Return the frames in rows of COLUMNS videos, the second frame of each below the first."""
    rows = [videos[at : at + COLUMNS] for at in range(0, len(videos), COLUMNS)]
    size = (COLUMNS * (WIDTH + GAP) + GAP, 2 * len(rows) * (HEIGHT + GAP) + GAP)
    picture = Image.new("RGB", size, "white")
    for row, of in enumerate(rows):
        for column, frames in enumerate(of):
            for number, frame in enumerate(frames):
                at = (GAP + column * (WIDTH + GAP), GAP + (2 * row + number) * (HEIGHT + GAP))
                picture.paste(frame.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), at)
    return picture


def main(target: Path) -> None:
    """Write the contact sheet as a JPEG of at most MOST bytes."""
    topics = builtin_topics()
    chosen = topics[:: len(topics) // COUNT][:COUNT]
    videos = []
    for topic, style in zip(chosen, cycle(STYLES), strict=False):
        with tempfile.TemporaryDirectory() as folder:
            videos.append(stills(render(topic, style, Path(folder))))
    picture = sheet(videos)
    for quality in range(90, 40, -5):
        picture.save(target, quality=quality, optimize=True)
        if target.stat().st_size <= MOST:
            break


def _span(cue: re.Match[str]) -> tuple[float, float]:
    start, end = (
        hours * 3600 + minutes * 60 + seconds + millis / 1000
        for hours, minutes, seconds, millis in (map(int, cue.groups()[at : at + 4]) for at in (0, 4))
    )
    return start, end


if __name__ == "__main__":
    main(Path(sys.argv[1]))
