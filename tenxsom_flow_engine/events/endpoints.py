"""The endpoint: who gets messages about which events. A webhook, an alert, or the command of `TENXSOM_ON_VIDEO`."""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import urlsplit

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.events.links import LIFETIME, signed
from tenxsom_flow_engine.events.model import FAMILIES, Event, EventType, body

#: The most endpoints of a store: each costs a row for each event.
MAX_ENDPOINTS = 50
MAX_URL = 2000
#: Levels of verdicts in `verdict.*` events (see `report.verdicts`).
PROBLEM = "problem"
#: The only endpoint of the kind `command`.
ON_VIDEO = "on-video"


class EndpointKind(StrEnum):
    """How messages are delivered."""

    WEBHOOK = "webhook"  # an HTTP POST, signed as in Standard Webhooks
    ALERT = "alert"  # a notification by Apprise, about verdicts only
    COMMAND = "command"  # a program on a worker's machine, for finished videos only


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An endpoint as it is stored, with its secrets: only `shown_url` is for people. Instants in seconds since 1970."""

    id: str
    kind: EndpointKind
    #: Empty for a command, which is a setting of the workers.
    url: str = ""
    #: The types that it gets: `job.held`, `job.*`; empty: all.
    events: tuple[str, ...] = ()
    #: It gets only the events of this channel; empty: all.
    channel: str = ""
    #: The secret that signs its messages, and the one before it, until an instant.
    secret: str = ""
    old_secret: str = ""
    old_secret_until: float = 0.0
    #: For an alert: seconds that a verdict must last, and whether notices count as well as problems.
    after: float = 0.0
    notices: bool = False
    created_at: float = 0.0
    #: Why it gets no messages any more; empty: it does.
    disabled: str = ""

    @property
    def shown_url(self) -> str:
        """The address without the parts that can be secrets."""
        return hidden_url(self.url) if self.url else ON_VIDEO

    @property
    def text(self) -> str:
        """The endpoint as JSON, for a store."""
        return msgspec.json.encode(self).decode()

    def secrets(self, now: float) -> tuple[str, ...]:
        """Return the secrets that sign a message now."""
        return (self.secret, self.old_secret) if self.old_secret and now < self.old_secret_until else (self.secret,)

    @property
    def wants_verdicts(self) -> bool:
        """Whether it gets messages about verdicts."""
        if self.disabled or self.channel or self.kind is EndpointKind.COMMAND:
            return False
        named = any(name.startswith("verdict.") for name in self.events)
        return self.kind is EndpointKind.ALERT or not self.events or named

    def wants(self, event: Event) -> bool:
        """Return whether it gets a message about an event."""
        if self.disabled or (self.channel and event.channel != self.channel):
            return False
        match self.kind:
            case EndpointKind.COMMAND:
                return event.type is EventType.JOB_SUCCEEDED
            case EndpointKind.ALERT:
                lasted = event.data.get("lasted_seconds")
                counts = self.notices or event.data.get("level") == PROBLEM
                # The end of an incident is of interest if its beginning was reported.
                return event.type.family == "verdict" and counts and (lasted is None or lasted >= self.after)
            case EndpointKind.WEBHOOK:
                return not self.events or event.type in self.events or f"{event.type.family}.*" in self.events

    def due(self, event: Event) -> float:
        """Return when its message about an event is due: an alert waits until a verdict has lasted long enough."""
        return event.at + (self.after if event.type is EventType.VERDICT_RAISED else 0.0)

    def body(self, event: Event) -> str:
        """Return its message about an event.

        A command gets the JSON of the job, with the path of its video; a webhook gets a link to the video.
        """
        if self.kind is EndpointKind.COMMAND:
            return msgspec.json.encode({**event.data, **event.local}).decode()
        if self.kind is EndpointKind.WEBHOOK and (video := event.data.get("video")):
            until = int(event.at) + LIFETIME
            link = signed(video["href"], event.subject, endpoint_id=self.id, secret=self.secret, until=until)
            return body(event.type, event.at, {**event.data, "video": {**video, "href": link}})
        return event.body


def parse_endpoint(text: str | bytes) -> Endpoint:
    """Read an endpoint from JSON. Raises `ValueError` for anything else."""
    return msgspec.json.decode(text, type=Endpoint)


def parse_events(text: str) -> tuple[str, ...]:
    """Parse types of events such as `job.*,budget.100`; `*` and nothing mean all. Raises `InvalidInput`."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    known = {*EventType, *(f"{family}.*" for family in FAMILIES), "*"}
    if unknown := [name for name in names if name not in known]:
        raise InvalidInput(
            "events", f"{unknown[0][:60]!r} is no type of event", next_step=f"use some of: {', '.join(sorted(known))}"
        )
    return () if "*" in names else names


def check_webhook_url(url: str, *, allow_private: bool) -> str:
    """Return the URL of a webhook. Raises `InvalidInput`, whose message does not contain it."""
    try:
        parts = urlsplit(url)
        fine = bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0 and url.isprintable()
    except ValueError:
        fine = False
    if not fine or len(url) > MAX_URL or " " in url:
        raise InvalidInput("url", "is not a valid address without a user name", next_step="write https://HOST/PATH")
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise InvalidInput(
            "url",
            "must begin with https://",
            next_step="for a receiver on this machine or network, set TENXSOM_ALLOW_PRIVATE_WEBHOOKS=1",
        )
    return url


def hidden_url(url: str) -> str:
    """Return a URL for people: the scheme, for HTTP also the host, and dots for the rest, which can be a secret."""
    scheme, mark, rest = url.partition("://")
    if not mark or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,30}", scheme):
        return "…"
    if scheme not in ("http", "https"):
        return f"{scheme}://…"
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{host}/…"
