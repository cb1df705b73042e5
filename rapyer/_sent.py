"""A call of a script, which may be sent several times: what is asked for, and what is known of it.

What a caller awaits is a plain future, which asyncio handles fastest; no coroutine waits in between. What can be done
about a failure is the sender's business.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec
from redis.exceptions import RedisError, ResponseError

from rapyer._nodes import replicated
from rapyer._refused import final, unknown
from rapyer._registry import scripts
from rapyer._trip import elsewhere, later
from rapyer._wire import Call
from rapyer.errors import NotReplicated, OutcomeUnknown, ServerError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from rapyer._lane import Lane
    from rapyer._once import Once
    from rapyer._refused import Locate, Where
    from rapyer._script import Script
    from rapyer._trip import Trip

_UNSURE = (OutcomeUnknown, NotReplicated)


class Care(msgspec.Struct, frozen=True):
    """What a write is asked for beyond running.

    Attributes:
        once: whether it is repeated until it is known, and runs once.
        replicas: how many replicas have to have it.
    """

    once: bool
    replicas: int


class Sender(Protocol):
    """Who sends calls."""

    def mends(self, error: BaseException, *, again: bool = False) -> bool:
        """Whether a call that failed like this may go on; `again`: it may be sent again, whatever happened."""

    def mend(self, call: Any, error: BaseException) -> None:
        """Let a call go on; it gets its outcome later."""

    def trip(self) -> Trip:
        """Return the time of a call that is sent on, which begins now."""


class Sent:
    """A call of a script, which may be sent several times.

    Attributes:
        keys: its KEYS; it is sent to where the first one is.
        repeatable: whether it may be sent again after it was sent and not answered.
        once: its id, if it runs once.
        replicas: how many have to have what it wrote.
        unsure: whether it may have run, although no answer counts yet.
        until: when it may be sent for the last time, by the loop's clock.
        trip: its time, once it was sent on.
    """

    __slots__ = ("__dict__",)

    keys: Sequence[str]
    repeatable: bool
    # Seldom another value.
    once: Once | None = None
    replicas = 0
    unsure = False
    until = math.inf
    trip: Trip | None = None
    callers: Callable[[], int]  # each kind of call has its own; it tells how many wait

    @property
    def packed(self) -> bytes:
        """Its bytes, as it is to be written now."""
        raise NotImplementedError  # pragma: no cover - each kind of call has its own

    @property
    def script(self) -> Script:
        """What it runs."""
        raise NotImplementedError  # pragma: no cover - each kind of call has its own

    def again(self, error: BaseException) -> bool:
        """Whether it may be sent again after a failure, and that may help.

        A refusal for now says that nothing ran, which whoever asked for the first time is told. It says nothing of
        what was sent before.
        """
        unknown = isinstance(error, _UNSURE) or elsewhere(error) or (self.unsure and later(error))
        return self.once is not None and unknown

    def over(self) -> bool:
        """Whether the failure it just had is its last, however often it was tried: its time is over."""
        return self.trip is not None and self.trip.left <= 0

    def way(self, lane: Lane) -> Lane:
        """Return what it takes to the address of a lane."""
        return replicated(lane, self.replicas) if self.replicas else lane

    def failed(self, error: BaseException) -> BaseException:
        """Take note of a failure and return it; one of a lane that knows no keys gets the key."""
        self.unsure = self.unsure or isinstance(error, _UNSURE)
        return NotReplicated(self.keys[0], error.wanted, error.found) if isinstance(error, NotReplicated) else error

    async def by(self, lane: Lane) -> Any:
        """Send it once more and return its reply."""
        again = _Again(self)
        self.way(lane).send(again)
        try:
            return await again
        except _UNSURE as error:
            raise self.failed(error) from error.__cause__


class ScriptCall(Sent, msgspec.Struct, eq=False):
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

    future: Future[Any]
    name: str
    keys: Sequence[str]
    where: Where | Locate | str
    sender: Sender
    lane: Lane
    packed: bytes
    repeatable: bool
    care: ClassVar[Care | None] = None
    # What a lane may ask of any call, and what is seldom another value.
    tries = 0
    first = b""
    __repr__ = object.__repr__  # the bytes are nobody's to see

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
            self._note(error)
        elif self.sender.mends(error):
            self.sender.mend(self, error)
        else:
            self.end(error)

    def callers(self) -> int:
        """Return how many wait for it."""
        return int(not self.future.done())

    def end(self, error: BaseException) -> None:
        """Give the caller the error that this failure is to it."""
        self._note(error)
        end(self.future, final(self.name, error, self.where, self.keys))

    def _note(self, error: BaseException) -> None:
        """Take note of a call that was never sent, for `is_unsent`."""
        if not (self.unsure or isinstance(error, (ResponseError, OutcomeUnknown))):
            self.future.unsent = True  # type: ignore[attr-defined]  # seldom, so no call has room for it

    def when_left(self, then: Callable[[], object]) -> None:
        """Do something when nobody waits for it any more."""
        self.future.add_done_callback(lambda _: then())


def is_unsent(future: Future[Any]) -> bool:
    """Whether it is what the caller of a `ScriptCall` awaits that ended without having been sent."""
    return getattr(future, "unsent", False)


def end(future: Future[Any], error: BaseException) -> None:
    """Give a caller an error, if there still is a caller."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # a caller that is cancelled meanwhile is no reason for a message in the log


class _Again(Call):
    """A call on its way once more: until it is written, it may change what is to be sent."""

    __slots__ = ("_sent",)

    def __init__(self, sent: Sent) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._sent = sent
        self.repeatable = sent.repeatable
        if sent.trip is not None:
            self.first = sent.trip.first
        self.until = sent.until

    @property
    def packed(self) -> bytes:  # type: ignore[override]  # only read
        return self._sent.packed

    def given_up(self) -> bool:
        # The task that sends it is cancelled for that only in the loop's next turn.
        return self.done() or not self._sent.callers()

    def over(self) -> bool:
        return self._sent.over()

    @property
    def unsure(self) -> bool:
        return self._sent.unsure

    @unsure.setter
    def unsure(self, unsure: bool) -> None:
        self._sent.unsure = unsure


def told_of(sent: Sent, error: BaseException) -> BaseException:
    """Return what a caller is told of a call that was sent again in vain: that it may have run, if it may."""
    told = isinstance(error, Exception) and not isinstance(error, (RedisError, OSError, ServerError))
    if told or sent.once is None or not sent.unsure or isinstance(error, OutcomeUnknown):
        return error
    what = "Redis stayed away after a write was sent: it may have run, once; read the document before repeating it"
    return unknown(sent.keys, what, error)
