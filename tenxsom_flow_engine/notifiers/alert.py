"""Alerts to people, by Apprise: chat, mail, telephone. Its address contains secrets, so nothing here shows it."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
from tenxsom_flow_engine.events import Endpoint, EventType
from tenxsom_flow_engine.events.outbox import Message
from tenxsom_flow_engine.notifiers.base import Answer
from tenxsom_flow_engine.text import rough_duration

EXTRA = "alerts"


class AlertNotifier:
    """Sends alerts. The library limits the time of each of its requests to some seconds."""

    at_once = 1
    seconds = 120.0

    def send(self, endpoint: Endpoint, message: Message) -> Answer:
        """Make one attempt."""
        try:
            target = _target(endpoint.url)
        except (ConfigurationError, InvalidInput) as error:
            return Answer(False, str(error), down=True)
        title, text, kind = words(message)
        try:
            sent = target.notify(title=title, body=text, notify_type=kind)
        except Exception as error:  # of any of its many plug-ins; the message could contain the address
            return Answer(False, f"the notification service failed: {type(error).__name__}", down=True)
        return Answer(True, "sent") if sent else Answer(False, "the notification service did not accept it", down=True)


def check_url(url: str) -> str:
    """Return the address of an alert. Raises `InvalidInput` without it, `ConfigurationError` without the library."""
    _target(url)
    return url


def words(message: Message) -> tuple[str, str, str]:
    """Return the title, the text and the kind (`warning`, `failure`, `success` or `info`) of a message."""
    body = msgspec.json.decode(message.body)
    data: dict[str, Any] = body["data"]
    see = f"\n{data['see']}" if data.get("see") else ""
    match body["type"]:
        case EventType.VERDICT_RAISED:
            kind = "failure" if data["level"] == "problem" else "warning"
            return f"Tenxsom Flow: {data['code']}", f"{data['text']}; since {data['since']}{see}", kind
        case EventType.VERDICT_CLEARED:
            lasted = rough_duration(data["lasted_seconds"])
            return f"Tenxsom Flow: {data['code']} is over", f"Over after {lasted}: {data['text']}", "success"
        case _:
            return "Tenxsom Flow: test", "This is a test. Alerts about problems arrive like this one.", "info"


def _target(url: str) -> Any:
    # Its plug-ins log addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    try:
        import apprise
    except ImportError as error:
        raise ConfigurationError(
            "alerts need the package apprise", next_step=f'pip install "tenxsom-flow-engine[{EXTRA}]"'
        ) from error
    target = apprise.Apprise()
    if not target.add(url):
        raise InvalidInput("url", "is no address that Apprise knows", next_step="see docs/webhooks.md#alerts")
    return target
