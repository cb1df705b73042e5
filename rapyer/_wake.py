"""The subscription on one address, on which waiters of one client and event loop are woken.

Rules:
- One connection, opened with the client's own class and arguments and not taken from its pool. It lives once: until no
  channel of it is needed for some seconds, or it is lost for good.
- A channel is confirmed before the first ticket with it is queued.
- When the connection is lost it is opened again, and whoever uses it is told: messages may have been missed. So when
  the server of a cluster gives a slot away, and takes its channels back.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import AuthenticationError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from rapyer._keys import hash_slot
from rapyer._wire import connected, hang_up
from rapyer.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Collection

#: Seconds between two tries to connect in a row: doubled each time, up to the longest.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5
#: Seconds that a channel, and the connection, is kept when nobody waits.
IDLE = 5.0
#: How messages are read: as they are, however late, and nobody but this module closes the connection.
ALL_ALONG = {"disable_decoding": True, "timeout": math.inf, "disconnect_on_error": False}


class Listener(Protocol):
    """Who is woken."""

    def heard(self, message: bytes) -> None:
        """Take a message."""

    def missed(self, channels: Collection[str]) -> None:
        """Learn that messages of these channels may have been missed."""

    def deaf(self, channels: Collection[str], error: Exception) -> None:
        """Learn that there is no connection to be had for these channels here."""

    def awaited(self) -> set[str]:
        """Return the channels that are needed now."""


class Wake:
    """One connection and its channels.

    Args:
        pool: gives the connection's class and arguments.
        listener: who is woken.
        attempts: tries to connect in a row before those who wait get the error; less than 0 for no limit.
    """

    def __init__(self, pool: Any, listener: Listener, attempts: int) -> None:
        self._pool = pool
        self._listener = listener
        self._attempts = attempts
        self._failures = 0
        self._channels: dict[str, asyncio.Future[None]] = {}
        self._used: set[str] = set()
        self._parting: Counter[str] = Counter()  # what was unsubscribed and not answered
        self._connection: Any = None  # once commands can be written to it
        self.over = False
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="rapyer-wake")
        self._loop.call_later(IDLE, self._check)

    def __repr__(self) -> str:
        """Tell whether it listens, and to how much."""
        return f"<Wake {'closed' if self.over else 'open'}, {len(self._channels)} channels>"

    def listening(self, channel: str) -> bool:
        """Whether the subscription was confirmed and stands, or is being opened again."""
        confirmed = self._channels.get(channel)
        return confirmed is not None and confirmed.done()

    async def ready(self, channel: str) -> None:
        """Wait until the server has confirmed the subscription."""
        if self.over:
            msg = "the wake-up connection was closed"
            raise RedisConnectionError(msg)
        self._used.add(channel)
        confirmed = self._channels.get(channel)
        if confirmed is None:
            confirmed = self._channels[channel] = self._loop.create_future()
            self._say("SSUBSCRIBE", channel)
        await asyncio.shield(confirmed)

    def _check(self) -> None:
        if self.over:
            return
        unused = self._channels.keys() - self._used - self._listener.awaited()
        self._used.clear()
        if len(unused) == len(self._channels):
            self._channels.clear()
            self.over = self._closing = True  # who waits from now on gets a new one
            self._task.cancel()
            return
        for channel in unused:
            self.part(channel)
        self._loop.call_later(IDLE, self._check)

    def part(self, channel: str) -> None:
        """Listen to a channel no more."""
        confirmed = self._channels.pop(channel, None)
        if confirmed is not None:
            _fail(confirmed, RedisConnectionError("the wake-up channel was closed"))
            self._parting[channel] += 1
            self._say("SUNSUBSCRIBE", channel)

    def _say(self, *words: str) -> None:
        # Written at once: redis-py's own way would open a connection again that was lost this moment.
        writer = None if self._connection is None else self._connection._writer
        if writer is not None:
            writer.writelines(self._connection.pack_command(*(word.encode() for word in words)))

    async def close(self) -> None:
        """Close the connection; those who wait get an error."""
        self._closing = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # -- its own task ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        error: Exception = RedisConnectionError("the wake-up connection was closed")
        try:
            while True:
                try:
                    # The older protocol has no messages but those that were subscribed to.
                    await self._listen(await connected(self._pool, protocol=2))
                except Exception as lost:  # noqa: BLE001 - a credential provider may raise anything: waiters get it
                    error = _told(lost)
                self._failures += 1
                if 0 <= self._attempts <= self._failures or not _may_pass(error):
                    break
                await asyncio.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10)))
        finally:
            self._give_up(error)

    async def _listen(self, connection: Any) -> None:
        try:
            if self._closing:  # before Python 3.12 a cancellation may get lost while it connects
                raise asyncio.CancelledError
            await self._hear(connection)
        finally:
            self._connection = None
            hang_up(connection)

    async def _hear(self, connection: Any) -> None:
        self._parting.clear()
        self._connection = connection
        # A command for each: the channels of one command have to share a slot.
        for channel in self._channels:
            self._say("SSUBSCRIBE", channel)
        while True:
            try:
                kind, name, message = await connection.read_response(**ALL_ALONG)
            except MovedError as moved:
                self._moved(moved)
                continue
            if kind == b"smessage":
                self._listener.heard(message)
            elif kind == b"ssubscribe":
                self._arrived(name.decode())
            else:
                self._parted(name.decode())

    def _arrived(self, channel: str) -> None:
        self._failures = 0
        confirmed = self._channels.get(channel)
        if confirmed is None:
            return
        if confirmed.done():
            self._listener.missed((channel,))
        else:
            confirmed.set_result(None)

    def _parted(self, channel: str) -> None:
        """Take note that a channel is closed, which was not asked for if the server gave its slot away."""
        if self._parting[channel]:
            self._parting[channel] -= 1
        elif self._channels.pop(channel, None) is not None:
            self._listener.missed((channel,))

    def _moved(self, error: MovedError) -> None:
        """Let go of the channels of a slot that is elsewhere: who waits for them is sent there."""
        for channel in [channel for channel in self._channels if hash_slot(channel) == error.slot_id]:
            confirmed = self._channels.pop(channel)
            if confirmed.done():
                self._listener.missed((channel,))
            else:
                _fail(confirmed, error)

    def _give_up(self, error: Exception) -> None:
        self.over = True
        channels, self._channels = self._channels, {}
        for confirmed in channels.values():
            _fail(confirmed, error)
        if channels:
            self._listener.deaf(channels.keys(), error)


def _fail(confirmed: asyncio.Future[None], error: Exception) -> None:
    if not confirmed.done():
        confirmed.set_exception(error)
        confirmed.exception()  # whoever waits for it gets it; that nobody does is no fault


def _told(error: Exception) -> Exception:
    """Return what waiters get of an error."""
    if not isinstance(error, ResponseError) or isinstance(error, RedisConnectionError):
        return error
    command, msg = "SSUBSCRIBE", f"{error} (who waits for a lock needs the channels rapyer:wake:*)"
    told = ServerError(command, msg)
    told.__cause__ = error
    return told


def _may_pass(error: Exception) -> bool:
    busy = isinstance(error, ServerError) and str(error.__cause__).startswith("BUSY")
    passing = busy or isinstance(error, (RedisConnectionError, RedisTimeoutError, OSError))
    return passing and not isinstance(error, AuthenticationError)
