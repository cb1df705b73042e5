"""A call of a script that may be sent several times: what is asked for, and what is known of it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import RedisError

from rapyer._nodes import replicated
from rapyer._once import LONGEST
from rapyer.errors import NotReplicated, OutcomeUnknown, ServerError

if TYPE_CHECKING:
    from rapyer._lane import Lane
    from rapyer._once import Once
    from rapyer._script import Script
    from rapyer._wire import Call


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
        unsure: whether it may have run, although no answer came.
        until: when it may be sent for the last time, by the loop's clock.
    """

    __slots__ = ("key", "once", "packed", "replicas", "script", "unsure", "until")

    def __init__(self, packed: bytes, script: Script, key: str, once: Once | None = None, replicas: int = 0) -> None:
        self.packed = packed
        self.script = script
        self.key = key
        self.once = once
        self.replicas = replicas
        self.unsure = False
        self.until = math.inf if once is None else asyncio.get_running_loop().time() + LONGEST

    def start(self, lane: Lane, first: bytes = b"") -> Call:
        """Send it; `ended` is to be told how the call that is returned ended.

        Args:
            lane: where to.
            first: what has to be written directly before it.
        """
        way = replicated(lane, self.replicas) if self.replicas else lane
        repeatable = self.once is not None or self.script.repeatable
        return way.call(self.packed, repeatable=repeatable, first=first, until=self.until)

    def ended(self, call: Call) -> None:
        """Take note of whether a call of it was sent and may have run without an answer."""
        if call.unsure and self.once is not None:
            self.unsure = True

    def named(self, error: BaseException) -> BaseException:
        """Return the error of a call; one of a lane that knows no keys gets the key."""
        return NotReplicated(self.key, error.wanted, error.found) if isinstance(error, NotReplicated) else error

    async def by(self, lane: Lane, first: bytes = b"") -> Any:
        """Send it and return its reply."""
        call = self.start(lane, first)
        try:
            return await call
        except NotReplicated as error:
            raise self.named(error) from None
        finally:
            self.ended(call)


def told_of(sent: Sent, error: BaseException) -> BaseException:
    """Return what a caller is told of a call that was sent again in vain: that it may have run, if it may."""
    told = isinstance(error, Exception) and not isinstance(error, (RedisError, OSError, ServerError))
    if told or not sent.unsure or isinstance(error, OutcomeUnknown):
        return error
    return OutcomeUnknown(
        "Redis stayed away after a write was sent: it may have run, once; read the document before repeating it"
    )
