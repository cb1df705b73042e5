"""The shop as a web service: buyers reserve and pay by HTTP, and a page shows live what happens.

RAPYER_URL=redis://localhost:6379 uvicorn app:app
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel
from redis.exceptions import RedisError

import rapyer
from rapyer.errors import KeyNotFound, LockTimeout, RapyerError
from shop import Hold, NaiveShop, Shop, SoldOut, TooLate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

PAGE = Path(__file__).with_name("page.html")
TICK_SECONDS = 0.2
logger = logging.getLogger("ticket_shop")


class Ticket(BaseModel):
    """What a buyer gets for paying."""

    seat: str


class Rate:
    """Operations in the last second, counted by `rapyer.observe`."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque()

    def count(self, _event: rapyer.Event) -> None:
        """Take one operation."""
        self._ends.append(time.monotonic())

    def per_second(self) -> int:
        """Return how many ended in the last second."""
        limit = time.monotonic() - 1
        while self._ends and self._ends[0] < limit:
            self._ends.popleft()
        return len(self._ends)


class Service:
    """What the handlers share."""

    def __init__(self, url: str, rows: int, seats: int, hold_seconds: float) -> None:
        self.url = url
        self.size = (rows, seats)
        self.rate = Rate()
        self.shops: dict[str, Shop] = {"shop": Shop(hold_seconds), "naive": NaiveShop(hold_seconds)}

    @asynccontextmanager
    async def running(self, _app: FastAPI) -> AsyncGenerator[None, None]:
        """Connect, put up the rows, and let reservations expire for as long as the service runs."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(rapyer.teardown_rapyer)
            await rapyer.init_rapyer(self.url)
            for shop in self.shops.values():
                await shop.open(*self.size)
            stack.callback(rapyer.observe(self.rate.count))
            stack.push_async_callback(_ended, asyncio.create_task(self._expire()))
            yield

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for name, shop in self.shops.items():
                try:
                    await shop.expire()
                except (RapyerError, RedisError) as error:
                    # A row that is fought over, a Redis that restarts: the next turn tries again.
                    logger.warning("reservations of %s do not expire this time: %r", name, error)

    async def news(self) -> AsyncIterator[str]:
        """Yield server-sent events for as long as somebody listens."""
        while True:
            stock = await self.shops["shop"].stock()
            yield f"data: {json.dumps({**stock.model_dump(), 'rate': self.rate.per_second()})}\n\n"
            await asyncio.sleep(TICK_SECONDS)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _shop(shop: Literal["shop", "naive"], request: Request) -> Shop:
    shops: dict[str, Shop] = request.app.state.service.shops
    return shops[shop]


Chosen = Annotated[Shop, Depends(_shop)]
router = APIRouter()


@router.post("/{shop}/{row}/reserve")
async def reserve(row: str, buyer: str, shop: Chosen) -> Hold:
    """Reserve any free seat of a row."""
    try:
        return await shop.reserve(row, buyer)
    except SoldOut:
        raise HTTPException(409, "sold out") from None
    except KeyNotFound:
        raise HTTPException(404, "no such row") from None
    except LockTimeout:
        raise HTTPException(503, "too many buyers, try again") from None


@router.post("/{shop}/{row}/pay/{number}")
async def pay(row: str, number: str, shop: Chosen) -> Ticket:
    """Turn a reservation into a ticket."""
    try:
        return Ticket(seat=await shop.pay(row, number))
    except (TooLate, KeyNotFound):
        raise HTTPException(410, "the reservation has expired") from None
    except LockTimeout:
        raise HTTPException(503, "too many buyers, try again") from None


@router.get("/")
async def page() -> HTMLResponse:
    """Show what happens."""
    return HTMLResponse(PAGE.read_text("utf-8"))


@router.get("/events")
async def events(request: Request) -> StreamingResponse:
    """Send what the page shows, as it changes."""
    return StreamingResponse(request.app.state.service.news(), media_type="text/event-stream")


def create_app(url: str, *, rows: int = 4, seats: int = 50, hold_seconds: float = 10.0) -> FastAPI:
    """Return the web service for a Redis at this URL."""
    service = Service(url, rows, seats, hold_seconds)
    app = FastAPI(title="Ticket shop", lifespan=service.running)
    app.include_router(router)
    app.state.service = service
    return app


app = create_app(os.environ.get("RAPYER_URL", "redis://localhost:6379"))
