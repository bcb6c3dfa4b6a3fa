"""Options and value types that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from tenxsom_flow_engine import logs
from tenxsom_flow_engine.cli import completion

_F = TypeVar("_F", bound=Callable[..., Any])

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
#: A hundred years, in seconds.
_MAX_SECONDS = 100 * 366 * 86400

#: The statuses of a job, repeated here so that `--help` does not import `jobs`.
STATUSES = ("scheduled", "queued", "running", "rendering", "held", "succeeded", "failed", "cancelled")


class Seconds(click.ParamType[float]):
    """A length of time: `90`, `90s`, `10m`, `1.5h`, `1d`. Converts to seconds.

    A decimal number needs a unit, because `18.30` looks like a time of day.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        match = re.fullmatch(r"([0-9]{1,12}|[0-9]{1,12}\.[0-9]{1,9}(?=[smhd]))([smhd]?)", str(value).strip())
        if not match and re.fullmatch(r"[0-9]+[.,][0-9]+", str(value).strip()):
            self.fail(f"{str(value)[:40]!r} has no unit; write a length of time as 90s, 10m, 1.5h or 1d", param, ctx)
        if not match:
            self.fail(f"{str(value)[:40]!r} is not a length of time such as 90s, 10m, 2h or 1d", param, ctx)
        seconds = float(match[1]) * _UNITS[match[2]]
        if seconds > _MAX_SECONDS:
            self.fail(f"{str(value)[:40]!r} is longer than a hundred years", param, ctx)
        return seconds


class StartBy(Seconds):
    """A length of time, or `never`, which converts to infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        return math.inf if str(value).strip() == "never" else super().convert(value, param, ctx)


class TextFile(click.File):
    """A UTF-8 text file, or `-` for standard input. Converts to its text."""

    name = "file"

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text; a file that cannot be read is a usage error."""
        stream = super().convert(value, param, ctx)
        try:
            lines: list[str] = stream.read().decode("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{str(value)!r} is not a readable UTF-8 text file: {error}", param, ctx)
        return "\n".join(lines)


class Instant(click.ParamType[float]):
    """A time in ISO 8601, e.g. `2026-12-24T18:00+01:00`, by default in this machine's zone. Converts to seconds."""

    name = "datetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds since 1970-01-01 UTC."""
        from tenxsom_flow_engine.errors import InvalidInput
        from tenxsom_flow_engine.planning.timestamps import parse_moment

        try:
            return parse_moment(str(value))
        except InvalidInput as error:
            self.fail(error.reason, param, ctx)


class Moment(NamedTuple):
    """A time before now in seconds, or else an instant."""

    before_now: float | None = None
    at: float = 0.0


class PastInstant(click.ParamType[Moment]):
    """A length of time before now, as in `Seconds`, or a time as in `Instant`. `instant` converts it to seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        """Return a moment."""
        if re.fullmatch(r"[0-9.]+[smhd]", str(value).strip()):
            return Moment(before_now=Seconds().convert(value, param, ctx))
        return Moment(at=Instant().convert(value, param, ctx))


def instant(moment: Moment | None, now: float) -> float | None:
    """Return an instant in seconds since 1970-01-01 UTC; None for None."""
    if moment is None:
        return None
    return moment.at if moment.before_now is None else now - moment.before_now


def services(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a service."""
    return completion.services(incomplete)


