"""One connection to one address that many callers share: their calls are written together and answered in order.

Rules:
- A lane belongs to one event loop. It connects when there is something to send, and again after a loss; however many
  callers wait, one task does that, with growing pauses that differ from process to process.
- A call on an idle lane is written at once, a plain one without a place in line. Calls made while others are on their
  way are written together at the end of the loop's turn, or as soon as there is a company of them, so that the server
  need not idle. No call waits for it.
- A caller that was cancelled leaves its place in line, so nobody else's answer moves.
- While the server is behind, calls wait here, and what their callers gave up is forgotten.
- When the connection is lost, what was never written goes out on the next one; reads are repeated, as often as the
  client's own `retry` allows; a write that was sent and not answered fails with `OutcomeUnknown`, never repeated.
- redis-py repeats commands by itself; its connection is used here without that.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from rapyer import _log
from rapyer._wire import HIGH_WATER, LARGE, Call, open_wire
from rapyer.errors import OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rapyer._wire import Sendable, Wire

#: How often a call is tried where the client has no `retry` of its own.
TRIES = 6
#: The longest pauses before the first and before any later try to connect again, in seconds; they are random below.
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.5
#: Waiting calls from which on those that were given up are looked for.
CROWD = 1024
#: Calls that are written without waiting for the end of the turn: the server works on them while others are made.
COMPANY = 16
#: What another connection may mend; any other failure to connect is the callers'.
PASSING = (RedisConnectionError, RedisTimeoutError, OSError)


class Lane:
    """A shared connection of one client in one event loop.

    Attributes:
        name: its address, where its pool has one.
        longest_pause: seconds before a try to connect again, at most.
        beside: lanes to the same address, by the number of replicas that have to have their writes; they end with it.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.name: str = getattr(pool, "name", "")
        self.longest_pause = LONGEST_PAUSE
        self.beside: dict[int, Any] = {}
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Sendable] = deque()
        self._crowd = CROWD
        self._wire: Wire | None = None
        self._scheduled = False
        self._failures = 0
        self._failed = 0.0  # when, for the last time
        self._told = False  # that there is no connection
        self._told_why = False  # why there is none, of the first try to get one
        self._connecting: asyncio.Task[None] | None = None
        self._guard: AsyncGenerator[None, None] | None = None
        self._closing = False

    def __repr__(self) -> str:
        """Tell the state: connected or not, how many calls wait and how many are on their way."""
        state, sent = ("idle", 0) if self._wire is None else ("connected", len(self._wire.sent))
        return f"<Lane {state}, {len(self._waiting)} waiting, {sent} sent>"

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything here."""
        busy = self._waiting or self._connecting or (self._wire is not None and self._wire.sent)
        return not busy and all(lane.idle for lane in self.beside.values())

    def call(self, packed: bytes, *, repeatable: bool) -> Call:
        """Send one packed command; the future that is returned gets its reply, or its error reply as an exception.

        Args:
            packed: its bytes.
            repeatable: whether it may run twice.
        """
        call = self._made(packed, repeatable=repeatable)
        self.send(call)
        return call

    def send(self, call: Sendable) -> None:
        """Send a call, now or with others."""
        wire, waiting = self._wire, self._waiting
        if wire is None:
            waiting.append(call)
            self._connect()
        elif wire.sent or self._scheduled or waiting:
            waiting.append(call)
            if len(waiting) >= COMPANY:
                self.flush()
            elif not self._scheduled:
                self.expect() if wire.sent else self.flush()
        elif call.future is not None and wire.open:  # a plain call, with nothing to be looked at before it is written
            wire.sent.append(call)
            wire.write(call.packed)
            return
        else:
            waiting.append(call)
            self.flush()
        if len(waiting) > self._crowd:
            self._forget()

    def _made(self, packed: bytes, *, repeatable: bool) -> Call:
        call = Call(loop=self._loop)
        call.packed = packed
        call.repeatable = repeatable
        return call

    def waits(self, future: Any) -> bool:
        """Whether the call that this future belongs to waits to be sent for the first time."""
        return any(call.future is future and not call.unsure for call in self._waiting)

    def turn_away(self, error: BaseException) -> None:
        """Give the error to calls that wait for a connection: none of them was sent."""
        if self._wire is None:
            self._give_up(error)
        for lane in self.beside.values():
            lane.turn_away(error)

    async def close(self) -> None:
        """Close the connection; calls that are still under way fail."""
        await asyncio.gather(*(lane.close() for lane in self.beside.values()))
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()
        else:
            await self._shut()

    def drop(self) -> None:
        """Close the connection, whose client is gone or whose loop was closed; may be called in any thread."""
        for lane in list(self.beside.values()):
            lane.drop()
        if not self._loop.is_closed():
            with suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(self._abort)
                return
        self._waiting.clear()
        if self._wire is not None:
            self._wire.drop()

    # -- out -----------------------------------------------------------------------------------------------------------

    def expect(self) -> None:
        """Write at the end of this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what waits, as much as the server takes."""
        wire, waiting = self._wire, self._waiting
        while waiting and wire is not None and wire.open:
            wire.write(self._next_batch(waiting, wire.sent))

    def _next_batch(self, waiting: deque[Sendable], sent: deque[Sendable]) -> bytes:
        batch: list[bytes] = []
        size = 0
        while waiting and size < HIGH_WATER:
            call = waiting.popleft()
            future = call.future
            packed = self._packed(call) if future is None or future.done() else call.packed
            if not packed:
                continue
            length = len(packed)
            if length > LARGE:  # by itself
                if batch:
                    waiting.appendleft(call)
                    break
                size = HIGH_WATER
            if call.first:
                sent.append(_nobody(self._loop))
                batch.append(call.first)
            sent.append(call)
            batch.append(packed)
            size += length
        return batch[0] if len(batch) == 1 else b"".join(batch)

    def _packed(self, call: Sendable) -> bytes:
        """Return what a call sends that is odd, or perhaps given up; nothing if it is given up, or fails now."""
        if call.given_up():
            return b""
        try:
            packed = call.packed
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the others
            call.fail(error)
            return b""
        if call.until <= self._loop.time():
            call.fail(RedisTimeoutError("there was no connection in time"))
            return b""
        return packed

    def _forget(self) -> None:
        """Take out the calls that nobody waits for any more."""
        self._waiting = deque(call for call in self._waiting if not call.given_up())
        self._crowd = max(CROWD, 2 * len(self._waiting))

    # -- connections ---------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._connecting is None or self._connecting.done():
            self._closing = False
            self._connecting = self._loop.create_task(self._open(), name="rapyer-lane")

    async def _open(self) -> None:
        """Connect, for as long as there are calls that wait for it."""
        try:
            while self._wire is None and self._waiting:
                if self._failures and self._loop.time() - self._failed < self.longest_pause:
                    await asyncio.sleep(_pause(self._failures, self.longest_pause))
                try:
                    wire = await open_wire(self._pool, self)
                    if self._closing:  # before Python 3.12 a cancellation may get lost in there
                        wire.drop()
                        raise asyncio.CancelledError  # noqa: TRY301
                    self._wire = wire
                    if self._told:
                        _log.connected_again(self._pool, self._failures)
                    self._told = self._told_why = False
                except Exception as error:  # noqa: BLE001 - a credential provider may raise anything: callers get it
                    self._fails()
                    if not self._told_why:
                        _log.cannot_connect(self._pool, error)
                    self._told = self._told_why = True
                    self._charge(error)
        except asyncio.CancelledError:
            self._give_up(RedisConnectionError("connecting was cancelled: the program ends its tasks"))
            raise
        finally:
            self._connecting = None
        if self._guard is None and self._wire is not None:
            self._guard = self._guarded()
            await self._guard.__anext__()
        self.flush()

    async def _guarded(self) -> AsyncGenerator[None, None]:
        """Close with the loop: `asyncio.run` ends async generators that are left, so no task is needed for that."""
        try:
            yield
        finally:
            self._guard = None
            await self._shut()

    def lost(self, wire: Wire, error: BaseException) -> None:
        """Decide for every call on a lost connection: it goes out again, or its caller gets an error."""
        if self._wire is wire:
            self._wire = None
        if wire.answered and not wire.refused:
            self._failures = 0
        if wire.sent or wire.refused:
            self._fails()
        repeated = _repeatable(wire)
        unknown = [call for call in wire.sent if not call.repeatable]
        again = [*wire.refused, *repeated]
        if not self._told:
            _log.connection_lost(self._pool, error, _callers(again), _callers(unknown))
        self._told = True
        for call in unknown:
            call.fail(_outcome_unknown(error))
        self._waiting.extendleft(reversed(self._tried(again, error)))
        if self._waiting:
            self._connect()

    def _fails(self) -> None:
        self._failures += 1
        self._failed = self._loop.time()

    def _charge(self, error: Exception) -> None:
        """Count a connection that did not come about against every call that waits for it."""
        passing = isinstance(error, PASSING) and not isinstance(error, AuthenticationError)
        if passing:
            self._waiting = deque(self._tried(self._waiting, error))
        else:
            self._give_up(error)

    def _tried(self, calls: deque[Sendable] | list[Sendable], error: BaseException) -> list[Sendable]:
        """Return the calls that may be tried again; the others get the error."""
        most = tries(self._pool)
        left = []
        for call in calls:
            call.tries += 1
            if call.given_up():
                continue
            if call.over() or 0 <= most <= call.tries or call.until <= self._loop.time():
                call.fail(own_error(error))
            else:
                left.append(call)
        return left

    def _give_up(self, error: BaseException) -> None:
        calls, self._waiting = self._waiting, deque()
        for call in calls:
            call.fail(own_error(error))

    def _abort(self) -> None:
        error = RedisConnectionError("the connection was closed by this program")
        self._told = self._told_why = True  # no news
        if self._connecting is not None:
            self._closing = True
            self._connecting.cancel()
        if self._wire is not None:
            self._waiting.extend(_repeatable(self._wire))
            self._wire.abort(error)
        self._give_up(error)

    async def _shut(self) -> None:
        wire, connecting = self._wire, self._connecting
        self._abort()
        if connecting is not None:
            await asyncio.gather(connecting, return_exceptions=True)
        if wire is not None:
            await wire.gone
        self._told = self._told_why = False


def _nobody(loop: asyncio.AbstractEventLoop) -> Call:
    """Return who gets the reply of a command that another goes behind: nobody."""
    nobody = Call(loop=loop)
    nobody.repeatable = False
    nobody.cancel()
    return nobody


def _repeatable(wire: Wire) -> list[Sendable]:
    """Return what was sent on a connection that ends and may be sent again; it may have run."""
    found = [call for call in wire.sent if call.repeatable]
    for call in found:
        call.unsure = True
    return found


def _callers(calls: list[Sendable]) -> int:
    return sum(call.callers() for call in calls)


def tries(pool: Any) -> Any:
    """Return how often a call may be tried, less than 0 for no limit."""
    retry = pool.connection_kwargs.get("retry")
    if retry is None:
        return TRIES
    return -1 if retry._retries < 0 else retry._retries + 1


def _pause(failures: int, longest: float) -> float:
    return random.uniform(0, min(longest, FIRST_PAUSE * 2 ** min(failures - 1, 10)))  # noqa: S311 - jitter, no secret


def own_error(error: BaseException) -> BaseException:
    """Return the error for one of many callers: raising one object in all of them would chain their tracebacks."""
    try:
        own = copy.copy(error).with_traceback(None)
        own.__cause__ = error.__cause__
    except Exception:  # noqa: BLE001 - its class cannot be made again from its arguments, and may say so in any way
        return error
    return own


def _outcome_unknown(error: BaseException) -> OutcomeUnknown:
    unknown = OutcomeUnknown(
        "the connection was lost after a write was sent and before its answer: it may have run; "
        "read the document before repeating it"
    )
    unknown.__cause__ = error
    return unknown
