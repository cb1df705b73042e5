"""Who waits for a lock: a waiter, and the group of those who share a ticket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from rapyer._lane import own_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

#: How many waiters share a ticket: so many sections in a row before the next ticket's turn.
TURNS = 8


class Place(msgspec.Struct, frozen=True):
    """A lock, and the terms on which it is asked for."""

    key: str
    action: str
    lock_key: str
    queue_key: str
    lease: float
    lease_text: str  # as the scripts take it, in milliseconds
    ttl: str


class Waiter(Protocol):
    """Who asks for a lock. `turn` is done when its turn has come, with the document's JSON text."""

    place: Place
    turn: asyncio.Future[bytes]
    group: Group
    token: str
    fence: int
    info: str
    patient: bool
    hurried: bool

    @property
    def entered(self) -> bool: ...

    @property
    def lock_key(self) -> str: ...

    def lose(self) -> None: ...

    def granted(self, token: str, fence: int) -> None: ...

    def expire(self) -> None: ...


class Group(msgspec.Struct, eq=False):
    """Waiters who share a ticket."""

    place: Place
    token: str  # of the turn that it waits for or has
    waiters: list[Waiter]
    room: int  # for so many more
    ticket: str = ""  # for this turn, if it may be in the queue
    asker: Waiter | None = None  # for whom it is asked for the first time
    asking: asyncio.Future[Any] | None = None
    again: bool = False  # whether a server may have been told of it since
    holder: Waiter | None = None
    timer: asyncio.TimerHandle | None = None
    closed: bool = False

    def first(self) -> Waiter | None:
        """Return who is next of those that still wait."""
        for waiter in self.waiters:
            if not waiter.turn.done():
                return waiter
        return None

    @property
    def waits(self) -> bool:
        """Whether it may have a ticket."""
        return self.asker is None or self.asker.patient

    def unheard(self, unsent: Callable[[asyncio.Future[Any]], bool]) -> bool:
        """Whether no server was told of it: it was asked for once, and that was never sent, as `unsent` can tell."""
        return not self.again and self.asking is not None and unsent(self.asking)

    def stop_timer(self) -> None:
        """Have nobody ask again."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def stop_asking(self) -> None:
        """Give up the answer to the first asking."""
        self.asker = None
        if self.asking is not None:
            self.asking.cancel()

    def fail(self, error: Exception) -> None:
        """Give everybody who waits an error of their own; who comes before they are gone does not join them."""
        self.room = 0
        for waiter in self.waiters:
            if not waiter.turn.done():
                waiter.turn.set_exception(own_error(error))
