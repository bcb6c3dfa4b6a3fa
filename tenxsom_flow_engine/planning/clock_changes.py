"""Finds the instants that a local time can mean: none or two near a change of the clocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timezone, tzinfo


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A local time without an offset, in a zone; None is this machine's zone."""

    shown: datetime
    zone: tzinfo | None

    @property
    def instants(self) -> Sequence[float]:
        """Its instants in seconds since 1970, in order: usually one, two if clocks repeat it, none if they skip it."""
        first, second = self._instant(0), self._instant(1)
        if first > second:
            return ()
        return (first,) if first == second else (first, second)

    @property
    def forms(self) -> Sequence[str]:
        """The same time with the offset of each of its instants, in ISO 8601."""
        precision = "auto" if self.shown.second or self.shown.microsecond else "minutes"
        return [
            self.shown.replace(tzinfo=timezone(self.shown.replace(tzinfo=UTC) - datetime.fromtimestamp(at, UTC)))
            .isoformat(timespec=precision)
            for at in self.instants
        ]  # fmt: skip

    @property
    def skip(self) -> tuple[datetime, datetime]:
        """For a skipped time: what the clocks show without and with the change, at the instant of the change."""
        # With the offset before the change it is an instant after the change, and the other way round.
        late, early = self._instant(0), self._instant(1)
        low, high = math.floor(early), math.ceil(late)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._offset(middle) == self._offset(late) else (middle, high)
        return self._show(high + self._offset(early), UTC), self._show(high, self.zone)

    def _instant(self, fold: int) -> float:
        return self.shown.replace(tzinfo=self.zone, fold=fold).timestamp()

    def _offset(self, instant: float) -> float:
        return self._show(instant, self.zone).replace(tzinfo=UTC).timestamp() - instant

    @staticmethod
    def _show(instant: float, zone: tzinfo | None) -> datetime:
        return datetime.fromtimestamp(instant, zone).replace(tzinfo=None)
