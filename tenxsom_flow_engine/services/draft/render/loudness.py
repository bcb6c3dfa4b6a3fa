"""Measure the loudness of sound with FFmpeg's filter `ebur128`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from av import AudioFrame
from numpy.typing import NDArray

SILENCE = -70.0  # LUFS: the absolute gate of the recommendation


def integrated(blocks: Iterable[NDArray[np.float32]], rate: int) -> float:
    """Return the integrated loudness (ITU-R BS.1770-4) in LUFS of stereo sound in blocks of 2 x samples.

    Sound shorter than one measuring block of 0.4 seconds counts as silence.
    """
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="fltp", layout="stereo", time_base=Fraction(1, rate))
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    loudness, at = SILENCE, 0
    for block in chain(blocks, [None]):
        source.push(None if block is None else _frame(block, rate, at))
        at += 0 if block is None else block.shape[1]
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                # Only frames that complete a step of 0.1 seconds carry a value.
                loudness = float(sink.pull().metadata.get("lavfi.r128.I", loudness))
    return max(loudness, SILENCE)


def _frame(block: NDArray[np.float32], rate: int, at: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return frame
