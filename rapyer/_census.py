"""How many wait for a lock, noted on the lock for people who look.

Waiters that share a ticket are known to their process alone. Whoever waits for longer than `AFTER` is therefore
counted, with all others here, by a call that nobody waits for: one for each lock in that time, and none when nothing
changes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from rapyer._dispatch import FAILURES
from rapyer._tasks import heard
from rapyer.errors import RapyerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Seconds from a change to the note.
AFTER = 1.0


class Census:
    """The waiters of one client and loop.

    Args:
        count: gives how many wait for the lock with this key.
        note: has the server note a number; that it cannot is no harm.
    """

    def __init__(self, count: Callable[[str], int], note: Callable[[str, int], Awaitable[object]]) -> None:
        self._count = count
        self._note = note
        self._due: set[str] = set()
        self._noted: dict[str, int] = {}

    def joined(self, lock_key: str) -> None:
        """Learn that somebody waits."""
        if lock_key not in self._due:
            self._due.add(lock_key)
            asyncio.get_running_loop().call_later(AFTER, self._look, lock_key)

    def left(self, lock_key: str) -> None:
        """Learn that somebody waits no more."""
        if lock_key in self._noted:
            self.joined(lock_key)

    def _look(self, lock_key: str) -> None:
        self._due.discard(lock_key)
        waiting, noted = self._count(lock_key), self._noted.pop(lock_key, 0)
        if waiting:
            self._noted[lock_key] = waiting
        if waiting != noted:
            # Without a task: at the end of a program there may be no turn left for one.
            with suppress(RapyerError, *FAILURES):
                asyncio.ensure_future(self._note(lock_key, waiting)).add_done_callback(heard)
