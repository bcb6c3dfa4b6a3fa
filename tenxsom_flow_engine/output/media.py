"""Looking into video files: whether one is whole, what it holds, and a picture of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.errors import OutputError


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a video file holds. `duration` in seconds, sizes in pixels."""

    duration: float
    width: int
    height: int


def inspect(path: Path) -> MediaFacts:
    """Read a video file from its start to its end. Raises `OutputError` if it is not a whole video.

    The index at the front of a cut file still names its full length, so every packet is read; decoding is left out.
    """
    import av  # takes a while, and most commands look into no video
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
            # A frame or two of difference is the container's rounding.
            if end == 0.0 or end < promised - 0.25:
                raise OutputError(f"{path.name} ends after {end:.1f} s of {promised:.1f} s")
            return MediaFacts(end, video.width, video.height)
    except FFmpegError as error:
        raise OutputError(f"{path.name} is not a whole video: {error.strerror}") from error


def write_thumbnail(video: Path, picture: Path) -> None:
    """Write the frame at about a third of a video as a JPEG. Raises `OutputError` if nothing can be decoded."""
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
