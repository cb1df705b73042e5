"""Combining: calls of one operation on one place that wait for the same write go out as one script call.

Rules:
- Only operations whose combined script answers each caller what it would have got alone, in order, refusals included.
- A call joins only a group that nobody overtook: whatever else is asked for on that document ends its group.
- A caller that was cancelled before the write takes no part. A lost answer is unknown to every caller of the group.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ResponseError

from rapyer._lane import own_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from rapyer._ops import Argument

#: Script -> the script that does it for many.
COMBINED = {"number.increase": "number.increase_each"}
#: Callers of one group: bounds how long the server is busy with it.
MOST = 500


class Sender(Protocol):
    """Who sends groups."""

    def pack(self, group: Group, amounts: Sequence[Argument]) -> bytes:
        """Return the command for a group, which is full now."""


class Group:
    """Calls that are sent as one; for the lane it is a call.

    Args:
        sender: packs it, and is told then that nobody may join any more.
        name: the script that does it for one.
        key: the document.
        head: the arguments that all have in common.
    """

    __slots__ = ("_amounts", "_callers", "_packed", "_sender", "head", "key", "name", "tries", "unsure")

    repeatable = False
    first = b""
    until = math.inf

    def __init__(self, sender: Sender, name: str, key: str, head: Sequence[Argument]) -> None:
        self.name = name
        self.key = key
        self.head = head
        self._sender = sender
        self._callers: list[asyncio.Future[Any]] = []
        self._amounts: list[Argument] = []
        self._packed: bytes | None = None
        self.tries = 0
        self.unsure = False

    def takes(self, head: Sequence[Argument]) -> bool:
        """Whether a call with these arguments may join; not one that the lane passes over, nobody being left in it."""
        return self.head == head and len(self._callers) < MOST and not self.done()

    def join(self, caller: asyncio.Future[Any], amount: Argument) -> None:
        """Add a caller."""
        self._callers.append(caller)
        self._amounts.append(amount)

    # -- what a lane asks a call -----------------------------------------------------------------------------------

    @property
    def packed(self) -> bytes:
        """The command; from now on nobody joins."""
        if self._packed is None:
            live = [index for index, caller in enumerate(self._callers) if not caller.done()]
            self._callers = [self._callers[index] for index in live]
            self._packed = self._sender.pack(self, [self._amounts[index] for index in live])
        return self._packed

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return all(caller.done() for caller in self._callers)

    def set_result(self, reply: Any) -> None:
        """Give each caller its answer."""
        if len(self._callers) == 1:
            self._callers[0].set_result(reply)
            return
        for caller, text in zip(self._callers, reply, strict=True):
            if caller.done():
                continue
            if text is None:
                _fail(caller, ResponseError("RAPYER_OUT_OF_RANGE 0 -"))
            else:
                caller.set_result((text, None))

    def fail(self, error: BaseException) -> None:
        """Give each caller the error, as an object of its own."""
        for caller in self._callers:
            _fail(caller, own_error(error))


def _fail(caller: asyncio.Future[Any], error: BaseException) -> None:
    if not caller.done():
        caller.set_exception(error)
        caller.exception()  # a caller that is cancelled meanwhile is no reason for a message in the log
