"""The form of `/add`: its fields as typed, their validation, and the resulting plan."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, InvalidInput
from tenxsom_flow_engine.jobs import PLAYLIST_POSITION, VideoJob
from tenxsom_flow_engine.planning.batch import Timing
from tenxsom_flow_engine.planning.entries import BadLine, UnknownFields, read_options, read_whole
from tenxsom_flow_engine.planning.files import as_line
from tenxsom_flow_engine.planning.past import GRACE_SECONDS, Past
from tenxsom_flow_engine.planning.plan import AddPlan, read_plan
from tenxsom_flow_engine.planning.slots import parse_rate
from tenxsom_flow_engine.planning.timestamps import parse_moment

#: Fields of a job; they apply to every topic that does not set them.
_JOB = ("service", "duration", "aspect_ratio", "style", "quality", "channel", "prompt", "script", "options")
#: All fields with the values of an empty form: the defaults of the command line. Each form gets a random salt, so that
#: submitting it twice adds its duplicates once.
BLANK: Mapping[str, str] = dict.fromkeys(
    ("topics", *_JOB, "start", "per_hour", "past", "again", "ignore_unknown", "salt"), ""
) | {
    "service": "auto", "aspect_ratio": "9:16", "style": "documentary"
}  # fmt: skip
#: Limits of one request: lines, and characters. The command `batch` has no such limits.
MOST_LINES, MOST_TEXT = 5000, 1_000_000
_IGNORE = "rename or remove it, or select “Ignore unknown columns and fields”"
FROM_A_FILE = "put them into a file and add it with the command batch (see docs/cli.md)"

#: The values of a form as typed, by field.
Typed = Mapping[str, str]


class WrongFields(FlowError):
    """Some fields of a form are invalid: the reasons by field, and the invalid lines of the topics."""

    code = "wrong_fields"

    def __init__(self, by_field: Mapping[str, str], bad: Sequence[BadLine] = ()) -> None:
        super().__init__(f"invalid fields: {', '.join(by_field)}")
        self.by_field = by_field
        self.bad = bad


def as_typed(given: Mapping[str, str]) -> Typed:
    """Return the form's fields from a request; a missing field has the value of an empty form."""
    # Browsers send a line break as CR LF.
    plain = {name: given.get(name, blank).replace("\r\n", "\n") for name, blank in BLANK.items()}
    return {name: text.replace("\r", "\n") for name, text in plain.items()}


def copy_of(job: VideoJob) -> Typed:
    """Return a form filled in with the settings of a job."""
    options = {service: own for service, own in job.options.items() if service != PLAYLIST_POSITION}
    return {
        **BLANK,
        **{name: str(getattr(job, name)) for name in _JOB},
        "topics": as_line(job.topic),
        "options": json.dumps(options, indent=2, ensure_ascii=False) if options else "",
        "again": "on",
    }


def plan_form(engine: Engine, typed: Typed, now: float) -> AddPlan:
    """Return the plan of a form at an instant; the result is deterministic. Raises `WrongFields` with all of them."""
    wrong: dict[str, str] = {}

    @contextmanager
    def noting(field: str) -> Iterator[None]:
        try:
            yield
        except InvalidInput as error:
            step = _IGNORE if isinstance(error, UnknownFields) else error.next_step
            wrong.setdefault(field, f"{error.reason}; {step}" if step else error.reason)

    fields: dict[str, Any] = {}
    for name in _JOB:
        if name == "duration" and not typed[name].strip():
            continue
        with noting(name):
            fields[name] = _READ.get(name, str.strip)(typed[name])
            VideoJob(job_id="x", topic="x", created_at=now, **{name: fields[name]})
    if not fields.get("options"):
        fields.pop("options", None)  # ids are hashes of the content, and lists without options omit the key
    start, stagger = None, 0.0
    with noting("start"):
        start = _start(typed["start"], now)
    with noting("per_hour"):
        stagger = float(3600 / parse_rate(typed["per_hour"])) if typed["per_hour"].strip() else 0.0
    past = Past.REFUSE
    with noting("past"):
        past = _past(typed["past"])
    with noting("topics"):
        _check_size(typed["topics"])
    if wrong:
        raise WrongFields(wrong)
    plan = AddPlan([])
    with noting("topics"):
        stream: io.BufferedReader = io.BufferedReader(io.BytesIO(typed["topics"].encode()))
        timing = Timing(now, start, stagger, past)
        salt = typed["salt"] if typed["again"] else ""
        plan = read_plan(
            engine.prepare, engine.store, stream, "topics", fields, timing,
            salt=salt, zone=UTC, ignore_unknown=bool(typed["ignore_unknown"]), most=MOST_LINES,
            at_default_duration=engine.at_default_duration,
        )  # fmt: skip
        if not plan.jobs and not plan.bad and not plan.past:
            raise InvalidInput("topics", "are empty", next_step="write one per line")
    for name in ("prompt", "script"):
        with noting(name):
            _check_for_one_video(name, fields[name], plan)
    if not plan.jobs and not plan.past:
        for line in plan.bad:
            wrong.setdefault(line.default or "topics", line.default_reason or "have no valid line")
    if wrong:
        raise WrongFields(wrong, plan.bad)
    return plan


#: Readers of the fields that are not plain text.
_READ: Mapping[str, Callable[[str], Any]] = {
    "duration": lambda text: read_whole("duration", text),
    "options": read_options,
}


def _past(text: str) -> Past:
    try:
        return Past(text or Past.REFUSE)
    except ValueError:
        raise InvalidInput("past", f"must be now or skip, not {text[:40]!r}") from None


def _start(text: str, now: float) -> float | None:
    if not text.strip():
        return None
    start = parse_moment(text, "start", UTC)
    if start < now - GRACE_SECONDS:  # the field has a resolution of one minute
        raise InvalidInput("start", f"is in the past: it is {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC now")
    return start


def _check_for_one_video(field: str, text: str, plan: AddPlan) -> None:
    """Reject one prompt or script for several topics, which would make the same video several times."""
    same = sum(getattr(item.new.job, field) == text for item in plan.jobs) if text else 0
    if same > 1:
        step = f"set a {field} per line with CSV or JSON lines"
        raise InvalidInput(field, f"is for one video, but {same:,} would use it", next_step=step)


def _check_size(text: str) -> None:
    if len(text) > MOST_TEXT:
        raise InvalidInput("topics", f"are more than {MOST_TEXT:,} characters", next_step=FROM_A_FILE)
    lines = sum(bool(line.strip()) for line in text.split("\n"))
    if lines > MOST_LINES:
        raise InvalidInput(
            "topics", f"have {lines:,} lines; the maximum is {MOST_LINES:,} per request", next_step=FROM_A_FILE
        )
