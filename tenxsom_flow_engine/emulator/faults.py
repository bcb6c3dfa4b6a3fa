"""Injected faults: for tests of the API's callers and of the workers it delivers to."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from random import Random

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class CallFault:
    """An error of one call: `done` says whether the call takes effect before it fails."""

    code: StatusCode
    done: bool


class Faults:
    """Pending faults, each used once. Methods are named as in the API, for example `CreateTask`."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, deque[CallFault]] = defaultdict(deque)
        self._twins = 0
        self._unheard = 0
        #: Number of faults used, by kind.
        self.used: Counter[str] = Counter()
        #: If set, due tasks are delivered in a random order.
        self.shuffle: Random | None = None

    def refuse(self, method: str, code: StatusCode = StatusCode.UNAVAILABLE, *, times: int = 1) -> None:
        """Make the next calls of a method fail without any effect."""
        self._calls[method].extend([CallFault(code, done=False)] * times)

    def lose_answer(self, method: str, code: StatusCode = StatusCode.DEADLINE_EXCEEDED, *, times: int = 1) -> None:
        """Make the next calls of a method take effect, but return an error to the caller."""
        self._calls[method].extend([CallFault(code, done=True)] * times)

    def deliver_twice(self, times: int = 1) -> None:
        """Deliver the next tasks twice, at the same moment. The second answer is ignored."""
        self._twins += times

    def miss_answers(self, times: int = 1) -> None:
        """Treat the next successful answers as lost: the tasks are delivered again after their backoff."""
        self._unheard += times

    def next_call(self, method: str) -> CallFault | None:
        """Use up and return the next fault of a method, or None."""
        if not self._calls[method]:
            return None
        fault = self._calls[method].popleft()
        self.used["API responses lost" if fault.done else "API calls refused"] += 1
        return fault

    def twin(self) -> bool:
        """Return whether the current delivery is made twice; uses up the fault."""
        self._twins, now = max(0, self._twins - 1), self._twins > 0
        self.used["delivered twice"] += now
        return now

    def unheard(self) -> bool:
        """Return whether the current successful answer is lost; uses up the fault."""
        self._unheard, now = max(0, self._unheard - 1), self._unheard > 0
        self.used["delivery responses lost"] += now
        return now
