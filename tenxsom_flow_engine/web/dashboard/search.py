"""A search for jobs, read from and written to an address, so that it can be bookmarked and shared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from werkzeug.datastructures import MultiDict

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.values import JobFilter

_DAY = 86400


@dataclass(frozen=True, slots=True)
class Search:
    """The fields of the form; empty ones do not restrict."""

    statuses: tuple[Status, ...] = ()
    service: str = ""
    channel: str = ""
    #: An ISO 8601 date, in UTC.
    day: str = ""
    text: str = ""

    @classmethod
    def read(cls, fields: MultiDict[str, str]) -> Search:
        """Read the fields of an address or form. Raises `InvalidInput`."""
        names = dict.fromkeys(name for name in fields.getlist("status") if name)
        if unknown := [name for name in names if name not in set(Status)]:
            raise InvalidInput("status", f"has no value {unknown[0][:40]!r}")
        day = fields.get("day", "").strip()
        if day and not _is_day(day):
            raise InvalidInput("day", f"{day[:40]!r} is not a day such as 2026-12-24")
        plain = {name: fields.get(name, "").strip()[:200] for name in ("service", "channel", "text")}
        return cls(tuple(map(Status, names)), day=day, **plain)

    def __bool__(self) -> bool:
        return self != Search()

    @property
    def jobs(self) -> JobFilter:
        """The filter for the store."""
        begin = (
            datetime.combine(date.fromisoformat(self.day), datetime.min.time(), UTC).timestamp() if self.day else None
        )
        return JobFilter(
            statuses=self.statuses,
            service=self.service or None,
            channel=self.channel or None,
            text=self.text or None,
            added_from=begin,
            added_before=None if begin is None else begin + _DAY,
        )

    @property
    def fields(self) -> dict[str, Any]:
        """The query parameters of this search: strings, and a list of strings."""
        names: dict[str, Any] = {"status": [str(status) for status in self.statuses]}
        names |= {"service": self.service, "channel": self.channel, "day": self.day, "text": self.text}
        return {name: value for name, value in names.items() if value}

    def of(self, *statuses: Status) -> Search:
        """Return the same search with other statuses."""
        return replace(self, statuses=statuses)

    @property
    def words(self) -> str:
        """A description of the search: `failed jobs of channel sea, added on 2026-12-24 (UTC)`."""
        kind = f"{' or '.join(self.statuses)} jobs" if self.statuses else "jobs"
        parts = [f"of channel {self.channel}"] if self.channel else []
        parts += [f"at {self.service}"] if self.service else []
        parts += [f"with “{self.text}” in topic or id"] if self.text else []
        parts += [f"added on {self.day} (UTC)"] if self.day else []
        return " ".join([kind, ", ".join(parts)]).strip()


def _is_day(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text)) and date.fromisoformat(text).year >= 1970
    except ValueError:
        return False
