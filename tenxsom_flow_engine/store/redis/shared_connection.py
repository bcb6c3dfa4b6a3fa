"""One connection for the commands of all threads: those sent at the same time share a round trip."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import redis

from tenxsom_flow_engine.store.combining import Combiner
from tenxsom_flow_engine.store.redis.replies import readable
from tenxsom_flow_engine.store.redis.server_errors import DEMOTED, code_of


class SharedConnection:
    """A connection of the driver, used without its pool: that takes a third of the processor time of a command.

    `make` returns a connection that is not open yet. Thread-safe, and safe to use after a fork.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._connection = make()
        self._owner = os.getpid()
        self._execute = Combiner(self._exchange)

    def execute(self, *command: object) -> Any:
        """Send a command and return its reply. Raises the driver's errors."""
        # Packed here, so that an argument that cannot be encoded fails no command of another thread.
        return self._execute(b"".join(self._connection.pack_command(*command)))

    def close(self) -> None:
        """Close the connection; commands under way fail. The next command opens it again."""
        if self._owner == os.getpid():
            self._connection.disconnect()

    def _exchange(self, commands: Sequence[bytes]) -> Sequence[Any]:
        """Send commands and return their replies; a reply can be an error of the driver."""
        if self._owner != os.getpid():  # after a fork the socket belongs to the parent
            self._connection, self._owner = self._make(), os.getpid()
        connection = self._connection
        replies: list[Any] = []
        try:
            with readable(connection):
                _open(connection)
                connection.send_packed_command([b"".join(commands)])
                for _ in commands:
                    try:
                        replies.append(connection.read_response())
                    except redis.ResponseError as error:
                        replies.append(error)
        except redis.RedisError as error:
            connection.disconnect()
            replies += [error] * (len(commands) - len(replies))
        except BaseException:
            connection.disconnect()
            raise
        if any(isinstance(reply, redis.RedisError) and code_of(reply) in DEMOTED for reply in replies):
            connection.disconnect()  # the address can lead to a new primary by now
        return replies


def _open(connection: Any) -> None:
    """Open a connection, again if the server has closed it or has sent something unexpected."""
    connection.connect()
    try:
        usable = not connection.can_read()
    except redis.ConnectionError:
        usable = False
    if not usable:
        connection.disconnect()
        connection.connect()
