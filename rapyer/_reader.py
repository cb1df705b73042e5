"""redis-py's own parser as callbacks, for where hiredis is not installed."""

from __future__ import annotations

from typing import Any

from redis._parsers.hiredis import NOT_ENOUGH_DATA as NOTHING
from redis.exceptions import ConnectionError as RedisConnectionError

__all__ = ["NOTHING", "PureReader"]


class PureReader:
    """redis-py's own parser, used like `hiredis.Reader`.

    The parser waits for its stream to have more. It is carried on here, whenever there is more.
    """

    def __init__(self, parser: Any, stream: Any) -> None:
        self._parser = parser
        self._stream = stream
        self._reading: Any = None

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._stream.feed_data(data)

    def gets(self, _decode: bool) -> Any:  # noqa: FBT001 - as hiredis has it
        """Return a reply, or `NOTHING` while it is incomplete."""
        if self._reading is None:
            if not self._stream._buffer:
                return NOTHING  # beginning to wait costs more than most replies
            self._reading = self._parser.read_response(disable_decoding=True)
        try:
            self._reading.send(None)
        except StopIteration as done:
            self._reading = None
            return done.value
        except RedisConnectionError as error:  # an error reply of that class is raised, others are returned
            self._reading = None
            return error
        return NOTHING
