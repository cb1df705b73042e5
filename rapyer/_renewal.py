"""Renewal of locks: one script for all locks of a client and loop with the same lease, at a third of it.

Rules:
- A lock is put on before it is asked for and taken off before its release is sent: renewal starts before the answer can
  arrive, and never outlives a lock. Nothing runs while there is none.
- A lock that its holder has entered and that the server no longer knows is lost: the holder's task is cancelled.
- When Redis cannot be reached the leases run on. What could not be renewed for a whole lease is lost, too.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from redis.exceptions import RedisError

from rapyer import _session
from rapyer._dispatch import Where
from rapyer._keys import hash_slot
from rapyer.errors import RapyerError

if TYPE_CHECKING:
    from rapyer._dispatch import Dispatcher

#: How many locks are renewed by one script call: bounds how long the server is busy.
BATCH = 500


class Renewable(Protocol):
    """A lock that is asked for or held."""

    @property
    def lock_key(self) -> str: ...

    @property
    def entered(self) -> bool: ...

    @property
    def fence(self) -> int: ...

    def lose(self) -> None: ...


class Renewals:
    """The locks of one client in one loop, by their leases."""

    def __init__(self, caller: Dispatcher) -> None:
        self._caller = weakref.ref(caller)
        self._cohorts: dict[float, _Cohort] = {}

    def add(self, token: str, lock: Renewable, lease: float) -> None:
        """Renew this lock from now on; `lease` is in seconds."""
        cohort = self._cohorts.get(lease)
        if cohort is None:
            cohort = self._cohorts[lease] = _Cohort(self, lease)
        cohort.locks[token] = lock

    def remove(self, token: str, lease: float) -> None:
        """Renew this lock no more."""
        cohort = self._cohorts.get(lease)
        if cohort is not None:
            cohort.locks.pop(token, None)

    def forget(self, lease: float) -> None:
        """Let go of a cohort without locks."""
        del self._cohorts[lease]

    @property
    def caller(self) -> Dispatcher | None:
        """What calls scripts; None when it is gone."""
        return self._caller()


class _Cohort:
    """Locks with the same lease. Its timer runs on by itself until it meets no lock."""

    def __init__(self, renewals: Renewals, lease: float) -> None:
        self._renewals = renewals
        self._lease = lease
        self._milliseconds = _session.milliseconds(lease)
        self._task: asyncio.Task[None] | None = None
        self._doubtful: tuple[float, set[str]] | None = None  # since when no renewal was answered, and of what
        self.locks: dict[str, Renewable] = {}
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def _schedule(self) -> None:
        self._loop.call_later(self._lease / 3, self._start)

    def _start(self) -> None:
        if not self.locks:
            self._renewals.forget(self._lease)
            return
        if self._task is None or self._task.done():
            if self._doubtful is None:
                self._doubtful = self._loop.time(), {token for token, lock in self.locks.items() if lock.entered}
            self._task = self._loop.create_task(self._renew(), name="rapyer-renewal")
        self._give_up()
        self._schedule()

    async def _renew(self) -> None:
        locks = list(self.locks.items())
        with suppress(RapyerError, RedisError, OSError):  # it is tried again in a third of a lease
            for first in range(0, len(locks), BATCH):
                await self._renew_batch(locks[first : first + BATCH])
            self._doubtful = None

    def _give_up(self) -> None:
        """Let go of what could not be renewed for a whole lease."""
        since, tokens = self._doubtful or (math.inf, set())
        if self._loop.time() < since + self._lease:
            return
        self._doubtful = None
        for token in tokens & self.locks.keys():
            self.locks.pop(token).lose()

    async def _renew_batch(self, batch: list[tuple[str, Renewable]]) -> None:
        # What is only asked for has no lock yet, or has it and does not know.
        present = [(token, lock, lock.entered) for token, lock in batch if token in self.locks]
        caller = self._renewals.caller
        if not present or caller is None:
            return
        for group in _by_slot(present) if caller.clustered else [present]:
            await self._renew_group(caller, group)

    async def _renew_group(self, caller: Dispatcher, present: list[tuple[str, Renewable, bool]]) -> None:
        keys = [lock.lock_key for _, lock, _ in present]
        arguments: list[str] = []
        for token, lock, entered in present:
            arguments += ("fence", str(lock.fence)) if entered else ("owner", token)
            arguments.append(self._milliseconds)
        alive = await caller.script("lock.renew", keys, arguments, lambda index: Where(keys[index]))
        for (token, lock, entered), kept in zip(present, alive, strict=True):
            if entered and not kept and self.locks.pop(token, None) is not None:
                lock.lose()


def _by_slot(present: list[tuple[str, Renewable, bool]]) -> list[list[tuple[str, Renewable, bool]]]:
    groups: dict[int, list[tuple[str, Renewable, bool]]] = {}
    for entry in present:
        groups.setdefault(hash_slot(entry[1].lock_key), []).append(entry)
    return list(groups.values())
