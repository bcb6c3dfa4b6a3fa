"""Make a valid video file of a few kilobytes for rehearsals and tests."""

from __future__ import annotations

from functools import lru_cache

#: Pixels of the longer side.
_SIDE = 96


@lru_cache(maxsize=32)
def tiny_video(aspect_ratio: str, duration: int) -> bytes:
    """Return a silent H.264 file of `duration` seconds in this aspect ratio, one frame a second."""
    import io

    import av
    import numpy as np

    across, down = map(int, aspect_ratio.split(":"))
    scale = _SIDE / max(across, down)
    width, height = (max(16, round(side * scale / 2) * 2) for side in (across, down))
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for second in range(duration):
            shade = np.full((height, width, 3), 40 + second * 7 % 160, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()
