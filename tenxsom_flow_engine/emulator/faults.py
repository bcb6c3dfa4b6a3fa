"""What goes wrong to order: for tests of those who call the API and of those to whom it delivers."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from random import Random

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class CallFault:
    """One call fails with a code: before it did anything, or after it did everything."""

    code: StatusCode
    done: bool


class Faults:
    """Faults that wait for their turn. Each is used up once; a method is named as in the API, e.g. `CreateTask`."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, deque[CallFault]] = defaultdict(deque)
        self._twins = 0
        self._unheard = 0
        #: How many of each kind came to their turn.
        self.used: Counter[str] = Counter()
        #: Where it is set, what is due is delivered in a random order.
        self.shuffle: Random | None = None

    def refuse(self, method: str, code: StatusCode = StatusCode.UNAVAILABLE, *, times: int = 1) -> None:
        """Let the next calls of a method fail, with nothing done."""
        self._calls[method].extend([CallFault(code, done=False)] * times)

    def lose_answer(self, method: str, code: StatusCode = StatusCode.DEADLINE_EXCEEDED, *, times: int = 1) -> None:
        """Let the next calls of a method do what they were asked, and the caller hear of an error instead."""
        self._calls[method].extend([CallFault(code, done=True)] * times)

    def deliver_twice(self, times: int = 1) -> None:
        """Deliver the next tasks twice, at the same moment. The second answer counts for nothing."""
        self._twins += times

    def miss_answers(self, times: int = 1) -> None:
        """Take the next successful answers for lost: the tasks are delivered again after their backoff."""
        self._unheard += times

    def next_call(self, method: str) -> CallFault | None:
        """Take the fault of a call that is made now."""
        if not self._calls[method]:
            return None
        fault = self._calls[method].popleft()
        self.used["API responses lost" if fault.done else "API calls refused"] += 1
        return fault

    def twin(self) -> bool:
        """Return whether the delivery that is made now is made twice."""
        self._twins, now = max(0, self._twins - 1), self._twins > 0
        self.used["delivered twice"] += now
        return now

    def unheard(self) -> bool:
        """Return whether the success that is heard now is missed."""
        self._unheard, now = max(0, self._unheard - 1), self._unheard > 0
        self.used["delivery responses lost"] += now
        return now
