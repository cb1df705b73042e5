"""One acquisition of one lock: acquire with load in one script, save with release and hand-over in one script.

Rules:
- A lock is a hash with its owner's token and a lease, which is renewed; the server ends it when the holder died.
- Every write of the holder's task to the document carries the fencing number: the script refuses it once the lock is
  another's. The token names who asks; it may be given the lock again, late, after the lease of the first time ended.
- Whoever leaves, in whatever way, gives the lock back; also when the answer to acquire was still on its way.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import weakref
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from rapyer import _calls, _codec, _keys, _log, _session
from rapyer._batch import Batch, words_of
from rapyer._dispatch import Care
from rapyer._group import Place
from rapyer._loops import dispatcher, dispatchers
from rapyer._queue import Queues
from rapyer._tasks import current_task
from rapyer.config import is_seconds
from rapyer.errors import LockLost, LockTimeout, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer._group import Group
    from rapyer._ops import Operation
    from rapyer._session import Held


class Lock:
    """One acquisition.

    Args:
        client: where the document lives.
        config: the model's options.
        key: the document's key.
        action: the lock's name; different names do not exclude each other.
        timeout: seconds to wait at most; None waits as long as it takes.
        lease: seconds until the lock ends by itself; None takes the model's.

    Attributes:
        patient: whether it waits at all.
        hurried: whether its turn may end before it is known.
    """

    group: Group
    turn: asyncio.Future[bytes]
    info: str
    held: Held | None = None
    token = ""
    fence = 0
    _queues: Queues
    _task: asyncio.Task[Any] | None
    _cancelling: int
    _lost = False

    def __init__(
        self, client: Any, config: Any, key: str, action: str, timeout: float | None, lease: float | None
    ) -> None:
        self._client = client
        self._config = config
        self._timeout = timeout
        self.patient = timeout != 0
        self.hurried = bool(timeout)
        if timeout is not None and not timeout >= 0:
            msg = f"timeout of lock {action!r} cannot be {timeout!r}: give seconds, 0 or more, or None"
            raise UsageError(msg)
        if lease is None:
            lease = config.lock_lease
        elif not is_seconds(lease):
            msg = f"lease of lock {action!r} cannot be {lease!r}: give seconds, at least 0.001 and less than 1e14"
            raise UsageError(msg)
        self.place = _place(key, _keys.text(action), lease, config.ttl if config.refresh_ttl else None)

    @property
    def lock_key(self) -> str:
        """The key of the lock's hash."""
        return self.place.lock_key

    @property
    def entered(self) -> bool:
        """Whether the lock was given."""
        return self.token != ""

    # -- entering --------------------------------------------------------------------------------------------------

    async def acquire(self) -> bytes:
        """Wait for the lock and return the document's JSON text as it is under the lock.

        Raises:
            KeyNotFound: there is no document; the lock is not taken.
            LockTimeout: it stayed taken for the whole timeout.
            UsageError: this task holds it already.
        """
        if _session._held.get():
            self._check()
        self._queues = queues(self._client)
        loop = self._queues.loop
        self._task = current_task(loop)
        self._cancelling = _cancelling(self._task)
        self.turn = loop.create_future()
        self.info = _info(self._task)
        timer = loop.call_later(self._timeout, self.expire) if self._timeout else None
        try:
            text = await self._queues.enter(self)
        except asyncio.CancelledError:
            if self.was_lost():
                raise LockLost(self.place.key, self.place.action) from None
            raise
        finally:
            if timer is not None:
                timer.cancel()
        place = self.place
        self.held = held = _session.Held(
            weakref.ref(self._client), place.key, place.action, place.lock_key, str(self.fence), self._task
        )
        _session.hold(held)
        return text

    def _check(self) -> None:
        place = self.place
        for lock in _session.locks_on(self._client, place.key):
            if lock.action == place.action:
                msg = f"this task already holds lock {lock.action!r} of {lock.key!r}: do the work in the block it is in"
                raise UsageError(msg)

    def granted(self, token: str, fence: int) -> None:
        """Learn that the lock was given, before the waiting task runs: it is renewed from now on."""
        self.token, self.fence = token, fence
        self._queues.renewals.add(token, self, self.place.lease)

    def expire(self) -> None:
        """Wait no more."""
        if not self.turn.done():
            self.turn.set_exception(LockTimeout(self.place.key, self.place.action))

    # -- losing ----------------------------------------------------------------------------------------------------

    def lose(self) -> None:
        """Cancel the body and refuse what it still writes: the lock is another's, or nobody's, or may be any moment."""
        self._lost = True
        if self.held is not None:
            self.held.fence = ""  # no lock has it: the server need not have noticed, where only answers were lost
        self._queues.lost(self)
        _log.lock_lost(self.place.key, self.place.action)
        if self._task is not None:
            self._task.cancel()

    def was_lost(self) -> bool:
        """Take the cancellation of `lose` back; return whether there was one, and no other came meanwhile."""
        if not self._lost:
            return False
        uncancel = getattr(self._task, "uncancel", None)  # came with Python 3.11
        return uncancel is None or uncancel() <= self._cancelling or not _COUNTED

    # -- leaving ---------------------------------------------------------------------------------------------------

    def check_task(self) -> None:
        """Refuse to end well in another task than the one that acquired: the lock did not go along with its writes."""
        if self._task is not current_task():
            msg = (
                f"lock {self.place.action!r} of {self.place.key!r} was entered in another task than the body's, "
                "whose writes were not checked: enter and leave it in one task; use lock(timeout=...), not wait_for()"
            )
            raise UsageError(msg)

    async def part(self, error: BaseException | None) -> None:
        """Give the lock back unless that is done, at the end of a block that raised this, if anything.

        Raises:
            LockLost: instead of the cancellation by which the body was ended.
        """
        await self.abandon()
        key, action = self.place.key, self.place.action
        if self.was_lost() and isinstance(error, asyncio.CancelledError):
            raise LockLost(key, action) from None
        if isinstance(error, LockLost) and (error.key, error.action) == (key, action) and not self._lost:
            _log.lock_lost(key, action)  # a write, the save or the release was refused

    async def abandon(self) -> None:
        """Give the lock back after a failure, whose error is the one to be seen."""
        if self.held is not None:
            self._leave()
            await self._queues.give_back(self, wait=not self._lost)

    async def release(self) -> None:
        """Give the lock back and hand it on. Whatever this raises, `abandon` has to follow.

        Raises:
            LockLost: it was held no more, so others may have been inside, too.
        """
        self._queues.renewals.remove(self.token, self.place.lease)
        if not self._queues.released(self, await self._queues.release(self, self._care())):
            raise LockLost(self.place.key, self.place.action)
        self._leave()

    def _care(self) -> Care | None:
        """Return the care of a release: no replica need have it, since a lock that comes back ends with its lease."""
        care = _session.care_of(self._config) if _session.is_careful() else None
        return None if care is None or not care.once else Care(once=True, replicas=0)

    async def save_and_release(self, document: Any, changes: Sequence[Operation]) -> None:
        """Write, give the lock back and hand it on in one script. Whatever this raises, `abandon` has to follow.

        Args:
            document: what was loaded under the lock.
            changes: what to write, none inside another: `value.set` and `map.pop`.

        Raises:
            LockLost: the lock is held no more; nothing was written.
            KeyNotFound: the document is gone.
        """
        if self._lost:  # the body went on, and the server may have the lock still, or again
            raise LockLost(self.place.key, self.place.action)
        if changes and document._key_fields and not document._is_under(self.place.key):
            msg = f"the block changed the key of {self.place.key!r}: save() or duplicate() a copy instead"
            raise UsageError(msg)
        words = words_of(changes)
        if words is None:  # then they take the way of a pipeline, a script of its own
            await _calls.apply(Batch([part for change in changes for part in (document, change)]))
        if not words:
            await self.release()
            return
        config = self._config
        ttl, care = _session.milliseconds(config.ttl), _session.care_of(config) if _session.is_careful() else None
        others = () if self.held is None else _session.other_locks(self.held)
        saving = self._queues.save(self, others, (ttl, changes, words, care))
        self._queues.renewals.remove(self.token, self.place.lease)  # no renewal can be sent in between
        self._queues.released(self, await saving)
        self._leave()

    def _leave(self) -> None:
        held, self.held = self.held, None
        if held is not None:
            _session.let_go(held)


