"""Staying awake for an answer: where answers come sooner than a sleeper wakes up, the loop does not go to sleep.

Rules:
- After a write the loop goes round without blocking until everything is answered, for `LONGEST` at most. Whatever else
  is ready runs as always, and nobody's turn comes later.
- An answer that did not come in time is taken as a sign that answers are slow, or that the server is busy: the next
  writes are waited for asleep, twice as many after each vain vigil. So a slow server costs next to no time of the CPU.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sized

#: Seconds of one vigil at most. Waking up costs a process 15 to 40 microseconds, in virtual machines up to 100, and the
#: server has to wake up first: a server on the same machine has answered by then.
LONGEST = 0.00025
#: Writes that are waited for asleep after vain vigils, at most, as a power of two.
MOST_DOUBLINGS = 10


class Vigil:
    """Keeps a loop awake after writes.

    Args:
        loop: the loop that reads the answers.
        due: what is not answered yet.
    """

    __slots__ = ("_awake", "_due", "_end", "_loop", "_rest", "_vain")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Sized) -> None:
        self._loop = loop
        self._due = due
        self._awake = False
        self._end = 0.0
        self._vain = 0
        self._rest = 0

    def begin(self) -> None:
        """Stay awake for what was written, if answers are likely to come soon."""
        if self._awake:
            if len(self._due) == 1:  # what it stayed awake for was answered
                self._end, self._vain = monotonic() + LONGEST, 0
            return
        if self._rest:
            self._rest -= 1
            return
        self._awake = True
        self._end = monotonic() + LONGEST
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        if not self._due:
            self._awake, self._vain = False, 0
        elif monotonic() < self._end:
            self._loop.call_soon(self._look)
        else:
            self._awake = False
            self._vain = min(self._vain + 1, MOST_DOUBLINGS)
            self._rest = 2**self._vain
