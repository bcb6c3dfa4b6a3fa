"""Synthesise the music: a loop of pads, plucks and a soft pulse, made once and read in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tenxsom_flow_engine.services.draft.render.style import Score

RATE = 48_000
_LOUDNESS = -14.2  # LUFS before fades and the limiter, which reduce it by about 1.3
_BARS, _BEATS = 4, 4

Sound = NDArray[np.float32]  # 2 x samples, -1..1


def beat_seconds(score: Score) -> float:
    """Return the length of a beat in seconds, exactly as played: a whole number of samples."""
    return _beat(score) / RATE


class Music:
    """Music of `duration` seconds; the pulse starts at `drop` seconds."""

    def __init__(self, score: Score, duration: float, drop: float) -> None:
        self._duration, self._drop = duration, drop
        bed, pulse = _stems(score)
        gain = 10 ** ((_LOUDNESS - _loudness(bed + pulse)) / 20)
        self._bed, self._pulse = bed * np.float32(gain), pulse * np.float32(gain)

    def block(self, start: int, count: int) -> Sound:
        """Return samples `start` to `start + count`. Access is random, so memory does not grow with the duration."""
        at = np.arange(start, start + count)
        seconds = at / RATE
        index = at % self._bed.shape[1]
        entered = np.clip((seconds - self._drop) / 0.02, 0.0, 1.0)
        mix = self._bed[:, index] + self._pulse[:, index] * entered
        ending = min(1.2, self._duration / 3)
        fade = np.clip(seconds / min(0.15, self._duration / 8), 0, 1) * np.clip(
            (self._duration - seconds) / ending, 0, 1
        )
        return np.ascontiguousarray(np.tanh(mix * fade * 1.1) * 0.89, np.float32)


def _beat(score: Score) -> int:
    """Return the number of samples of a beat: a multiple of 480, for which Fourier transforms are fast."""
    return round(60 / score.tempo * RATE / 480) * 480


def _stems(score: Score) -> tuple[Sound, Sound]:
    rng = np.random.default_rng(score.seed)
    beat = _beat(score)
    length = beat * _BEATS * _BARS
    pads, plucks, pulse = (np.zeros((2, length), np.float32) for _ in range(3))
    for bar, degree in enumerate(score.chords):
        chord = [_pitch(score, degree + step) for step in (0, 2, 4, 6, 8)]
        start = bar * beat * _BEATS
        for n, note in enumerate(chord[:4]):
            for detune in (-0.07, 0.07):
                tone = _pad(note + detune, beat * _BEATS + beat // 2, rng.random())
                pan = 0.5 + (n - 1.5) * 0.12 + detune * 4
                _add(pads, start, tone * 0.16, pan)
        _add(pads, start, _pad(chord[0] - 12, beat * _BEATS, 0.0, bright=6.0) * 0.5, 0.5)
        for n, step in enumerate(score.pattern):
            accent = 0.34 if n % 4 == 0 else 0.24
            _add(plucks, start + n * beat // 2, _pluck(chord[step] + 12) * accent, 0.3 + 0.4 * (n % 2))
        for n in range(_BEATS):
            _add(pulse, start + n * beat, _kick() * (0.62 if n % 2 == 0 else 0.42), 0.5)
            _add(pulse, start + n * beat + beat // 2, _hat(rng) * 0.10, 0.42 + 0.16 * (n % 2))
    # Duck the pads on every beat.
    ducking = 1 - 0.35 * np.exp(-(np.arange(length) % beat) / (0.22 * beat))
    bed = (pads * ducking).astype(np.float32) + plucks
    return _reverb(bed, rng), pulse


def _pitch(score: Score, step: int) -> float:
    octave, degree = divmod(step, len(score.scale))
    return score.root + score.scale[degree] + 12 * octave


def _hertz(note: float) -> float:
    return float(440.0 * 2 ** ((note - 69) / 12))


def _pad(note: float, length: int, phase: float, bright: float = 1.7) -> Sound:
    """Return a soft saw wave: harmonics that fall with the power `bright`, slow attack and release."""
    cycle = np.arange(2048) / 2048
    table = np.sum([np.sin(2 * np.pi * k * cycle) / k**bright for k in range(1, 9)], axis=0)
    at = ((np.arange(length) * (_hertz(note) / RATE) + phase) * 2048).astype(np.int64) & 2047
    attack, release = int(0.25 * RATE), int(0.45 * RATE)
    shape = np.minimum(np.clip(np.arange(length) / attack, 0, 1), np.clip((length - np.arange(length)) / release, 0, 1))
    sound: Sound = (table[at] * np.sin(shape * np.pi / 2) ** 2).astype(np.float32)
    return sound


def _pluck(note: float) -> Sound:
    t = np.arange(int(0.7 * RATE)) / RATE
    parts = [np.sin(2 * np.pi * _hertz(note) * k * t) * np.exp(-t * (6 + 5 * k)) / k**1.4 for k in (1, 2, 3, 4)]
    sound: Sound = (np.sum(parts, axis=0) * np.clip(t / 0.004, 0, 1)).astype(np.float32)
    return sound


def _kick() -> Sound:
    t = np.arange(int(0.32 * RATE)) / RATE
    phase = 2 * np.pi * (46 * t + 60 * 0.035 * (1 - np.exp(-t / 0.035)))
    return (np.sin(phase) * np.exp(-t / 0.10) * np.clip(t / 0.003, 0, 1)).astype(np.float32)


def _hat(rng: np.random.Generator) -> Sound:
    t = np.arange(int(0.08 * RATE)) / RATE
    hiss = np.diff(rng.standard_normal(t.size + 2), 2) * 0.4
    return (hiss * np.exp(-t / 0.018)).astype(np.float32)


def _add(loop: Sound, start: int, sound: Sound, pan: float) -> None:
    """Mix a sound into the loop; the part beyond the end wraps around to the start."""
    index = np.arange(start, start + sound.size) % loop.shape[1]
    loop[0, index] += sound * np.float32(np.cos(pan * np.pi / 2))
    loop[1, index] += sound * np.float32(np.sin(pan * np.pi / 2))


def _reverb(dry: Sound, rng: np.random.Generator) -> Sound:
    """Return the loop with reverb: circular convolution with decaying noise, different for each channel."""
    t = np.arange(int(1.6 * RATE)) / RATE
    tail = rng.standard_normal((2, t.size)) * np.exp(-t / 0.38) * np.clip(t / 0.012, 0, 1)
    tail /= np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    spectrum = np.fft.rfft(dry) * np.fft.rfft(tail.astype(np.float32), dry.shape[1])
    hertz = np.fft.rfftfreq(dry.shape[1], 1 / RATE)
    wet = np.fft.irfft(spectrum / np.sqrt(1 + (hertz / 4200) ** 4), dry.shape[1])
    return (dry * 0.8 + wet * 0.42).astype(np.float32)


def _loudness(loop: Sound) -> float:
    """Return the approximate loudness in LUFS: mean power with K weighting (bass cut, treble raised by 4 dB)."""
    power = np.square(np.abs(np.fft.rfft(loop))).sum(axis=0) * 2 / loop.shape[1] ** 2
    hertz = np.fft.rfftfreq(loop.shape[1], 1 / RATE)
    curve = (hertz**4 / (hertz**4 + 38.0**4)) * (1 + 1.51 * hertz**4 / (hertz**4 + 1680.0**4))
    return float(-0.691 + 10 * np.log10((power * curve).sum() + 1e-12))
