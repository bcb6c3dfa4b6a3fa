"""Encode frames and samples as an MP4 file for streaming: H.264 and AAC with colour tags."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
from av import AudioFrame, VideoFrame

from tenxsom_flow_engine.services.draft.render.music import RATE, Sound

FPS = 30
_AHEAD = 3  # frames painted while the encoder works
_BT709 = 1  # the code of BT.709 in H.273, the same for primaries, transfer and matrix
_LIMITED = 1  # AVCOL_RANGE_MPEG
# The preset's time goes into partitions, B-frames and lookahead, which gain nothing in slow gradients; without them the
# same size and similarity take two thirds of the time, at a slightly lower `crf`.
_FEWER = "bframes=0:weightp=0:subme=0:partitions=none:scenecut=0"
# The same frames must give the same bytes. x264's macroblock tree reads uninitialised memory, so sizes would depend on
# other work of the process: it is off, and a high qcomp distributes the bits as evenly. The number of threads also
# affects the bytes, so it is constant.
_STABLE = "threads=2:sync-lookahead=0:mbtree=0:qcomp=0.8:aq-mode=3:aq-strength=0.9:chroma-qp-offset=-2:keyint=60"
X264: Mapping[str, str] = {"preset": "superfast", "crf": "22.5", "x264-params": f"{_STABLE}:{_FEWER}"}


def encode(
    path: Path,
    size: tuple[int, int],
    seconds: int,
    paint: Callable[[int], VideoFrame],
    sound: Callable[[int, int], Sound],
) -> Iterator[int]:
    """Write the video, and yield the number of each frame after it has been written.

    `paint(number)` returns yuv420p frames of `size` (width, height) and is called in order on one other thread;
    `sound(start, count)` returns samples.
    """
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.profile = "High"
        video.options = dict(X264)
        context = video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
        # At this bit rate FFmpeg's fast search is 3 dB closer to the music than its default, in half the time.
        audio = container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=160_000, options={"aac_coder": "fast"})
        samples, total = 0, seconds * RATE
        for number, frame in enumerate(_ahead(paint, seconds * FPS)):
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
            while samples < min(total, (number + 1) * RATE // FPS):
                count = min(1024, total - samples)
                container.mux(audio.encode(_audio(sound(samples, count), samples)))
                samples += count
            yield number
        container.mux(video.encode())
        container.mux(audio.encode())


def _audio(samples: Sound, at: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
    return frame


def _ahead(paint: Callable[[int], VideoFrame], count: int) -> Iterator[VideoFrame]:
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[VideoFrame]] = deque()
        for number in range(count):
            waiting.append(pool.submit(paint, number))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
