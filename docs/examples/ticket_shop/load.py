"""Thousands of buyers at once, first in the naive shop, then in the one on rapyer: how many seats were sold twice?

    python docs/examples/ticket_shop/load.py --buyers 3000

It starts a Redis of its own, serves the live page at the address it prints, and sends the buyers' requests to
the service in this process. The exit code is 1 if the shop on rapyer sold a seat twice or lost one.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import socket
import sys
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import uvicorn

from app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from fastapi import FastAPI

ROWS, SEATS = 4, 50
HOLD_SECONDS = 3.0
#: All buyers come within so many seconds.
ARRIVAL_SECONDS = 1.0
#: Of so many who reserve, one walks away without paying.
FORGETFUL = 5


@dataclass
class Outcome:
    """What the buyers got.

    Attributes:
        promises: seat -> from when to when it was somebody's; without end once it was paid for.
        refused: status code -> how many buyers got it instead of a ticket; 0 for those who walked away.
    """

    shop: str
    buyers: int
    promises: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    tickets: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    in_stock: int = 0

    @property
    def oversold(self) -> int:
        """How often a seat was given to a buyer while it was another's."""
        return sum(map(_overlaps, self.promises.values()))


def _overlaps(spans: list[tuple[float, float]]) -> int:
    count, taken = 0, 0.0
    for since, until in sorted(spans):
        count += since < taken
        taken = max(taken, until)
    return count


class Rush:
    """Many buyers of one shop, all at once."""

    def __init__(self, app: FastAPI, shop: str, buyers: int) -> None:
        self._service = app.state.service
        self._transport = httpx.ASGITransport(app=app)
        self.outcome = Outcome(shop, buyers)

    async def run(self) -> Outcome:
        """Let them fight for the seats."""
        outcome = self.outcome
        shop = self._service.shops[outcome.shop]
        async with httpx.AsyncClient(transport=self._transport, base_url="http://shop", timeout=None) as client:  # noqa: S113 - buyers wait
            began = time.perf_counter()
            await asyncio.gather(*(self._buyer(client, shop.hold_seconds, number) for number in range(outcome.buyers)))
            outcome.seconds = time.perf_counter() - began
        stock = await shop.stock()
        outcome.in_stock = stock.free + stock.held + stock.sold
        return outcome

    async def _buyer(self, client: httpx.AsyncClient, hold_seconds: float, number: int) -> None:
        await asyncio.sleep(random.uniform(0, ARRIVAL_SECONDS))
        row = f"/{self.outcome.shop}/row-{number % ROWS + 1}"
        answer = await client.post(f"{row}/reserve", params={"buyer": f"buyer-{number}"})
        if answer.status_code != httpx.codes.OK:
            self.outcome.refused[answer.status_code] += 1
            return
        hold = answer.json()
        paid = await self._pay(client, f"{row}/pay/{hold['number']}")
        self.outcome.promises[hold["seat"]].append((hold["until"] - hold_seconds, math.inf if paid else hold["until"]))

    async def _pay(self, client: httpx.AsyncClient, address: str) -> bool:
        await asyncio.sleep(random.uniform(0, 0.1))  # looks for the credit card
        if random.randrange(FORGETFUL) == 0:
            self.outcome.refused[0] += 1
            return False
        answer = await client.post(address)
        if answer.status_code != httpx.codes.OK:
            self.outcome.refused[answer.status_code] += 1
            return False
        self.outcome.tickets.append(answer.json()["seat"])
        return True


def report(outcome: Outcome) -> str:
    """Return a line for a person."""
    return (
        f"{outcome.shop:6} {outcome.buyers:6} buyers {outcome.seconds:6.1f} s  tickets {len(outcome.tickets):4}"
        f"  oversold {outcome.oversold:4}  paid in vain {outcome.refused[410]:4}  refused {outcome.refused[409]:5}"
    )


@asynccontextmanager
async def served(app: FastAPI, port: int) -> AsyncGenerator[None, None]:
    """Run the service on a port of this machine."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        if serving.done():
            await serving
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def demo(url: str, buyers: int, keep: float) -> int:
    """Show both shops and return the exit code."""
    app = create_app(url, rows=ROWS, seats=SEATS, hold_seconds=HOLD_SECONDS)
    port = _free_port()
    async with served(app, port):
        print(f"the live page: http://127.0.0.1:{port}/", flush=True)
        outcomes = []
        for shop in ("naive", "shop"):
            outcomes.append(await Rush(app, shop, buyers).run())
            print(report(outcomes[-1]), flush=True)
        await asyncio.sleep(keep)
    good = outcomes[1]
    return int(good.oversold > 0 or good.in_stock != ROWS * SEATS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--buyers", type=int, default=3000)
    parser.add_argument("--keep", type=float, default=0, help="seconds to serve the page after the rush")
    options = parser.parse_args(words)
    return asyncio.run(demo(os.environ["RAPYER_URL"], options.buyers, options.keep))


if __name__ == "__main__":
    sys.exit(main())
