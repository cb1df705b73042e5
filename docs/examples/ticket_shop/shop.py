"""A ticket shop on rapyer: seats of a row are reserved, paid for, and come back when nobody pays.

Every row is one document. Whoever changes it holds its lock, over all processes that serve the shop: taking the lock
brings the row as it is, and what the block changed is saved by the script that gives the lock back.
"""

from __future__ import annotations

import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel

from rapyer import AtomicRedisModel
from rapyer.fields import Key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Hold(BaseModel):
    """A seat that somebody has reserved, until when in seconds since 1970, and not paid for yet."""

    number: str
    seat: str
    buyer: str
    until: float


class Row(AtomicRedisModel):
    """A row of seats: each is in exactly one of these places."""

    name: Key[str]
    free: list[str] = []
    held: dict[str, Hold] = {}
    sold: dict[str, str] = {}  # seat -> buyer


class Stock(BaseModel):
    """How many seats are where, and how many buyers wait for a row's lock in this process."""

    free: int = 0
    held: int = 0
    sold: int = 0
    waiting: int = 0


class SoldOut(Exception):
    """The row has no free seat."""


class TooLate(Exception):
    """The reservation has expired, or never was."""


class Shop:
    """Sells seats.

    Args:
        hold_seconds: how long a reservation waits for its payment.
        queue_seconds: how long a buyer waits for a row at most.
    """

    model: type[Row] = Row

    def __init__(self, hold_seconds: float = 10.0, queue_seconds: float = 20.0) -> None:
        self.hold_seconds = hold_seconds
        self.queue_seconds = queue_seconds
        self.waiting = 0

    async def open(self, rows: int, seats: int) -> None:
        """Put up this many rows with this many seats."""
        for number in range(1, rows + 1):
            name = f"row-{number}"
            await self.model(name=name, free=[f"{name}/{seat}" for seat in range(1, seats + 1)]).save()

    # --8<-- [start:alone]
    @asynccontextmanager
    async def alone_with(self, name: str) -> AsyncGenerator[Row, None]:
        """Give a row that nobody else changes meanwhile; what the block did to it is saved."""
        async with AsyncExitStack() as stack:
            self.waiting += 1
            try:
                lock = self.model.lock_from_key(name, "seats", save_at_end=True, timeout=self.queue_seconds)
                row = await stack.enter_async_context(lock)
            finally:
                self.waiting -= 1
            yield row

    # --8<-- [end:alone]

    async def reserve(self, name: str, buyer: str) -> Hold:
        """Reserve any free seat of a row."""
        if not (await self.model.get(name)).free:
            raise SoldOut  # nobody queues for nothing
        async with self.alone_with(name) as row:
            if not row.free:
                raise SoldOut
            until = time.time() + self.hold_seconds
            hold = Hold(number=uuid.uuid4().hex, seat=row.free.pop(0), buyer=buyer, until=until)
            row.held[hold.number] = hold
        return hold

    async def pay(self, name: str, number: str) -> str:
        """Turn a reservation into a ticket; return its seat. Who comes in time is in time, however long the queue."""
        came = time.time()
        async with self.alone_with(name) as row:
            hold = row.held.pop(number, None)
            if hold is None or hold.until < came:
                raise TooLate
            row.sold[hold.seat] = hold.buyer
        return hold.seat

    async def expire(self) -> int:
        """Make seats free again whose buyers did not pay and do not stand in the queue to pay; return how many."""
        count = 0
        for found in await self.model.afind():
            limit = time.time() - self.queue_seconds
            if all(hold.until >= limit for hold in found.held.values()):
                continue
            async with self.alone_with(found.pk) as row:
                late = [number for number, hold in row.held.items() if hold.until < limit]
                row.free.extend(row.held.pop(number).seat for number in late)
                count += len(late)
        return count

    async def stock(self) -> Stock:
        """Count the seats of all rows."""
        stock = Stock(waiting=self.waiting)
        for row in await self.model.afind():
            stock.free += len(row.free)
            stock.held += len(row.held)
            stock.sold += len(row.sold)
        return stock


class NaiveRow(Row):
    """The rows of the naive shop."""


class NaiveShop(Shop):
    """The same shop without rapyer's lock: read the row, change it, write it back. It sells seats twice."""

    model = NaiveRow

    # --8<-- [start:naive]
    @asynccontextmanager
    async def alone_with(self, name: str) -> AsyncGenerator[Row, None]:
        """Give a row that anybody else may change meanwhile."""
        row = await self.model.get(name)
        yield row
        await row.save()

    # --8<-- [end:naive]
