"""Renewal of locks: one script for all locks of a client and loop with the same lease, at a third of it.

Rules:
- A lock is put on in the turn of the loop in which it is asked for, and taken off before its release is sent: renewal
  starts before the answer can arrive, and never outlives a lock. Nothing runs while there is none.
- A lock that its holder has entered and that the server no longer knows is lost: the holder's task is cancelled.
- When Redis cannot be reached the leases run on. What could not be renewed for a whole lease is lost, too.
- Calls do not wait for each other: where one fails, or is not answered, the locks of the others are renewed.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Protocol, TypeAlias

from rapyer import _session
from rapyer._dispatch import Where
from rapyer._keys import hash_slot
from rapyer._tasks import Errands

if TYPE_CHECKING:
    from rapyer._dispatch import Dispatcher

#: How many locks are renewed by one script call: bounds how long the server is busy.
BATCH = 500
#: How many leases are kept, or twice as many as are in use, though none of their locks is left.
MOST_LEASES = 64


class Renewable(Protocol):
    """A lock that is asked for or held."""

    @property
    def lock_key(self) -> str: ...

    @property
    def entered(self) -> bool: ...

    @property
    def fence(self) -> int: ...

    def lose(self) -> None: ...


#: A lock by its token, and whether it was entered when its renewal was asked for.
Asked: TypeAlias = "tuple[str, Renewable, bool]"


class Renewals:
    """The locks of one client in one loop, by their leases."""

    def __init__(self, caller: Dispatcher) -> None:
        self._caller = weakref.ref(caller)
        self._cohorts: dict[float, _Cohort] = {}
        self._most = MOST_LEASES

    def add(self, token: str, lock: Renewable, lease: float) -> None:
        """Renew this lock from now on; `lease` is in seconds."""
        cohort = self._cohorts.get(lease)
        if cohort is None:
            if len(self._cohorts) >= self._most:
                self._clear()
            cohort = self._cohorts[lease] = _Cohort(self, lease)
        cohort.locks[token] = lock

    def remove(self, token: str, lease: float) -> None:
        """Renew this lock no more."""
        cohort = self._cohorts.get(lease)
        if cohort is not None:
            cohort.locks.pop(token, None)

    def _clear(self) -> None:
        """Let go of all cohorts without locks: where leases are computed, each is asked for once."""
        for cohort in [cohort for cohort in self._cohorts.values() if not cohort.locks]:
            cohort.stop()
        self._most = max(MOST_LEASES, 2 * len(self._cohorts))

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
        self._since: dict[str, float] = {}  # of what was entered: when renewal was first asked for and not answered
        self._under_way: set[str] = set()
        self._calls = Errands("rapyer-renewal")
        self.locks: dict[str, Renewable] = {}
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def _schedule(self) -> None:
        self._timer = self._loop.call_later(self._lease / 3, self._start)

    def stop(self) -> None:
        """Wait for no more locks."""
        self._timer.cancel()
        self._renewals.forget(self._lease)

    def _start(self) -> None:
        if not self.locks:
            self.stop()
            return
        self._give_up()
        now, caller = self._loop.time(), self._renewals.caller
        # What is only asked for has no lock yet, or has it and does not know.
        present = [(token, lock, lock.entered) for token, lock in self.locks.items()]
        self._since = {token: self._since.get(token, now) for token, _, entered in present if entered}
        if caller is not None:
            idle = [asked for asked in present if asked[0] not in self._under_way]
            for group in _by_slot(idle) if caller.clustered else [idle]:
                for first in range(0, len(group), BATCH):
                    self._renew(caller, group[first : first + BATCH])
        self._schedule()

    def _give_up(self) -> None:
        """Let go of what could not be renewed for a whole lease."""
        end = self._loop.time() - self._lease
        for token in [token for token, since in self._since.items() if since <= end]:
            lock = self.locks.pop(token, None)
            if lock is not None:
                lock.lose()

    def _renew(self, caller: Dispatcher, batch: list[Asked]) -> None:
        self._under_way.update(token for token, _, _ in batch)
        self._calls.start(self._renew_batch(caller, batch))

    async def _renew_batch(self, caller: Dispatcher, batch: list[Asked]) -> None:
        keys = [lock.lock_key for _, lock, _ in batch]
        arguments: list[str] = []
        for token, lock, entered in batch:
            arguments += ("fence", str(lock.fence)) if entered else ("owner", token)
            arguments.append(self._milliseconds)
        try:
            alive = await caller.script("lock.renew", keys, arguments, lambda index: Where(keys[index]))
        except Exception:  # noqa: BLE001 - a credential provider may raise anything: tried again in a third of a lease
            return
        finally:
            self._under_way.difference_update(token for token, _, _ in batch)
        self._answered(batch, alive)

    def _answered(self, batch: list[Asked], alive: list[int]) -> None:
        for (token, lock, entered), kept in zip(batch, alive, strict=True):
            if kept:
                self._since.pop(token, None)
            elif entered and self.locks.pop(token, None) is not None:
                lock.lose()


def _by_slot(present: list[Asked]) -> list[list[Asked]]:
    groups: dict[int, list[Asked]] = {}
    for asked in present:
        groups.setdefault(hash_slot(asked[1].lock_key), []).append(asked)
    return list(groups.values())
