"""An open connection as callbacks: bytes are written as they are, replies are handed to those who wait, in order.

Rules:
- redis-py's own connection opens it: address, TLS, users, protocol version, database and name are as configured. Then
  its transport is taken over, so that a reply costs neither a task nor a wait of its own.
- What came in before the take-over is parsed first; a push message is nobody's reply and is passed over.
- A command counts as sent once the transport has its bytes, in part or in whole.
- hiredis and redis-py's own parser are read from in the same way.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, InvalidResponse, MasterDownError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from rapyer._reader import NOTHING, PureReader
from rapyer._sentinel import PoolOptions
from rapyer._tasks import giver
from rapyer._vigil import Vigil

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes that wait in the transport above which no more are given to it until the server took most of them.
HIGH_WATER = 1 << 20
#: Commands larger than this are written by themselves instead of being copied into one buffer with others.
LARGE = 1 << 16
#: Looks at the connection within one `socket_timeout`.
TICKS = 4
#: Replies that say that the server cannot serve now and that nothing ran: the command goes to the next connection.
REFUSALS = (BusyLoadingError, ReadOnlyError, MasterDownError)

# Recommended, not required.
_hiredis: Any = import_module("hiredis") if find_spec("hiredis") else None
_PUSH: tuple[type[Any], ...] = (_hiredis.PushNotification,) if hasattr(_hiredis, "PushNotification") else ()
_ODD: tuple[type[Any], ...] = (Exception, *_PUSH)


class Call(asyncio.Future[Any]):
    """One command on its way: its caller awaits it.

    Attributes:
        packed: its bytes.
        repeatable: whether it may run twice.
        tries: how many connections failed it.
        first: a command to be written directly before it, whose reply is nobody's.
        until: when it may be sent for the last time, by the loop's clock.
        unsure: whether it was sent and not answered, and may have run.
    """

    __slots__ = ("packed", "repeatable")

    packed: bytes
    repeatable: bool
    # Seldom another value, so no call sets them: where one is, it goes into the dictionary that every future may have.
    future = None
    tries = 0
    first = b""
    until = math.inf
    unsure = False

    # As a lane calls it: what it sends may have several callers.
    given_up = asyncio.Future.done
    answer = asyncio.Future.set_result

    def fail(self, error: BaseException) -> None:
        """Give the caller an error, if there still is a caller."""
        if not self.done():
            self.set_exception(error)
            self.exception()  # a caller that is cancelled meanwhile is no reason for a message in the log

    def over(self) -> bool:
        """Whether the failure it just had is its last, however often it was tried."""
        return False

    def callers(self) -> int:
        """Return how many wait for it."""
        return int(not self.done())


class Sendable(Protocol):
    """What a lane sends: a call, or several as one; the attributes are those of `Call`.

    Attributes:
        future: the only one that waits for the reply, as it is; None where `answer` has to be asked.
    """

    future: Any

    tries: int
    unsure: bool

    @property
    def first(self) -> bytes: ...

    @property
    def until(self) -> float: ...

    @property
    def packed(self) -> bytes: ...

    @property
    def repeatable(self) -> bool: ...

    def given_up(self) -> bool: ...

    def over(self) -> bool: ...

    def answer(self, result: Any, /) -> None: ...

    def fail(self, error: BaseException) -> None: ...

    def callers(self) -> int: ...


class Owner(Protocol):
    """Who is told what happens to a wire."""

    def flush(self) -> None:
        """More may be written."""

    def expect(self) -> None:
        """Several callers got their replies: they may have more to send within this turn of the loop."""

    def lost(self, wire: Wire, error: BaseException) -> None:
        """Nothing comes any more; what is in `sent` and `refused` has no answer."""


async def open_wire(pool: Any, owner: Owner) -> Wire:
    """Connect as the pool's own connections do, without their repetitions.

    Raises:
        RedisError, OSError: there is no connection; whatever else the user's own parts raise.
    """
    connection = await connected(pool)
    try:
        return Wire(connection, owner)
    except BaseException:
        hang_up(connection)
        raise


async def connected(pool: Any, **more: Any) -> Any:
    """Return a new connection of redis-py's, which a pool's options and some more describe; see `open_wire`."""
    connection = None
    try:
        async with PoolOptions(pool) as options:
            connection = pool.connection_class(**{**plain(options), **more})
            connection.retry = Retry(NoBackoff(), 0)
            await connection.connect()
    except BaseException as error:
        if connection is not None:
            hang_up(connection)
        cause = error.__cause__
        if cause is not None and error.args == (cause,) and not isinstance(cause, OSError):
            raise cause from None  # by unix sockets redis-py wraps whatever it meets, a refused login, too
        raise
    return connection


def hang_up(connection: Any) -> None:
    """Close one of redis-py's connections for good and at once: the loop may end before TLS had its goodbye."""
    writer = connection._writer
    if writer is not None:
        connection._writer = connection._reader = None
        writer.transport.abort()


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without maintenance notifications: redis-py reacts to them in its pool, which is not used."""
    return {name: value for name, value in options.items() if not name.startswith("maint_notifications")}


class Wire(asyncio.Protocol):
    """An open connection.

    Attributes:
        sent: calls without an answer yet, in order.
        refused: calls that the server could not serve now; there are no more to be sent then.
        paused: whether nothing is to be sent: the server is behind, or the connection is given up.
        answered: whether the server ever said anything.
    """

    def __init__(self, connection: Any, owner: Owner) -> None:
        self.sent: deque[Sendable] = deque()
        self.refused: list[Sendable] = []
        self.paused = False
        self.answered = False
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._limit: float | None = connection.socket_timeout or None
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = 0
        self._left = 0
        self._progress = False
        self._error: BaseException | None = None
        self._take_over(connection)

    def __repr__(self) -> str:
        """Tell where it goes and how many calls are on their way."""
        return f"<Wire to {self._transport.get_extra_info('peername')}, {len(self.sent)} sent>"

    def _take_over(self, connection: Any) -> None:
        # redis-py has no public way to write without waiting, nor to be told of replies.
        writer, stream, parser = connection._writer, connection._reader, connection._parser
        if writer.transport.is_closing() or stream._eof:
            msg = "the server closed the connection at once"
            raise RedisConnectionError(msg)
        connection._writer = connection._reader = None
        self._transport: asyncio.Transport = writer.transport
        tls: Any = getattr(writer.transport, "_ssl_protocol", None)
        self._socket_side: Any = writer.transport if tls is None else tls._transport
        writer._transport = _Closed  # a writer closes its transport when it is collected
        self._vigil = Vigil(self._loop, self.sent, self._socket_side)
        reader = getattr(parser, "_reader", None)  # hiredis; what it has is not lost
        early = bytes(stream._buffer) if reader else b""
        self._reader: Any = reader or PureReader(parser, stream)
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self.data_received(early)
        self.answered = False

    # -- out -----------------------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether bytes written now may reach the server."""
        return not (self.paused or self._transport.is_closing())

    def write(self, data: bytes) -> None:
        """Write the bytes of calls that are in `sent` by now."""
        self._transport.write(data)
        self._vigil.begin()
        if self._timer is None and self._limit:
            self._quiet = 0
            self._watch()

    def pause_writing(self) -> None:
        """Wait: the server is behind."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on: the server took most of what there was."""
        self.paused = bool(self.refused)
        self._owner.flush()

    # -- in ------------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are complete."""
        self._progress = self.answered = True
        before = len(self.sent)
        try:
            self._parse(data)
        except (RedisError, ValueError, IndexError) as error:
            self.abort(InvalidResponse(f"the server does not speak the protocol: {error!r}"))
        except (KeyboardInterrupt, SystemExit):  # a signal's; nobody knows whose answer comes next
            self.abort(RedisConnectionError("the program was interrupted while it read an answer"))
            raise
        if before - len(self.sent) > 1:
            self._owner.expect()
        if self.refused and not self.sent:
            self._transport.abort()

    def _parse(self, data: bytes) -> None:
        reader, sent, give = self._reader, self.sent, giver()
        reader.feed(data)
        gets = reader.gets
        while (reply := gets(False)) is not NOTHING:  # noqa: FBT003 - it takes no names: no decoding
            if isinstance(reply, _ODD):
                self._take_odd(reply)
                continue
            call = sent.popleft()
            future = call.future
            if future is None:
                if not call.given_up():
                    call.answer(reply)
            elif not future.done():
                give(future, reply)

    def _take_odd(self, reply: Any) -> None:
        if isinstance(reply, _PUSH):
            return
        call = self.sent.popleft()
        if isinstance(reply, REFUSALS):
            self.refused.append(call)
            self._error = self._error or reply
            self.paused = True
        else:
            call.fail(reply)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._progress = False
        self._left = self._unsent()
        self._timer = self._loop.call_later((self._limit or 0) / TICKS, self._look)

    def _look(self) -> None:
        """Give the connection up when nothing came or went for the client's `socket_timeout`."""
        self._timer = None
        if not self.sent:
            return
        moved = self._progress or self._unsent() != self._left
        self._quiet = 0 if moved else self._quiet + 1
        if self._quiet >= TICKS:
            self.abort(RedisTimeoutError(f"no answer from Redis for {self._limit} s"))
        else:
            self._watch()

    def _unsent(self) -> int:
        sizes = {side: side.get_write_buffer_size() for side in (self._transport, self._socket_side)}
        return sum(sizes.values())

    def abort(self, error: BaseException) -> None:
        """Close at once; `lost` follows with this error."""
        self.paused = True
        self._error = self._error or error
        self._transport.abort()

    def eof_received(self) -> None:
        """Send nothing more: the server said its last word."""
        self.paused = True

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the owner."""
        if self._timer is not None:
            self._timer.cancel()
        self.paused = True
        self._close_outer()
        self._owner.lost(self, self._error or _as_redis_tells(error))
        if not self.gone.done():
            self.gone.set_result(None)

    def drop(self) -> None:
        """Close the socket where the loop was closed before the connection: nobody can be told any more."""
        self.sent.clear()
        try:
            self._transport.abort()
        except RuntimeError:  # the rest of it cannot be put off to a closed loop
            with suppress(RuntimeError):
                self._socket_side._call_connection_lost(None)
            self._close_outer()

    def _close_outer(self) -> None:
        """Tell a TLS transport that its socket is closed: on Python 3.10 it is not told."""
        if not self._transport.is_closing():
            self._transport.close()


def _as_redis_tells(error: Exception | None) -> RedisError:
    """Return why a connection ended, as redis-py's users expect it: what the system says is no error of theirs."""
    if isinstance(error, RedisError):
        return error
    told = RedisConnectionError(
        "the server closed the connection" if error is None else f"the connection ended: {error}"
    )
    told.__cause__ = error
    return told


class _Closed:
    """What a stream writer holds whose transport was taken away."""

    @staticmethod
    def is_closing() -> bool:
        return True
