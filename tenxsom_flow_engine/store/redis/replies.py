"""The replies of a Redis server: a reply that does not fit its command is an error of the tree, not of Python.

Another program can listen at the address, and a proxy or a driver can answer out of order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import redis
from redis.client import Pipeline

#: A number as text, as the scripts return instants.
_Number = Annotated[str, msgspec.Meta(pattern=r"^-?\d+(\.\d+)?(e[+-]?\d+)?$")]
#: The replies of the scripts, by name; a script that is not listed returns nothing that is used.
_SCRIPTS: dict[str, Any] = {
    "acquire_lock": int,
    "add": str,
    "adopt": int,
    "amounts": list[_Number],
    "claim": tuple[list[str], list[str], str, _Number, str],
    "commit": list[Any],
    "enter_turns": list[str],
    "freeze": list[str],
    "intake": tuple[int, int],
    "newest": tuple[int, str],
    "now": _Number,
    "read": tuple[str | None, str | None, _Number],
    "remove": int,
    "renew": list[str],
    "replay_rows": int,
    "set_channel": int,
    "set_queue": int,
    "settle_rows": int,
    "swap_endpoint": int,
    "take_rows": list[str],
    "trim_rows": int,
}
#: Those of the ledger.
LEDGER_SCRIPTS: dict[str, Any] = {
    "answered": tuple[_Number, int],
    "ask": str,
    "gate": tuple[_Number, str, list[str]],
    "snapshot": tuple[_Number, list[str], list[str], int, list[str]],
}
#: The errors that the driver raises for a reply that it cannot parse or convert.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def checked(name: str, reply: Any, scripts: dict[str, Any] = _SCRIPTS) -> Any:
    """Return the reply of a script. Raises `redis.exceptions.InvalidResponse` if it has another form."""
    try:
        return msgspec.convert(reply, scripts.get(name, Any))
    except (msgspec.ValidationError, UnicodeError) as error:
        raise redis.exceptions.InvalidResponse(f"its reply to the script {name} has the wrong form: {error}") from error


class Client(redis.Redis):
    """The driver's client, whose errors about unreadable replies are errors of the driver."""

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command, after connecting if necessary, and return its reply."""
        with readable():
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """Read a reply."""
        with readable(connection):
            return super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Return a pipeline with the same errors."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Pipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> Any:
        with readable():
            return super().execute(raise_on_error)

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        with readable(connection):
            return super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]


@contextmanager
def readable(connection: Any = None) -> Iterator[None]:
    """Raise `InvalidResponse` for a reply that the driver cannot read, and close its connection."""
    try:
        yield
    except _UNREADABLE as error:
        if connection is not None:
            connection.disconnect()  # what follows can belong to another command
        raise redis.exceptions.InvalidResponse(f"its reply cannot be read: {error}") from error
