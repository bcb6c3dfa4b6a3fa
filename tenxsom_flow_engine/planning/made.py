"""The topics that a channel has made or planned, so that they are not made again too soon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Records read per page.
PAGE_JOBS = 1000
#: The statuses of jobs whose video is made or planned. A failed or cancelled job does not count.
_COUNTED = frozenset(set(Status) - {Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class MadeTopic:
    """A topic, the job that used it, and when its video was made (None: it is planned)."""

    topic: str
    job_id: str
    made_at: float | None = None


class MadeTopics:
    """The topics of channels whose video was made since an instant, or is planned.

    Topics are compared without regard to case and blanks. The records of a channel are read at its first use.
    """

    def __init__(self, store: JobStore, since: float) -> None:
        self._store = store
        self._since = since
        self._found: dict[str, dict[str, MadeTopic]] = {}
        self._skipped: dict[MadeTopic, None] = {}

    @property
    def skipped(self) -> Sequence[MadeTopic]:
        """The topics that were skipped, in order."""
        return list(self._skipped)

    def skip(self, topic: str, channel: str) -> bool:
        """Return whether a topic is made or planned in a channel, and if so, note it as skipped."""
        made = self._in(channel).get(_compared(topic))
        if made is not None:
            self._skipped[made] = None
        return made is not None

    def plan(self, topic: str, channel: str, job_id: str) -> None:
        """Count a topic as planned, by a job that is about to be added."""
        self._in(channel).setdefault(_compared(topic), MadeTopic(topic, job_id))

    def _in(self, channel: str) -> dict[str, MadeTopic]:
        if channel not in self._found:
            self._found[channel] = {}
            for made in _read(self._store, channel, self._since):
                self._found[channel].setdefault(_compared(made.topic), made)
        return self._found[channel]


def _read(store: JobStore, channel: str, since: float) -> Iterator[MadeTopic]:
    for page in store.pages(JobFilter(channel=channel, statuses=_COUNTED), limit=PAGE_JOBS):
        for record in page.records:
            made_at = record.finished_at if record.status is Status.SUCCEEDED else None
            if made_at is None or made_at >= since:
                yield MadeTopic(record.job.topic, record.job_id, made_at)


def _compared(topic: str) -> str:
    return " ".join(topic.casefold().split())
