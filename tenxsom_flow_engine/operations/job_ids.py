"""Find the jobs whose id starts with a text, at a bounded cost."""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Maximum number of jobs returned.
MOST_FOUND = 5
#: Maximum number of pages examined, and of records read from each: with the default retention, all jobs.
_MOST_PAGES, _PAGE = 40, 200


@dataclass(frozen=True, slots=True)
class Found:
    """Jobs with a common start of their ids, newest first; `more`: others can have it, too."""

    records: tuple[JobRecord, ...]
    more: bool = False


def starting_with(store: JobStore, text: str) -> Found:
    """Return the job that has this id, or else at most `MOST_FOUND` jobs whose id starts with the text."""
    exact = store.get(text)
    if exact is not None:
        return Found((exact,))
    if not text:
        return Found(())
    found: list[JobRecord] = []
    for number, page in enumerate(store.pages(JobFilter(text=text), limit=_PAGE), start=1):
        found += [record for record in page.records if record.job_id.startswith(text)]
        if len(found) > MOST_FOUND or (number == _MOST_PAGES and page.cursor is not None):
            return Found(tuple(found[:MOST_FOUND]), more=True)
        if number == _MOST_PAGES:
            break
    return Found(tuple(found))
