"""Staying awake for an answer: where answers come sooner than a sleeper wakes up, the loop does not go to sleep.

Rules:
- After a write the loop goes round without blocking until everything is answered, for `LONGEST` at most. Whatever else
  is ready runs as always, and nobody's turn comes later.
- While one call is under way and nothing else is ready, the loop is not even gone round: its one socket is asked, which
  takes a tenth of the time, and the answer is read as soon as it is there. Every `GLANCE` the loop has its turn: timers
  and other sockets wait for that long at most.
- An answer that did not come in time is taken as a sign that answers are slow, or that the server is busy: the next
  writes are waited for asleep, twice as many after each vain vigil. So a slow server costs next to no time of the CPU.
"""

from __future__ import annotations

import select
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sized

#: Seconds of one vigil at most. Waking up costs a process 15 to 40 microseconds, in virtual machines up to 100, and the
#: server has to wake up first: one on the same machine has answered by then. Or it waits for the very CPU that is kept
#: busy here: on two of them, one vigil in seven was vain after a millisecond of silence, and cost all of this.
LONGEST = 0.00015
#: Seconds for which nothing but the socket is looked at.
GLANCE = 0.00003
#: Looks at it within that time at most: a clock that a test has stopped does not stop the loop.
LOOKS = 100
#: Writes that are waited for asleep after vain vigils, at most, as a power of two.
MOST_DOUBLINGS = 10


class Vigil:
    """Keeps a loop awake after writes.

    Args:
        loop: the loop that reads the answers.
        due: what is not answered yet.
        transport: that of the socket that answers come by.
    """

    __slots__ = ("_awake", "_due", "_end", "_loop", "_poll", "_ready", "_rest", "_transport", "_vain")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: Sized, transport: Any) -> None:
        self._loop = loop
        self._due = due
        self._transport = transport
        self._poll = _poll(transport)
        # What asyncio's own loops are about to run. Others do not tell: nothing is known to be ready alone there.
        self._ready: Sized = getattr(loop, "_ready", ())
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
        elif (now := monotonic()) < self._end:
            self._loop.call_soon(self._look)
            if len(self._due) == len(self._ready) == 1 and self._poll is not None:
                self._glance(self._poll, min(now + GLANCE, self._end))
        else:
            self._awake = False
            self._vain = min(self._vain + 1, MOST_DOUBLINGS)
            self._rest = 2**self._vain

    def _glance(self, poll: Callable[[int], Any], end: float) -> None:
        """Read an answer that comes before that moment, as the loop does when it finds that there is one."""
        if self._transport.is_closing():
            return
        for _ in range(LOOKS):
            if poll(0):
                self._transport._read_ready()
                return
            if monotonic() > end:
                return


def _poll(transport: Any) -> Callable[[int], Any] | None:
    """Return what tells whether there is something to read, where it can be read as asyncio's own loops do."""
    socket = transport.get_extra_info("socket")
    if socket is None or not hasattr(transport, "_read_ready") or not hasattr(select, "poll"):
        return None
    asked = select.poll()
    asked.register(socket.fileno(), select.POLLIN)
    return asked.poll
