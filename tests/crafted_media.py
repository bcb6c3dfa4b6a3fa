"""Video files that an attacker could deliver: other formats, and MP4 files with edited boxes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

#: The boxes on the way to the sample tables of the first track, and to its decoder configuration.
TABLES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
CONFIGURATION = (*TABLES, b"stsd", b"avc1", b"avcC")
#: The bytes between the header of such a box and its first inner box.
_FIELDS = {b"stsd": 8, b"avc1": 78}

TEXTS = {
    "an ffconcat list of itself": b"ffconcat version 1.0\nfile video.mp4\n",
    "an ffconcat list of another file": b"ffconcat version 1.0\nfile other.mp4\n",
    "an HLS playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.mp4\n#EXT-X-ENDLIST\n",
    "a DASH manifest": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    "an SDP description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    "an SVG picture": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="16"/>',
    "a web page": b"<html>expired</html>",
}


def video(container: str = "mp4", codec: str = "libx264", pixels: str = "yuv420p", **options: str) -> bytes:
    """Return a file of three frames in three seconds, by default an MP4 with H.264, with these muxer options."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "video")
        with av.open(str(file), "w", format=container, options=options) as output:
            output.metadata["title"] = "a title"
            stream = output.add_stream(codec, rate=1)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = 64, 96, pixels
            for shade in (40, 120, 200):
                frame = av.VideoFrame.from_ndarray(np.full((96, 64, 3), shade, np.uint8), format="rgb24")
                output.mux(stream.encode(frame.reformat(format=pixels)))
            output.mux(stream.encode())
        return file.read_bytes()


def edited(content: bytes, path: tuple[bytes, ...], edit: Callable[[bytes], bytes]) -> bytes:
    """Return a file with the payload of one box edited, and the sizes of the boxes around it corrected."""
    position = 0
    while position < len(content):
        size, kind = int.from_bytes(content[position : position + 4]), content[position + 4 : position + 8]
        payload = content[position + 8 : position + size]
        if kind == path[0]:
            fields = _FIELDS.get(kind, 0)
            new = edit(payload) if not path[1:] else payload[:fields] + edited(payload[fields:], path[1:], edit)
            return content[:position] + box(kind, new) + content[position + size :]
        position += size
    raise ValueError(f"no box {path[0]!r}")


def box(kind: bytes, payload: bytes) -> bytes:
    """Return a box of ISO/IEC 14496-12."""
    return (len(payload) + 8).to_bytes(4) + kind + payload


def with_picture_size(width: int, height: int) -> bytes:
    """Return an H.264 file whose header promises this size, in multiples of 16 pixels."""
    return edited(video(), CONFIGURATION, lambda old: _avc_configuration(old, width // 16, height // 16))


def with_frames(count: int) -> bytes:
    """Return a file whose sample table promises this number of frames of one byte each."""
    sizes = bytes(4) + (1).to_bytes(4) + count.to_bytes(4)
    durations = bytes(4) + (1).to_bytes(4) + count.to_bytes(4) + (1).to_bytes(4)
    content = edited(video(movflags="faststart"), (*TABLES, b"stsz"), lambda old: sizes)
    return edited(content, (*TABLES, b"stts"), lambda old: durations)


def with_samples_in_one_chunk(count: int) -> bytes:
    """Return a file whose tables promise this number of frames in one chunk, without a byte for each."""
    chunks = bytes(4) + (1).to_bytes(4) + (1).to_bytes(4) + count.to_bytes(4) + (1).to_bytes(4)
    return edited(with_frames(count), (*TABLES, b"stsc"), lambda old: chunks)


def gif() -> bytes:
    """Return a GIF of three frames."""
    return video("gif", "gif", "rgb8")


def with_title(title: bytes) -> bytes:
    """Return a video whose metadata contain these bytes as its title."""
    assert len(title) == len(b"a title")
    return video().replace(b"a title", title)


def _avc_configuration(old: bytes, width: int, height: int) -> bytes:
    """Return an avcC payload (ISO/IEC 14496-15, 5.3.3) with another SPS (ITU-T H.264, 7.3.2.1.1).

    Sizes in macroblocks.
    """
    fields = [1, 1, 3, 2, width, height]  # SPS id, frame number bits, order of frames, reference frames, size; each + 1
    bits = "".join(map(_exp_golomb, fields[:4])) + "0" + "".join(map(_exp_golomb, fields[4:])) + "11001"
    bits += "0" * (-len(bits) % 8)
    sps = bytes([0x67, 66, 0, 62]) + int(bits, 2).to_bytes(len(bits) // 8)
    old_sps = 8 + int.from_bytes(old[6:8])
    return old[:6] + len(sps).to_bytes(2) + sps + old[old_sps:]


def _exp_golomb(plus_one: int) -> str:
    binary = f"{plus_one:b}"
    return "0" * (len(binary) - 1) + binary
