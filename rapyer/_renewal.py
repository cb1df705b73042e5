"""Renewal of held locks: one script for all locks of a client and loop, at a third of the shortest lease.

Rules:
- Nothing runs while no lock is held; a lock is taken off before its release is sent, so renewal never outlives one.
- A lock that the server no longer knows is lost: its holder's task is cancelled.
- When Redis cannot be reached the leases run on; the scripts that write decide whether they ended.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import RedisError

from rapyer import _session
from rapyer._dispatch import Where, dispatcher
from rapyer.errors import RapyerError

if TYPE_CHECKING:
    from rapyer._dispatch import Dispatcher
    from rapyer._session import Held

#: How many locks are renewed by one script call: bounds how long the server is busy.
BATCH = 500


class Renewable(Protocol):
    """A lock that is held."""

    @property
    def lease(self) -> float: ...

    @property
    def held(self) -> Held | None: ...

    def lose(self) -> None: ...


class Renewals:
    """The held locks of one client in one loop."""

    def __init__(self, caller: Dispatcher) -> None:
        self._caller = weakref.ref(caller)
        self._locks: dict[str, Renewable] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, token: str, lock: Renewable) -> None:
        """Renew this lock from now on."""
        self._locks[token] = lock
        self._schedule()

    def remove(self, token: str) -> None:
        """Renew this lock no more."""
        self._locks.pop(token, None)

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + min(lock.lease for lock in self._locks.values()) / 3
        if self._timer is not None and self._timer.when() <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._locks:
            self._task = asyncio.get_running_loop().create_task(self._renew(), name="rapyer-renewal")

    async def _renew(self) -> None:
        tokens = list(self._locks)
        try:
            for first in range(0, len(tokens), BATCH):
                await self._renew_batch(tokens[first : first + BATCH])
        except (RapyerError, RedisError, OSError):
            pass  # tried again in a third of a lease; the writing scripts refuse what was lost meanwhile
        finally:
            if self._locks:
                self._schedule()

    async def _renew_batch(self, tokens: list[str]) -> None:
        held = [(token, lock, lock.held) for token in tokens if (lock := self._locks.get(token)) is not None]
        present = [(token, lock, tie) for token, lock, tie in held if tie is not None]
        caller = self._caller()
        if not present or caller is None:
            return
        keys = [tie.lock_key for _, _, tie in present]
        arguments = [part for token, lock, _ in present for part in (token, _session.milliseconds(lock.lease))]
        alive = await caller.script("lock.renew", keys, arguments, lambda index: Where(keys[index]))
        for (token, lock, _), kept in zip(present, alive, strict=True):
            if not kept and self._locks.pop(token, None) is not None:
                lock.lose()


_renewals: weakref.WeakKeyDictionary[Any, Renewals] = weakref.WeakKeyDictionary()


def renewals(client: Any) -> Renewals:
    """Return what renews the locks of this client in the running loop."""
    caller = dispatcher(client)
    found = _renewals.get(caller)
    if found is None:
        found = _renewals[caller] = Renewals(caller)
    return found
