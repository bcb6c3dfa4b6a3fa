"""Synthesise the music: a loop of pads, plucks and a soft pulse, made once and read in blocks."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tenxsom_flow_engine.services.draft.render.loudness import integrated
from tenxsom_flow_engine.services.draft.render.style import Score

RATE = 48_000
LOUDNESS = -14.0  # LUFS, to which YouTube, TikTok and Instagram turn loud videos down
_CEILING = 0.84  # of the limiter: -1.5 dB, so that the true peak stays below -1 dB after AAC
_CORRECTIONS = 3
_BARS, _BEATS = 4, 4

_CYCLE = 2048  # samples of a wave table

Floats = NDArray[np.float32]
Sound = Floats  # 2 x samples, -1..1


def beat_seconds(score: Score) -> float:
    """Return the length of a beat in seconds, exactly as played: a whole number of samples."""
    return _beat(score) / RATE


class Music:
    """Music of `duration` seconds, at LOUDNESS as a whole; the pulse starts at `drop` seconds."""

    def __init__(self, score: Score, duration: int, drop: float) -> None:
        self._duration, self._drop = duration, drop
        self._bed, self._pulse = _stems(score)
        self._gain = 0.5
        # Fades, drop and limiter also change the loudness, so the gain is found by measuring the result.
        for _ in range(_CORRECTIONS):
            total = duration * RATE
            blocks = (self.block(at, min(RATE, total - at)) for at in range(0, total, RATE))
            self._gain *= 10 ** ((LOUDNESS - integrated(blocks, RATE)) / 20)

    def block(self, start: int, count: int) -> Sound:
        """Return samples `start` to `start + count`. Access is random, so memory does not grow with the duration."""
        seconds = np.arange(start, start + count, dtype=np.float32) / np.float32(RATE)
        entered = np.clip((seconds - self._drop) / 0.02, 0.0, 1.0)
        ending = min(1.2, self._duration / 3)
        fade = np.clip(seconds / min(0.15, self._duration / 8), 0, 1) * np.clip(
            (self._duration - seconds) / ending, 0, 1
        )
        mix = _read(self._bed, start, count)
        mix += _read(self._pulse, start, count) * entered
        mix *= (fade * (self._gain / _CEILING)).astype(np.float32)
        np.tanh(mix, out=mix)
        mix *= np.float32(_CEILING)
        return mix


def _beat(score: Score) -> int:
    """Return the number of samples of a beat: a multiple of 480, for which Fourier transforms are fast."""
    return round(60 / score.tempo * RATE / 480) * 480


def _stems(score: Score) -> tuple[Sound, Sound]:
    rng = np.random.default_rng(score.seed)
    beat = _beat(score)
    bar = beat * _BEATS
    pads, plucks, pulse = (np.zeros((2, bar * _BARS), np.float32) for _ in range(3))
    kick, swell, shape = _kick(), _swell(bar + beat // 2), _swell(bar)
    pluck = cache(_pluck)
    for number, degree in enumerate(score.chords):
        chord = [_pitch(score, degree + step) for step in (0, 2, 4, 6, 8)]
        start = number * bar
        for n, note in enumerate(chord[:4]):
            for detune in (-0.07, 0.07):
                _add(pads, start, _pad(note + detune, swell, rng.random()) * 0.16, 0.5 + (n - 1.5) * 0.12 + detune * 4)
        _add(pads, start, _pad(chord[0] - 12, shape, 0.0, bright=6.0) * 0.5, 0.5)
        for n, step in enumerate(score.pattern):
            accent = 0.34 if n % 4 == 0 else 0.24
            _add(plucks, start + n * beat // 2, pluck(chord[step] + 12) * accent, 0.3 + 0.4 * (n % 2))
        for n in range(_BEATS):
            _add(pulse, start + n * beat, kick * (0.62 if n % 2 == 0 else 0.42), 0.5)
            _add(pulse, start + n * beat + beat // 2, _hat(rng) * 0.10, 0.42 + 0.16 * (n % 2))
    # Duck the pads on every beat.
    ducking = 1 - 0.35 * np.exp(-np.arange(beat, dtype=np.float32) / (0.22 * beat))
    pads *= np.tile(ducking, _BEATS * _BARS)
    pads += plucks
    return _reverb(pads, rng), pulse


def _pitch(score: Score, step: int) -> float:
    octave, degree = divmod(step, len(score.scale))
    return score.root + score.scale[degree] + 12 * octave


def _hertz(note: float) -> float:
    return float(440.0 * 2 ** ((note - 69) / 12))


def _swell(length: int) -> Floats:
    """Return an envelope with slow attack and release."""
    at = np.arange(length, dtype=np.float32)
    shape = np.minimum(np.clip(at / (0.25 * RATE), 0, 1), np.clip((length - at) / (0.45 * RATE), 0, 1))
    swell: Floats = np.square(np.sin(shape * np.float32(np.pi / 2)))
    return swell


@cache
def _wave(bright: float) -> Floats:
    """Return a cycle of a soft saw wave, whose harmonics fall with the power `bright`."""
    cycle = np.arange(_CYCLE) / _CYCLE
    wave: Floats = np.sum([np.sin(2 * np.pi * k * cycle) / k**bright for k in range(1, 9)], axis=0).astype(np.float32)
    return wave


def _pad(note: float, swell: Floats, phase: float, bright: float = 1.7) -> Floats:
    steps = np.arange(swell.size, dtype=np.float64)
    steps *= _hertz(note) / RATE * _CYCLE
    steps += phase * _CYCLE
    sound: Floats = _wave(bright)[steps.astype(np.int32) & (_CYCLE - 1)]
    sound *= swell
    return sound


def _pluck(note: float) -> Floats:
    """Return four harmonics; each higher one is weaker and shorter."""
    t = np.arange(int(0.7 * RATE), dtype=np.float32) / np.float32(RATE)
    angle = t * np.float32(2 * np.pi * _hertz(note))
    shorter = np.exp(t * np.float32(-5))
    decay = np.exp(t * np.float32(-6))
    sound = np.zeros(t.size, np.float32)
    for k in (1, 2, 3, 4):
        decay = decay * shorter
        sound += np.sin(angle * np.float32(k)) * decay * np.float32(k**-1.4)
    sound *= np.clip(t / np.float32(0.004), 0, 1)
    return sound


def _kick() -> Sound:
    t = np.arange(int(0.32 * RATE)) / RATE
    phase = 2 * np.pi * (46 * t + 60 * 0.035 * (1 - np.exp(-t / 0.035)))
    return (np.sin(phase) * np.exp(-t / 0.10) * np.clip(t / 0.003, 0, 1)).astype(np.float32)


def _hat(rng: np.random.Generator) -> Sound:
    t = np.arange(int(0.08 * RATE)) / RATE
    hiss = np.diff(rng.standard_normal(t.size + 2), 2) * 0.4
    return (hiss * np.exp(-t / 0.018)).astype(np.float32)


def _add(loop: Sound, start: int, sound: Floats, pan: float) -> None:
    """Mix a sound into the loop; the part beyond the end wraps around to the start."""
    left, right = np.float32(np.cos(pan * np.pi / 2)), np.float32(np.sin(pan * np.pi / 2))
    start %= loop.shape[1]
    fits = min(sound.size, loop.shape[1] - start)
    for at, part in ((start, sound[:fits]), (0, sound[fits:])):
        loop[0, at : at + part.size] += part * left
        loop[1, at : at + part.size] += part * right


def _read(loop: Sound, start: int, count: int) -> Sound:
    """Return `count` samples of the endless loop."""
    first = start % loop.shape[1]
    parts = [loop[:, first : first + count]]
    while (got := sum(part.shape[1] for part in parts)) < count:
        parts.append(loop[:, : count - got])
    return np.concatenate(parts, axis=1)


def _reverb(dry: Sound, rng: np.random.Generator) -> Sound:
    """Return the loop with reverb: circular convolution with decaying noise, different for each channel."""
    t = np.arange(int(1.6 * RATE), dtype=np.float32) / np.float32(RATE)
    tail = rng.standard_normal((2, t.size), np.float32) * np.exp(t / np.float32(-0.38)) * np.clip(t / 0.012, 0, 1)
    tail /= np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    length = dry.shape[1]
    spectrum = np.fft.rfft(dry)
    spectrum *= np.fft.rfft(tail, length)
    hertz = np.arange(spectrum.shape[1], dtype=np.float32) * np.float32(RATE / length)
    spectrum /= np.sqrt(1 + (hertz / 4200) ** 4)
    wet = np.fft.irfft(spectrum, length).astype(np.float32, copy=False)
    wet *= np.float32(0.42)
    wet += dry * np.float32(0.8)
    return wet
