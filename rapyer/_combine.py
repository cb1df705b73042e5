"""A script call on its way; combining: calls of one operation on one place that wait for the same write go out as one.

Rules:
- A call is the future that its caller awaits: no coroutine waits in between. What can be done about a failure is its
  sender's business.
- Only operations are combined whose combined script answers each caller what it would have got alone, in order,
  refusals included.
- A call joins only one that nobody overtook: whatever else is asked for on that document ends the group.
- A caller that was cancelled before the write takes no part. A lost answer is unknown to every caller of the group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ResponseError

from rapyer._lane import own_error
from rapyer._refused import final
from rapyer._wire import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer._lane import Lane
    from rapyer._ops import Argument
    from rapyer._refused import Locate, Where

#: Script -> the script that does it for many.
COMBINED = {"number.increase": "number.increase_each"}
#: Callers of one group: bounds how long the server is busy with it.
MOST = 500


class Sender(Protocol):
    """Who sends calls."""

    def mends(self, call: ScriptCall, error: BaseException) -> bool:
        """Whether a call that failed goes on; it gets its outcome later then."""

    def shut(self, first: Joint) -> None:
        """Let nobody join a call any more."""

    def pack(self, first: Joint, calls: Sequence[Joint]) -> bytes:
        """Return the command for a group, which is full now."""


class ScriptCall(Call):
    """One call of a script.

    Attributes:
        name: the script.
        keys: its KEYS.
        where: the place a refused operation worked on, or what gives it.
        sender: who is asked when it failed.
        lane: the way it took.
    """

    __slots__ = ("keys", "lane", "name", "sender", "where")

    name: str
    keys: Sequence[str]
    where: Where | Locate
    sender: Sender
    lane: Lane

    def fail(self, error: BaseException) -> None:
        """Go on if there is a way, else give the caller its error."""
        if not self.done() and not self.sender.mends(self, error):
            self.end(error)

    def end(self, error: BaseException) -> None:
        """Give the caller the error that this failure is to it."""
        Call.fail(self, final(self.name, error, self.where, self.keys))


class Joint(ScriptCall):
    """A call that others like it may join: the first of them is sent for all.

    Attributes:
        arguments: its ARGV; the last is what each caller has of its own.
    """

    __slots__ = ("_packed", "arguments")

    repeatable = False
    # Others only where some joined.
    _joined: list[Joint] | None = None
    _sent: Sequence[Joint] = ()

    def __init__(self, arguments: Sequence[Argument], loop: Any) -> None:
        super().__init__(loop=loop)
        self.arguments = arguments
        self._packed: bytes | None = None

    def takes(self, call: Joint) -> bool:
        """Whether a call may join; not one that the lane passes over, nobody being left in it."""
        if self.arguments[:-1] != call.arguments[:-1] or self.given_up():
            return False
        return self._joined is None or len(self._joined) + 1 < MOST

    def join(self, call: Joint) -> None:
        """Add a call."""
        if self._joined is None:
            self._joined = []
        self._joined.append(call)

    # -- what a lane asks a call -----------------------------------------------------------------------------------

    @property
    def packed(self) -> bytes:  # type: ignore[override]  # made when it is written
        """The command; from now on nobody joins."""
        if self._packed is None:
            if self._joined is None:
                self._packed = self.sender.pack(self, (self,))
            else:
                self._sent = [call for call in (self, *self._joined) if not call.done()]
                self._packed = self.sender.pack(self, self._sent)
        return self._packed

    def given_up(self) -> bool:
        """Whether nobody waits any more."""
        return self.done() and (self._joined is None or all(call.done() for call in self._joined))

    def answer(self, reply: Any) -> None:
        """Give each caller its answer."""
        if self._joined is None:
            self.set_result(reply)
            return
        sent, self._sent = self._sent, ()  # it holds this call, too
        if len(sent) == 1:
            sent[0].set_result(reply)
            return
        for call, text in zip(sent, reply, strict=True):
            if call.done():
                continue
            if text is None:
                call.end(ResponseError("RAPYER_OUT_OF_RANGE 0 -"))
            else:
                call.set_result((text, None))

    def fail(self, error: BaseException) -> None:
        """Give each caller the error, as an object of its own; who goes on does so by itself."""
        self.sender.shut(self)
        if self._joined is None:
            super().fail(error)
            return
        self._sent = ()
        for call in (self, *self._joined):
            ScriptCall.fail(call, own_error(error))
