"""Checks video files for completeness, reads their properties and makes thumbnails."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.errors import OutputError


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """Properties of a video file: duration in seconds, width and height in pixels."""

    duration: float
    width: int
    height: int


def inspect(path: Path) -> MediaFacts:
    """Read a video file from start to end. Raises `OutputError` if it is not a complete video.

    The index at the front of a truncated file still gives the full length, so every packet is read, without decoding.
    """
    import av  # imported here because it is slow and most commands do not need it
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise OutputError(f"{path.name} has no video stream")
            video = container.streams.video[0]
            end = 0.0
            for packet in container.demux(video):
                if packet.is_corrupt:
                    raise OutputError(f"{path.name} is damaged after {end:.1f} s")
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            promised = float(video.duration * video.time_base) if video.duration and video.time_base else end
            # Containers round the length by a frame or two.
            if end == 0.0 or end < promised - 0.25:
                raise OutputError(f"{path.name} ends after {end:.1f} s of {promised:.1f} s")
            return MediaFacts(end, video.width, video.height)
    except FFmpegError as error:
        raise OutputError(f"{path.name} is not a complete video: {error.strerror}") from error


def write_thumbnail(video: Path, picture: Path) -> None:
    """Save the frame at about one third of a video as a JPEG. Raises `OutputError` if no frame can be decoded."""
    import av
    from av.error import FFmpegError
    from PIL import Image

    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            if stream.duration:
                container.seek(stream.duration // 3, stream=stream)
            for frame in container.decode(stream):
                Image.fromarray(frame.to_ndarray(format="rgb24")).save(picture, "JPEG", quality=88)
                return
    except FFmpegError as error:
        raise OutputError(f"{video.name} cannot be decoded: {error.strerror}") from error
    raise OutputError(f"{video.name} has no frame")
