"""A call of a script that may be sent several times: what is asked for, and what is known of it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import RedisError

from rapyer._nodes import replicated
from rapyer._trip import elsewhere
from rapyer._wire import Call
from rapyer.errors import NotReplicated, OutcomeUnknown, ServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer._lane import Lane
    from rapyer._once import Once
    from rapyer._script import Script

_UNSURE = (OutcomeUnknown, NotReplicated)


class Care(msgspec.Struct, frozen=True):
    """What a write is asked for beyond running.

    Attributes:
        once: whether it is repeated until it is known, and runs once.
        replicas: how many replicas have to have it.
    """

    once: bool
    replicas: int


class Sent:
    """A call of a script, which may be sent several times.

    Attributes:
        keys: its KEYS; it is sent to where the first one is.
        repeatable: whether it may be sent again after it was sent and not answered.
        once: its id, if it runs once.
        replicas: how many have to have what it wrote.
        unsure: whether it may have run, although no answer counts yet.
        until: when it may be sent for the last time, by the loop's clock.
    """

    __slots__ = ("__dict__",)

    keys: Sequence[str]
    repeatable: bool
    # Seldom another value.
    once: Once | None = None
    replicas = 0
    unsure = False
    until = math.inf

    @property
    def packed(self) -> bytes:
        """Its bytes, as it is to be written now."""
        raise NotImplementedError  # pragma: no cover - each kind of call has its own

    @property
    def script(self) -> Script:
        """What it runs."""
        raise NotImplementedError  # pragma: no cover - each kind of call has its own

    def again(self, error: BaseException) -> bool:
        """Whether it may be sent again after a failure, and that may help."""
        return self.once is not None and (isinstance(error, _UNSURE) or elsewhere(error))

    def way(self, lane: Lane) -> Lane:
        """Return what it takes to the address of a lane."""
        return replicated(lane, self.replicas) if self.replicas else lane

    def failed(self, error: BaseException) -> BaseException:
        """Take note of a failure and return it; one of a lane that knows no keys gets the key."""
        self.unsure = self.unsure or isinstance(error, _UNSURE)
        return NotReplicated(self.keys[0], error.wanted, error.found) if isinstance(error, NotReplicated) else error

    async def by(self, lane: Lane, first: bytes = b"") -> Any:
        """Send it and return its reply.

        Args:
            lane: where to.
            first: what has to be written directly before it.
        """
        again = _Again(self, first)
        self.way(lane).send(again)
        try:
            return await again
        except _UNSURE as error:
            raise self.failed(error) from error.__cause__


class _Again(Call):
    """A call on its way once more: until it is written, it may change what is to be sent."""

    __slots__ = ("_sent",)

    def __init__(self, sent: Sent, first: bytes) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._sent = sent
        self.repeatable = sent.repeatable
        self.first = first
        self.until = sent.until

    @property
    def packed(self) -> bytes:  # type: ignore[override]  # only read
        return self._sent.packed

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
    unknown = OutcomeUnknown(
        "Redis stayed away after a write was sent: it may have run, once; read the document before repeating it"
    )
    unknown.__cause__ = error
    return unknown
