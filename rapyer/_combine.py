"""Script calls on their way; combining: calls of one operation on one place that wait for the same write go out as one.

Rules:
- What a caller awaits is a plain future, which asyncio handles fastest; no coroutine waits in between. What can be done
  about a failure is the sender's business.
- Only operations are combined whose combined script answers each caller what it would have got alone, in order,
  refusals included.
- A call joins only a group that nobody overtook: whatever else is asked for on that document ends the group.
- A caller that was cancelled before the write takes no part. A lost answer is unknown to every caller of the group.
- Who asks for another care than the others makes a group of its own; what is different there is in `_careful`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ResponseError

from rapyer._lane import own_error
from rapyer._refused import final
from rapyer._registry import scripts
from rapyer._sent import Sent

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from rapyer._lane import Lane
    from rapyer._ops import Argument
    from rapyer._refused import Locate, Where
    from rapyer._script import Script
    from rapyer._sent import Care

#: Script -> the script that does it for many.
COMBINED = {"number.increase": "number.increase_each"}
#: Callers of one group: bounds how long the server is busy with it.
MOST = 500


class Sender(Protocol):
    """Who sends calls."""

    def mends(self, error: BaseException, *, again: bool = False) -> bool:
        """Whether a call that failed like this may go on; `again`: it may be sent again, whatever happened."""

    def mend(self, call: Any, error: BaseException) -> None:
        """Let a call go on; it gets its outcome later."""

    def shut(self, group: Group) -> None:
        """Let nobody join a group any more."""

    def pack(self, group: Group, amounts: Sequence[Argument]) -> bytes:
        """Return the command for these callers of a group."""


class ScriptCall(Sent):
    """One call of a script.

    Attributes:
        future: what the caller awaits.
        name: the script.
        keys: its KEYS.
        where: the place a refused operation worked on, or what gives it.
        sender: who is asked when it failed.
        lane: the way it took.
        packed: its bytes.
        repeatable: whether it may run twice.
        tries: how many connections failed it.
    """

    __slots__ = ("future", "keys", "lane", "name", "packed", "repeatable", "sender", "where")

    packed: bytes
    care: Care | None = None
    # What a lane may ask of any call, and what is seldom another value.
    tries = 0
    first = b""

    def __init__(  # noqa: PLR0913, PLR0917 - by place, since it is made for each call
        self,
        future: Future[Any],
        name: str,
        keys: Sequence[str],
        where: Where | Locate | str,
        sender: Sender,
        lane: Lane,
        packed: bytes,
        repeatable: bool,  # noqa: FBT001
    ) -> None:
        self.future = future
        self.name = name
        self.keys = keys
        self.where = where
        self.sender = sender
        self.lane = lane
        self.packed = packed
        self.repeatable = repeatable

    @property
    def script(self) -> Script:
        """What it runs."""
        return scripts()[self.name]

    def given_up(self) -> bool:
        """Whether nobody waits for it."""
        return self.future.done()

    def answer(self, reply: Any) -> None:
        """Give the caller the reply."""
        self.future.set_result(reply)

    def fail(self, error: BaseException) -> None:
        """Go on if there is a way, else give the caller its error."""
        if self.future.done():
            return
        if self.sender.mends(error):
            self.sender.mend(self, error)
        else:
            self.end(error)

    def callers(self) -> int:
        """Return how many wait for it."""
        return int(not self.future.done())

    def end(self, error: BaseException) -> None:
        """Give the caller the error that this failure is to it."""
        end(self.future, final(self.name, error, self.where, self.keys))

    def when_left(self, then: Callable[[], object]) -> None:
        """Do something when nobody waits for it any more."""
        self.future.add_done_callback(lambda _: then())


def end(future: Future[Any], error: BaseException) -> None:
    """Give a caller an error, if there still is a caller."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # a caller that is cancelled meanwhile is no reason for a message in the log


