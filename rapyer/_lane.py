"""One connection that many callers share: their calls are written together and answered in order.

Rules:
- A lane belongs to one event loop. It opens its connection with the client's own class and arguments, so TLS, users,
  sockets and protocol versions are as configured.
- A call on an idle lane is written at once; calls made while others are on their way are written together at the end of
  the loop's turn. No call waits for company.
- Replies come in order. A caller that was cancelled leaves its place in line, so nobody else's answer moves.
- When the connection is lost, what was never written goes out on the next one; reads are repeated, a bounded
  number of times; a write that was sent and not answered fails with `OutcomeUnknown`, never repeated.
- redis-py repeats commands by itself; its connection is used here without that (`Retry` of zero).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from rapyer.errors import OutcomeUnknown

#: How often a call is tried on a new connection, and the longest pause between two tries in seconds.
ATTEMPTS = 4
LONGEST_PAUSE = 0.5
#: Bytes waiting in the socket's buffer above which no more are written until the server took some.
HIGH_WATER = 1 << 20


class Call:
    """One command on its way: packed bytes, who waits for it, whether it may be repeated."""

    __slots__ = ("attempts", "future", "packed", "repeatable")

    def __init__(self, packed: bytes, future: asyncio.Future[Any], *, repeatable: bool) -> None:
        self.packed = packed
        self.future = future
        self.repeatable = repeatable
        self.attempts = 0


class Lane:
    """A shared connection of one client in one event loop."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._scheduled = False
        self._drain: asyncio.Task[None] | None = None
        self._writer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._connection: Any = None
        self._stalled: Exception | None = None
        self._progress = 0.0

    def __repr__(self) -> str:
        """Tell the state: connected or not, how many calls wait and how many are on their way."""
        state = "idle" if self._connection is None else "connected"
        return f"<Lane {state}, {len(self._waiting)} waiting, {len(self._sent)} sent>"

    async def call(self, packed: bytes, *, repeatable: bool) -> Any:
        """Send one packed command and return its reply; an error reply is raised."""
        future = self._loop.create_future()
        self._waiting.append(Call(packed, future, repeatable=repeatable))
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._run(), name="rapyer-lane")
        elif not self._sent:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return await future

    async def close(self) -> None:
        """Close the connection; calls that are still under way fail."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- the lane's own task ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        error: Exception = RedisConnectionError("the lane was closed")
        try:
            while True:
                try:
                    await self._connect()
                    failures = 0
                    await self._serve()
                except (RedisError, OSError) as lost:
                    error = lost
                await self._disconnect()
                failures += 1
                self._settle(error)
                if not self._waiting:
                    return
                await asyncio.sleep(_pause(failures))
        finally:
            await self._disconnect()
            self._fail_all(RedisConnectionError("the lane was closed"))

    async def _connect(self) -> None:
        connection = self._pool.connection_class(**self._pool.connection_kwargs)
        connection.retry = Retry(NoBackoff(), 0)
        await connection.connect()
        self._connection = connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _serve(self) -> None:
        """Write and read until the connection is lost, which ends in its error."""
        self._writer = self._connection._writer  # redis-py has no public way to write without waiting
        self._flush()
        watch = self._loop.create_task(self._watch(), name="rapyer-lane-watch")
        try:
            while True:
                self._answer(await self._read())
        except (RedisError, OSError) as error:
            raise self._stalled or error from None
        finally:
            self._stalled = self._writer = None
            tasks = [watch] if self._drain is None else [watch, self._drain]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _flush(self) -> None:
        """Write everything that waits, unless the server is behind."""
        self._scheduled = False
        if self._writer is None or self._drain is not None:
            return
        batch = self._take_batch()
        if not batch:
            return
        self._writer.write(b"".join(batch) if len(batch) > 1 else batch[0])
        if self._waiting or self._writer.transport.get_write_buffer_size() > HIGH_WATER:
            self._drain = self._loop.create_task(self._drained(self._writer), name="rapyer-lane-drain")

    async def _drained(self, writer: Any) -> None:
        """Go on writing when the server has taken what it was sent."""
        try:
            await writer.drain()
        except OSError:
            return  # the reader meets the same lost connection and settles everything
        finally:
            self._drain = None
        self._flush()

    def _take_batch(self) -> list[bytes]:
        if not self._sent:
            self._progress = self._loop.time()
        batch: list[bytes] = []
        size = 0
        while self._waiting and size < HIGH_WATER:
            call = self._waiting.popleft()
            if call.future.done():
                continue
            self._sent.append(call)
            batch.append(call.packed)
            size += len(call.packed)
        return batch

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True, timeout=math.inf)
        except ResponseError as error:
            return error

    def _answer(self, reply: Any) -> None:
        self._progress = self._loop.time()
        future = self._sent.popleft().future
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    async def _watch(self) -> None:
        """Give the connection up when calls are on it and no answer came for the client's `socket_timeout`."""
        limit = self._connection.socket_timeout
        while limit:
            await asyncio.sleep(limit / 4)
            if self._sent and self._loop.time() - self._progress > limit:
                self._stalled = RedisTimeoutError(f"no answer from Redis for {limit} s")
                await self._disconnect()
                return

    def _settle(self, error: Exception) -> None:
        """Decide for every call under way: it goes out again, or its caller gets an error."""
        again = []
        for call in self._sent:
            if call.repeatable:
                again.append(call)
            elif not call.future.done():
                call.future.set_exception(_outcome_unknown(error))
        self._sent.clear()
        self._waiting.extendleft(reversed(again))
        for call in self._waiting:
            call.attempts += 1
        fatal = not isinstance(error, (RedisConnectionError, RedisTimeoutError, OSError))
        fatal = fatal or isinstance(error, AuthenticationError)
        if fatal or any(call.attempts >= ATTEMPTS for call in self._waiting):
            self._fail_all(error, spent=0 if fatal else ATTEMPTS)

    def _fail_all(self, error: Exception, *, spent: int = 0) -> None:
        """Fail what is on its way and, of what waits, the calls that were tried at least `spent` times."""
        lost = [*self._sent, *(call for call in self._waiting if call.attempts >= spent)]
        self._waiting = deque(call for call in self._waiting if call.attempts < spent)
        self._sent.clear()
        for call in lost:
            if not call.future.done():
                call.future.set_exception(error)


def _pause(failures: int) -> float:
    return random.uniform(0, min(LONGEST_PAUSE, 0.01 * 2**failures))  # noqa: S311 - jitter, no secret


def _outcome_unknown(error: Exception) -> OutcomeUnknown:
    unknown = OutcomeUnknown(
        "the connection was lost after a write was sent and before its answer: it may have run; "
        "read the document before repeating it"
    )
    unknown.__cause__ = error
    return unknown