def channels(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a channel."""
    return completion.channels(queue_type_of(ctx), incomplete)


def queue_type_of(ctx: click.Context) -> str | None:
    """Return the value of `--queue-type` of a command, or else of its group."""
    found: str | None = ctx.params.get("queue_type")
    return found or (queue_type_of(ctx.parent) if ctx.parent else None)


def _aspect_ratios(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from tenxsom_flow_engine.jobs import ASPECT_RATIOS

    return [ratio for ratio in ASPECT_RATIOS if ratio.startswith(incomplete)]


def _styles(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from tenxsom_flow_engine.jobs import STYLES

    return [style for style in STYLES if style.startswith(incomplete)]


def _queue_types(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from tenxsom_flow_engine.queues.selection import QUEUE_TYPES

    return [name for name in ("auto", *QUEUE_TYPES) if name.startswith(incomplete)]


def _known_jobs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return completion.job_ids(queue_type_of(ctx), incomplete)


def job_options(command: _F) -> _F:
    """Add the options of all commands that add jobs: a job's fields, `--dry-run`, `--queue-type` and `--json`."""
    return job_fields(
        click.option(
            "--channel",
            default="",
            help="Tag for the jobs of one publishing channel, whose defaults apply.",
            shell_complete=channels,
        )(command)
    )


def job_fields(command: _F) -> _F:
    """Add the same options without `--channel`."""
    for option in (
        as_json,
        queue_type,
        click.option("--dry-run", is_flag=True, help="Check everything and show the plan; add nothing."),
        click.option(
            "--priority", type=click.IntRange(0, 9), default=0,
            help="0 to 9: move due jobs forward among those of their channel, 10 min a level.",
        ),
        click.option("--quality", default="", help="Quality, e.g. 720p. Default: the service's default."),
        click.option(
            "--service", default="auto", show_default=True,
            help="The video service; auto chooses the one whose quota opens first.", shell_complete=services
        ),
        click.option(
            "--aspect-ratio", default="9:16", show_default=True, help="Shape of the picture: 9:16, 16:9, 1:1, …",
            shell_complete=_aspect_ratios,
        ),
        click.option(
            "--style", default="documentary", show_default=True, shell_complete=_styles,
            help="Visual style of the video: documentary, cinematic, explainer, animation, retro.",
        ),
        click.option(
            "--duration", type=int,
            help="Length of the video in seconds. Default: 5, or the time to read a draft or to speak a script.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def job_changes(command: _F) -> _F:
    """Add the options that change fields of a job."""
    for option in (
        click.option("--to-service", help="Make it at this service, or at any with auto.", shell_complete=services),
        click.option("--quality", help="New quality."),
        click.option("--aspect-ratio", help="New shape of the picture.", shell_complete=_aspect_ratios),
        click.option("--duration", type=int, help="New length of the video in seconds."),
        click.option("--style", help="New visual style of the prompt.", shell_complete=_styles),
        click.option("--script", help="New words of the video, which drafts show and HeyGen speaks."),
        click.option("--prompt", help="New prompt; empty: made from topic and style."),
        click.option("--topic", help="New topic."),
    ):
        command = option(command)
    return command


def changed(fields: dict[str, Any], to_service: str | None) -> dict[str, Any]:
    """Return the changed fields of a job, from the values of `job_changes` without the script."""
    return {name: value for name, value in {**fields, "service": to_service}.items() if value is not None}


def file_options(command: _F) -> _F:
    """Add the options of all commands that read a file of topics: `--ignore-unknown` and `--encoding`."""
    command = click.option(
        "--encoding", metavar="NAME", help="Encoding of the file, e.g. windows-1252. Default: UTF-8 or UTF-16."
    )(command)
    return click.option("--ignore-unknown", is_flag=True, help="Leave out columns and JSON fields that are unknown.")(
        command
    )


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the values of `job_options` that were given, so that those of the channel apply to the others."""
    source = click.get_current_context().get_parameter_source
    return {name: value for name, value in fields.items() if source(name) is not ParameterSource.DEFAULT}


#: Add the argument JOB, or any number of them.
job_argument = click.argument("job_id", metavar="JOB", shell_complete=_known_jobs)
job_arguments = click.argument("job_ids", metavar="[JOB]...", nargs=-1, shell_complete=_known_jobs)

#: Add `--yes`.
yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")

#: Add `--delay`.
delay = click.option("--delay", type=Seconds(), help="Start after this time: 90s, 10m, 2h, 1d.")

#: Add `--start-by`.
start_by = click.option(
    "--start-by", type=Seconds(), metavar="TIME",
    help="Expire a job that has bought nothing this long after it is due: 6h. Default: never.",
)  # fmt: skip

#: Add `--unless-made-within`.
unless_made_within = click.option(
    "--unless-made-within", "made_within", type=Seconds(),
    help="Skip topics whose video the channel has planned, or made within this time: 30d.",
)  # fmt: skip

#: Add `--host`, for servers.
host = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all.")

#: Add `--log-level`, for processes that log.
log_level = click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS),
    default="info",
    show_default=True,
    help="The lowest level to log.",
)


def job_filters(command: _F) -> _F:
    """Add `--service` and `--channel`, which select jobs."""
    command = click.option("--channel", help="Only jobs of this channel.", shell_complete=channels)(command)
    return click.option("--service", help="Only jobs of this service.", shell_complete=services)(command)


def queue_type(command: _F) -> _F:
    """Add `--queue-type`."""
    return click.option(
        "--queue-type",
        metavar="TYPE",
        help="Queue backend: auto, cloud_tasks, redis or local. Overrides TENXSOM_QUEUE_TYPE.",
        shell_complete=_queue_types,
    )(command)


def as_json(command: _F) -> _F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)