#: Whether cancellations are counted well: on Python 3.10 a backport may count them, and others do not take theirs back.
_COUNTED = sys.version_info >= (3, 11)


def _cancelling(task: Any) -> int:
    """Return how many cancellations of a task are under way: it may be one's clean-up that takes the lock."""
    cancelling = getattr(task, "cancelling", None)  # came with Python 3.11
    return 0 if cancelling is None else cancelling()


@lru_cache(maxsize=1024)
def _place(key: str, action: str, lease: float, ttl: float | None) -> Place:
    if not _codec.is_whole(action):
        msg = f"a lock cannot be called {action!r}: {_codec.HALF}"
        raise UsageError(msg)
    lock_key, queue_key = _keys.lock_key(key, action), _keys.queue_key(key, action)
    return Place(key, action, lock_key, queue_key, lease, _session.milliseconds(lease), _session.milliseconds(ttl))


def _info(task: Any) -> str:
    """Return who asks, for people: host, process and task."""
    name = "" if task is None else task.get_name()
    if not name.isascii():
        name = name.encode(errors="backslashreplace").decode()  # half a surrogate pair cannot be sent
    return f"{_here()}\n{name}"


@cache
def _here() -> str:
    return f"{socket.gethostname()}\n{os.getpid()}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_here.cache_clear)


def queues(client: Any) -> Queues:
    """Return the queues of this client in the running loop."""
    caller = dispatcher(client)
    found: Queues | None = caller.queues
    if found is None:
        found = caller.queues = Queues(caller)
    return found


async def close_all() -> None:
    """Close every wake-up connection that was opened in this loop."""
    for caller in dispatchers():
        if caller.queues is not None:
            await caller.queues.close()
