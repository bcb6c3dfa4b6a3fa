"""Damaged video files, as a service could deliver them."""

from __future__ import annotations

import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Self

from fuzz.subject import Subject
from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.jobs import JobRecord, Submission, SubmissionState, VideoJob
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.testing.samples import TICKET
from tests import crafted_media

RECORD = JobRecord(
    submission=Submission(state=SubmissionState.ACCEPTED, id="s-1", ticket=TICKET),
    job=VideoJob(job_id="fuzz", topic="how tides work", duration=3, created_at=1.0),
    queue="local", nonce="aaaa", service="simulated", added_at=1.0, updated_at=1.0,
)  # fmt: skip
#: Numbers at the limits of the fields of a box.
EDGES = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


class Media(Subject):
    """Video files with changed bytes and boxes, published like those of a service."""

    name = "media"
    count = 240

    def __enter__(self) -> Self:
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-media-"))
        self._output = OutputFolder(self._root)
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._root)

    def make(self, draw: random.Random) -> bytes:
        content = bytearray(draw.choice(originals()))
        for _ in range(draw.randint(1, 2)):
            draw.choice(MUTATIONS)(content, draw)
        return bytes(content)

    def accepts(self, made: Any) -> bool:
        try:
            video = self._output.publish(RECORD, lambda folder: _write(folder, made))
        except OutputError:
            return False
        shutil.rmtree(Path(video.path).parent)
        return True


@cache
def originals() -> tuple[bytes, ...]:
    """Return valid videos of several kinds."""
    return (
        crafted_media.video(),
        crafted_media.video(movflags="faststart"),
        crafted_media.video(movflags="frag_keyframe+empty_moov"),
        crafted_media.video("mov"),
        crafted_media.video(codec="mpeg4"),
    )


def _change_bits(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 16)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _change_number(content: bytearray, draw: random.Random) -> None:
    """Set four bytes, anywhere, to a number at a limit."""
    position = draw.randrange(len(content))
    content[position : position + 4] = draw.choice(EDGES).to_bytes(4)


def _change_box(content: bytearray, draw: random.Random) -> None:
    """Set the size, or a field near the start, of a box."""
    kinds = (b"moov", b"mvhd", b"tkhd", b"mdhd", b"stsd", b"stts", b"stsz", b"stsc", b"stco", b"elst", b"trun", b"udta")
    position = content.find(draw.choice(kinds))
    if position > 4:
        position += draw.choice((-4, 4, 8, 12, 16, 20))
        content[position : position + 4] = draw.choice(EDGES).to_bytes(4)


def _cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(1, len(content)) :]
    content += b"\0"  # never empty, so that more mutations can follow


def _remove(content: bytearray, draw: random.Random) -> None:
    position = draw.randrange(len(content))
    del content[position : position + draw.randint(1, 64)]
    content += b"\0"


def _repeat(content: bytearray, draw: random.Random) -> None:
    position = draw.randrange(len(content))
    content[position:position] = content[position : position + draw.randint(1, 256)] * draw.randint(1, 4)


def _fill(content: bytearray, draw: random.Random) -> None:
    """Overwrite a part with random bytes."""
    position = draw.randrange(len(content))
    content[position : position + draw.randint(1, 64)] = draw.randbytes(draw.randint(1, 64))


MUTATIONS = (_change_bits, _change_number, _change_box, _change_box, _cut, _remove, _repeat, _fill)


def _write(folder: Path, content: bytes) -> None:
    (folder / "video.mp4").write_bytes(content)
