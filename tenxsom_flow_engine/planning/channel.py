"""Finds the slots of a channel that already have a job: job ids in the store name channel and slot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.planning.rotation import Use, use_of
from tenxsom_flow_engine.planning.slots import slot_instant, slot_prefix
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Records read per page.
PAGE_JOBS = 1000


@dataclass(frozen=True, slots=True)
class KnownSlot:
    """A slot that has a job."""

    #: The job was cancelled. It does not count as a video of the channel, but its id cannot be reused.
    cancelled: bool
    #: The playlist position that its topic came from, if any.
    use: Use | None


def known_slots(store: JobStore, channel: str) -> Mapping[int, KnownSlot]:
    """Return the slots of a channel that have a job, by instant."""
    return dict(_known(store, channel))


def _known(store: JobStore, channel: str) -> Iterator[tuple[int, KnownSlot]]:
    wanted = JobFilter(channel=channel, text=f"{slot_prefix(channel)}-")
    for page in store.pages(wanted, limit=PAGE_JOBS):
        for record in page.records:
            instant = slot_instant(channel, record.job_id)
            if instant is not None:
                yield instant, KnownSlot(record.status is Status.CANCELLED, use_of(record.job))
