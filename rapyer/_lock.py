"""Locks of documents: acquire with load in one script, save with release in one script.

Rules:
- A lock is a hash with its owner's token and a lease, which is renewed; the server ends it when the holder died.
- Every write of the holder's task to the document carries the token: the script refuses it once the lock is another's.
- Whoever leaves, in whatever way, gives the lock back; also when the answer to acquire was still on its way.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import uuid
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from rapyer import _keys, _session
from rapyer._dispatch import Where, dispatcher
from rapyer._renewal import renewals
from rapyer.errors import LockLost, LockTimeout, RapyerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer._link import Document
    from rapyer._ops import Operation
    from rapyer._session import Held

logger = logging.getLogger("rapyer")

#: Seconds between two looks at a taken lock, at first and at most.
FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.05


class Lock:
    """One acquisition of one lock.

    Args:
        client: where the document lives.
        config: the model's options.
        key: the document's key.
        action: the lock's name; different names do not exclude each other.
        timeout: seconds to wait at most; None waits as long as it takes.
        lease: seconds until the lock ends by itself.
    """

    def __init__(
        self, client: Any, config: Any, key: str, action: str, timeout: float | None, lease: float | None
    ) -> None:
        self._client = client
        self._config = config
        self.key = key
        self.action = action
        self._timeout = timeout
        self._lock_key = _keys.lock_key(key, action)
        self._lost = False
        self.lease: float = config.lock_lease if lease is None else lease
        self.held: Held | None = None

    async def acquire(self) -> bytes:
        """Wait for the lock and return the document's JSON text as it is under the lock.

        Raises:
            KeyNotFound: there is no document; the lock is not taken.
            LockTimeout: it stayed taken for the whole timeout.
            UsageError: this task holds it already.
        """
        self._check()
        token = uuid.uuid4().hex
        try:
            fence, text = await self._wait(token)
        except LockTimeout:
            raise
        except BaseException:
            # The script may have run although its answer never came.
            await self._give_back(token)
            raise
        self._enter(_session.Held(self.key, self.action, self._lock_key, token, fence, asyncio.current_task()))
        return text

    def _enter(self, held: Held) -> None:
        self.held = held
        _session._held.set((*_session._held.get(), held))
        renewals(self._client).add(held.token, self)

    def _check(self) -> None:
        if self._timeout is not None and self._timeout < 0:
            msg = f"timeout of lock {self.action!r} cannot be {self._timeout!r}: give seconds, 0 or more, or None"
            raise UsageError(msg)
        if not self.lease > 0:
            msg = f"lease of lock {self.action!r} cannot be {self.lease!r}: give seconds, more than 0"
            raise UsageError(msg)
        if any(lock.action == self.action for lock in _session.locks_on(self.key)):
            msg = f"this task already holds lock {self.action!r} of {self.key!r}: do the work in the block it is in"
            raise UsageError(msg)

    async def _wait(self, token: str) -> tuple[int, bytes]:
        clock = asyncio.get_running_loop().time
        give_up = math.inf if self._timeout is None else clock() + self._timeout
        pause = FIRST_PAUSE
        while True:
            taken, *answer = await self._script(
                "lock.acquire",
                (self.key, self._lock_key),
                (token, _session.milliseconds(self.lease), _session.read_ttl(self._config)),
            )
            if taken:
                return int(answer[0]), answer[1]
            left = min(max(answer[0] / 1000, FIRST_PAUSE), give_up - clock())
            if left <= 0:
                raise LockTimeout(self.key, self.action)
            await asyncio.sleep(min(random.uniform(pause / 2, pause), left))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, LONGEST_PAUSE)

    def lose(self) -> None:
        """Cancel the body: the lock is another's, or nobody's."""
        self._lost = True
        if self.held is not None:
            self.held.task.cancel()

    def was_lost(self) -> bool:
        """Whether a cancellation that arrived is the one of `lose`, and no other is under way."""
        task = asyncio.current_task()
        if not self._lost or task is None:
            return False
        uncancel = getattr(task, "uncancel", None)  # came with Python 3.11
        return uncancel is None or uncancel() == 0

    async def abandon(self) -> None:
        """Give the lock back after a failure, whose error is the one to be seen."""
        if self.held is not None:
            await self._give_back(self._leave().token)

    async def release(self) -> None:
        """Give the lock back.

        Raises:
            LockLost: it was held no more, so others may have been inside, too.
        """
        held = self._leave()
        if not await self._script("lock.release", (self._lock_key,), (held.token,)):
            raise LockLost(self.key, self.action)

    async def save_and_release(self, document: Document, operations: Sequence[Operation]) -> None:
        """Write and give the lock back in one script.

        Raises:
            LockLost: the lock is held no more; nothing was written.
            KeyNotFound: the document is gone; the lock is given back all the same.
        """
        if self.held is None or not operations:
            await self.release()
            return
        if document.key != self.key:
            msg = f"the block changed the key of {self.key!r}: save() a copy with another key instead"
            raise UsageError(msg)
        renewals(self._client).remove(self.held.token)
        await _session.apply([(document, operation) for operation in operations], release=self.held)
        self._leave()

    def _leave(self) -> Held:
        held, self.held = self.held, None
        if held is None:
            msg = "this lock is not held"
            raise UsageError(msg)
        renewals(self._client).remove(held.token)
        _session._held.set(tuple(lock for lock in _session._held.get() if lock is not held))
        return held

    async def _give_back(self, token: str) -> None:
        """Release if held, also while being cancelled; where Redis is out of reach the lease ends by itself."""
        release = asyncio.ensure_future(self._script("lock.release", (self._lock_key,), (token,)))
        try:
            await asyncio.shield(release)
        except (RapyerError, RedisError, OSError) as error:
            logger.warning(
                "lock %r of %r could not be given back, its lease will end: %s", self.action, self.key, error
            )

    async def _script(self, name: str, keys: tuple[str, ...], arguments: tuple[str, ...]) -> Any:
        where = Where(self.key, "$", self.action)
        return await dispatcher(self._client).script(name, keys, arguments, lambda _: where)
