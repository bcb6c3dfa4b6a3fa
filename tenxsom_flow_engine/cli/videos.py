"""`videos`: the finished videos in the output, and those that retention removes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import confirm, info, out
from tenxsom_flow_engine.cli.program import Command
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenxsom_flow_engine.output.base import Publication
    from tenxsom_flow_engine.output.keep import KeepVideos

_HEAD = ("NAME", "PUBLISHED (UTC)", "MB")


@click.group()
def videos() -> None:
    """List the finished videos, and remove old ones (TENXSOM_KEEP_VIDEOS)."""


@videos.command("list", cls=Command, epilog="Example: {program} videos list --json")
@options.queue_type
@options.as_json
def list_(queue_type: str | None, as_json: bool) -> None:
    """List the videos in the folder or bucket, oldest first, with all files of each."""
    with session(queue_type) as engine:
        found = sorted(engine.output.publications(), key=lambda one: one.at)
        place = engine.output.place
    _print(found, as_json)
    if not as_json:
        info(f"{plural(len(found), 'video')} in {place}, {_gigabytes(found)}")


@videos.command(
    cls=Command, epilog="\b\nExamples:\n  {program} videos prune --dry-run\n  {program} videos prune --keep 7d,50GB"
)
@click.option("--keep", metavar="RULE", help="Rule instead of TENXSOM_KEEP_VIDEOS: 30d, 200GB or 30d,200GB.")
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
@options.yes
@options.queue_type
@options.as_json
def prune(keep: str | None, dry_run: bool, yes: bool, queue_type: str | None, as_json: bool) -> None:
    """Remove the videos beyond an age or a total size, oldest first, as workers do every hour.

    The records of their jobs stay. The videos of unfinished jobs stay too.
    """
    with session(queue_type) as engine:
        found = engine.videos_to_remove(_rule(keep, engine.settings.keep_videos))
        if dry_run or not found:
            _print(found, as_json)
            info(f"would remove {plural(len(found), 'video')}, {_gigabytes(found)}" if found else "nothing to remove")
            return
        what = f"{plural(len(found), 'video')}, {_gigabytes(found)}"
        if not yes:
            confirm(f"remove {what}?", f"this would remove {what}; pass --yes to confirm")
        for one in found:
            engine.output.remove(one.name)
    _print(found, as_json)
    info(f"removed {what}")


def _rule(text: str | None, default: KeepVideos) -> KeepVideos:
    """Return the rule of the option or the setting. Raises `InvalidInput` if there is none."""
    from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
    from tenxsom_flow_engine.output.keep import parse_keep_videos

    if text is not None:
        try:
            return parse_keep_videos("--keep", text)
        except ConfigurationError as error:
            raise InvalidInput("keep", error.message.partition(" ")[2]) from error
    if not default.limited:
        raise InvalidInput("keep", "is missing", next_step="pass --keep 30d,200GB, or set TENXSOM_KEEP_VIDEOS")
    return default


def _print(found: Sequence[Publication], as_json: bool) -> None:
    from tenxsom_flow_engine.cli.format import print_json, table
    from tenxsom_flow_engine.clock import iso

    if as_json:
        print_json({"videos": [_described(one) for one in found]})
    elif found:
        rows = [(one.name, iso(one.at)[:16].replace("T", " "), f"{one.size / 1e6:,.1f}") for one in found]
        out(table(rows, head=_HEAD))


def _described(one: Publication) -> dict[str, Any]:
    from tenxsom_flow_engine.clock import iso

    return {"name": one.name, "job_id": one.job_id, "published_at": iso(one.at), "bytes": one.size,
            "complete": one.complete}  # fmt: skip


def _gigabytes(found: Sequence[Publication]) -> str:
    return f"{sum(one.size for one in found) / 1e9:,.1f} GB"