@lru_cache(maxsize=1024)
def _shared(head: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """Return one and the same object for equal ones: many calls that wait differ in their keys only."""
    return head


class Group:
    """Calls of one operation on one place, sent as one, or alone as what each of them is.

    Attributes:
        future: what the only caller awaits, while nobody has joined; a lane handles it as any call's.
        name: the script that each of them calls.
        keys: its KEYS.
        head: its ARGV without the last, which each caller has of its own.
    """

    __slots__ = (
        *("__dict__", "_alone", "_amounts", "_futures", "_lane", "_sender", "_where"),
        *("future", "head", "keys", "name"),
    )

    care: Care | None = None
    repeatable = False
    tries = 0
    first = b""
    until = math.inf
    unsure = False

    def __init__(  # noqa: PLR0913, PLR0917 - by place, as a `ScriptCall`
        self,
        future: Future[Any],
        name: str,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        where: Where | Locate | str,
        sender: Sender,
        lane: Lane,
    ) -> None:
        self.future: Future[Any] | None = future
        self.name = name
        self.keys = keys
        self.head = _shared(tuple(arguments[:-1]))
        self._where = where
        self._sender = sender
        self._lane = lane
        self._futures: list[Future[Any]] | None = None
        self._amounts: Sequence[Argument] = arguments[-1:]
        # A first caller whose words have no bytes is told at once: a lane could not.
        self._alone = sender.pack(self, self._amounts)

    def joined(self, future: Future[Any], name: str, arguments: Sequence[Argument], care: Care | None) -> bool:
        """Add a caller who asks for the same with the same care, if there is room.

        There is none among those that nobody waits for, nor where tries are partly used up.
        """
        if self.head != arguments[:-1] or self.name != name or self.care != care:
            return False
        futures, amount = self._futures, arguments[-1]
        if futures is None:
            first = self.future
            if first is None or self.tries or first.done():
                return False
            self.future = None
            self._futures, self._amounts = [first, future], [*self._amounts, amount]
            return True
        if len(futures) >= MOST or self.tries or (futures[-1].done() and self.given_up()):
            return False
        futures.append(future)
        self._amounts.append(amount)  # type: ignore[attr-defined]  # a list by now
        return True

    def _callers(self) -> list[tuple[Future[Any], Argument]]:
        futures = self._futures or ([] if self.future is None else [self.future])
        return [pair for pair in zip(futures, self._amounts, strict=True) if not pair[0].done()]

    # -- what a lane asks a call -----------------------------------------------------------------------------------

    @property
    def packed(self) -> bytes:
        """The command; nobody joins from now on."""
        self._sender.shut(self)
        if self._futures is None:
            return self._alone
        left = self._callers()
        self._futures, self._amounts = map(list, zip(*left, strict=True))
        return self._sender.pack(self, self._amounts)

    def given_up(self) -> bool:
        """Whether nobody waits any more; nobody joins then."""
        for future in self._futures or (self.future,):
            if future is not None and not future.done():
                return False
        self._sender.shut(self)
        return True

    def callers(self) -> int:
        """Return how many wait for it."""
        return len(self._callers())

    def answer(self, reply: Any) -> None:
        """Give each caller its answer."""
        futures = self._futures or ()
        if len(futures) == 1:
            futures[0].set_result(reply)
            return
        for future, text in zip(futures, reply, strict=True):
            if future.done():
                continue
            if text is None:
                refusal = ResponseError("RAPYER_OUT_OF_RANGE 0 -")
                end(future, final(self.name, refusal, self._where, self.keys))
            else:
                future.set_result((text, None))

    def fail(self, error: BaseException) -> None:
        """Give each caller the error, as an object of its own; who goes on does so by itself."""
        sender = self._sender
        sender.shut(self)
        mends = sender.mends(error)
        for future, amount in self._callers():
            own = own_error(error)
            if mends:
                packed = sender.pack(self, (amount,))
                call = ScriptCall(future, self.name, self.keys, self._where, sender, self._lane, packed, False)  # noqa: FBT003
                sender.mend(call, own)
            else:
                end(future, final(self.name, own, self._where, self.keys))
