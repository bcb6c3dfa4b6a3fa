"""Read the properties of a video file, and make its thumbnail. The file can be truncated or crafted.

Only MP4 and MOV files with the codecs of `VIDEO_CODECS` are read, and only within the limits of this module. A crafted
file can still crash or stall the library, so the engine calls `examine` in a child process (see `inspection`).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tenxsom_flow_engine.errors import InvalidVideo, OutputError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

#: Pixels of a frame: those of 8K.
MAX_PIXELS = 7680 * 4320
#: Seconds: more than 2.5 times the longest job. Frames: 60 for each of these seconds.
MAX_SECONDS = 7200
MAX_FRAMES = MAX_SECONDS * 60
#: Boxes at the top level of a file: some for each second of a fragmented file.
MAX_BOXES = 100_000
#: FFmpeg's names of the codecs that web players can show, and of its decoders for them.
VIDEO_CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4")
_DECODERS = (*VIDEO_CODECS, "libdav1d", "libvpx-vp9")
_FAULTS_OF_THE_DISK = (errno.EIO, errno.ENOENT, errno.EACCES, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """Properties of a video file: duration in seconds, width and height in pixels."""

    duration: float
    width: int
    height: int


def examine(path: Path, thumbnail: Path | None = None) -> MediaFacts:
    """Read a video file from start to end; if a path is given, save the frame at about one third as a JPEG.

    Raises `InvalidVideo` if the file is not a video that can be published, `OutputError` if it is incomplete, so that
    another download can give a complete one, and `OSError` if the disk fails. Any other exception is the library's.
    """
    import av  # imported here because it is slow, and only the inspection's process needs it
    from av.error import FFmpegError

    check_boxes(path)
    try:
        with av.open(
            str(path.absolute()),
            format="mov",
            container_options={"protocol_whitelist": "file", "codec_whitelist": ",".join(_DECODERS)},
            metadata_errors="replace",
        ) as container:
            video = _video_stream(container, path.name)
            facts = _read_all(container, video, path.name)
            if thumbnail is not None:
                _write_thumbnail(container, video, path.name, thumbnail)
            return facts
    except FFmpegError as error:
        if isinstance(error, MemoryError) or error.errno in _FAULTS_OF_THE_DISK:
            raise
        raise InvalidVideo(f"{path.name} is not a valid video: {error.strerror}") from error


def check_boxes(path: Path) -> None:
    """Check the boxes at the top level of a file (ISO/IEC 14496-12, section 4.2): `ftyp` comes first, all are complete.

    The index at the front of a truncated file still gives the full length, so only the boxes show where it ends.
    Raises `InvalidVideo` for another type of file, `OutputError` for an incomplete one.
    """
    size = path.stat().st_size
    position, kinds = 0, set()
    with path.open("rb") as file:
        for _ in range(MAX_BOXES):
            file.seek(position)
            header = file.read(16)
            if len(header) < 8:  # the end; a few bytes after the last box are harmless
                break
            length, kind = int.from_bytes(header[:4]), header[4:8]
            if position == 0 and kind != b"ftyp":
                raise InvalidVideo(f"{path.name} is not an MP4 or MOV file")
            if length == 0:  # the last box, up to the end of the file
                length = size - position
            elif length == 1:
                length = int.from_bytes(header[8:16])
            if length < 8:
                raise InvalidVideo(f"{path.name} is not a valid video: box of {length} bytes at {position}")
            kinds.add(kind)
            position += length
        else:
            raise InvalidVideo(f"{path.name} has more than {MAX_BOXES:,} boxes")
    if position > size:
        raise OutputError(f"{path.name} is incomplete: it has {size} of {position} bytes")
    if b"moov" not in kinds:
        raise OutputError(f"{path.name} is incomplete: its index is missing")


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the first video stream, if its header is within the limits."""
    if not container.streams.video:
        raise InvalidVideo(f"{name} has no video stream")
    video = container.streams.video[0]
    if video.codec.canonical_name not in VIDEO_CODECS:
        raise InvalidVideo(f"{name} has the codec {video.codec.canonical_name}, not {', '.join(VIDEO_CODECS)}")
    if not 0 < video.width * video.height <= MAX_PIXELS:
        raise InvalidVideo(f"{name} has {video.width} × {video.height} pixels, more than 8K")
    _check_frames(video.frames, name)
    return video


def _check_frames(frames: int, name: str) -> None:
    if frames > MAX_FRAMES:
        raise InvalidVideo(f"{name} has more than {MAX_FRAMES:,} frames")


def _read_all(container: InputContainer, video: VideoStream, name: str) -> MediaFacts:
    """Read every packet, without decoding, and return the properties."""
    end = 0.0
    for count, packet in enumerate(container.demux(video)):
        _check_frames(count, name)
        if packet.is_corrupt:
            raise OutputError(f"{name} is damaged after {end:.1f} s")
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    promised = float(video.duration * video.time_base) if video.duration and video.time_base else end
    if max(end, promised) > MAX_SECONDS:
        raise InvalidVideo(f"{name} is longer than {MAX_SECONDS // 3600} hours")
    # Containers round the length by a frame or two.
    if end == 0.0 or end < promised - 0.25:
        raise OutputError(f"{name} ends after {end:.1f} s of {promised:.1f} s")
    return MediaFacts(end, video.width, video.height)


def _write_thumbnail(container: InputContainer, video: VideoStream, name: str, picture: Path) -> None:
    """Save the frame at about one third of the video."""
    video.codec_context.thread_count = 1  # each decoding thread has its own frames in memory
    video.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # a frame can be larger than the header says
    container.seek((video.duration or 0) // 3, stream=video)
    for frame in container.decode(video):
        frame.to_image().save(  # type: ignore[no-untyped-call]
            picture, "JPEG", quality=88
        )
        return
    raise InvalidVideo(f"{name} has no frame that can be decoded")
