"""Save the outcomes of steps: those of several threads together, by one of these threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.outcomes import Outcome
from tenxsom_flow_engine.store.combining import MAX_BATCH


@dataclass(frozen=True, slots=True)
class EndedStep:
    """A step that has ended, the leased job, and the instant on the monotonic clock at which it began."""

    record: JobRecord
    outcome: Outcome
    began: float


class OutcomeWriter:
    """Saves outcomes with `settle_each`, and hands each record, or the error of its save, to `done`.

    Neither function may raise. Thread-safe.
    """

    def __init__(
        self,
        settle_each: Callable[[Sequence[tuple[JobRecord, Outcome]]], Sequence[JobRecord | Exception]],
        done: Callable[[Sequence[tuple[EndedStep, JobRecord | Exception]]], object],
    ) -> None:
        self._settle_each = settle_each
        self._done = done
        self._lock = threading.Lock()
        self._waiting: list[EndedStep] = []
        self._is_saving = False

    def add(self, step: EndedStep) -> None:
        """Add an outcome to those that the next `save` saves."""
        with self._lock:
            self._waiting.append(step)

    def save(self) -> None:
        """Save the outcomes, or leave them to another thread if it is saving now."""
        with self._lock:
            if self._is_saving or not self._waiting:
                return
            self._is_saving = True
        while batch := self._next_batch():
            results = self._settle_each([(step.record, step.outcome) for step in batch])
            self._done(list(zip(batch, results, strict=True)))

    def _next_batch(self) -> list[EndedStep]:
        with self._lock:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            self._is_saving = bool(batch)
            return batch
