"""A local copy of the videos in a bucket, in the layout of the output folder, so that the judge reads both alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from tenxsom_flow_engine.errors import OutputError
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.output.base import METADATA, VIDEO, Output


def mirror(output: Output, records: Sequence[JobRecord], folder: Path) -> list[JobRecord]:
    """Copy all publications into a new folder, and return the records with the paths of the copies.

    A publication without a record gets an empty folder, and a file that cannot be read is missing there.
    """
    folder.mkdir()
    for publication in output.publications():
        if publication.complete:  # the rest of an upload that did not end is invisible to readers
            (folder / publication.job_id).mkdir(exist_ok=True)
    return list(_copied(output, records, folder))


def _copied(output: Output, records: Sequence[JobRecord], folder: Path) -> Iterator[JobRecord]:
    for record in records:
        own = folder / record.job_id
        video = record.result or (output.recover(record) if own.exists() else None)
        if video is not None:
            own.mkdir(exist_ok=True)
            for name in (VIDEO, METADATA):
                with suppress(OutputError):
                    output.download(video, name, own / name)
        if record.result is not None:
            record = msgspec.structs.replace(
                record, result=msgspec.structs.replace(record.result, path=str(own / VIDEO))
            )
        yield record
