"""The argument JOB: the id of a job, or a beginning of the id that no other job has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tenxsom_flow_engine.cli.console import Exit, info, problem
from tenxsom_flow_engine.cli.exit_codes import USAGE
from tenxsom_flow_engine.text import plural

if TYPE_CHECKING:
    from tenxsom_flow_engine.jobs import JobRecord
    from tenxsom_flow_engine.store.base import JobStore

#: Maximum number of arguments that are searched as beginnings; a longer list is one of whole ids.
MOST_SEARCHED = 10


def the_job(store: JobStore, text: str, *, announce: bool = True) -> JobRecord:
    """Return the job that the argument names. Raises `JobNotFound`, and `Exit` if it names several.

    With `announce`, a message says which job a beginning stands for.
    """
    return store.require(job_id(store, text, announce=announce))


def job_id(store: JobStore, text: str, *, announce: bool = True) -> str:
    """Return the id of the job that the argument names; an unknown one is returned as it is."""
    from tenxsom_flow_engine.operations.job_ids import starting_with

    found = starting_with(store, text)
    if len(found.records) > 1 or (found.records and found.more):
        raise Exit(_several(text, found.records, more=found.more), USAGE)
    if found.more:
        raise Exit(problem(f"the newest jobs have no id that starts with {text!r}", "pass the whole id"), USAGE)
    if not found.records:
        return text
    (record,) = found.records
    if announce and record.job_id != text:
        info(f"{text} is job {record.job_id}: {record.job.topic}")
    return record.job_id


def job_ids(store: JobStore, texts: Iterable[str]) -> list[str]:
    """Return the ids of the jobs that the arguments name, each once."""
    words = list(dict.fromkeys(texts))
    known = {record.job_id for record in store.get_each(words)}
    searched = [word for word in words if word not in known][:MOST_SEARCHED]
    named = {word: job_id(store, word) for word in searched}
    return list(dict.fromkeys(named.get(word, word) for word in words))


def _several(text: str, records: Iterable[JobRecord], *, more: bool) -> str:
    """Return the error for a beginning of several ids, with the jobs that it can stand for."""
    from tenxsom_flow_engine.cli.format import table

    shown = list(records)
    others = ", and perhaps of others," if more else ""
    head = problem(f"the ids of {plural(len(shown), 'job')}{others} start with {text!r}", "pass more of the id")
    return "\n".join(
        [head, *(f"  {line}" for line in table([[one.job_id, one.job.topic] for one in shown]).split("\n"))]
    )
