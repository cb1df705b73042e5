"""One process of the demo: three kinds of work on one document at once, with rapyer or the naive way.

It takes one line of JSON on standard input for each part of the demo and answers with what it has done so far, as lines
of JSON on standard output, the last of which says that it is done. It ends when its input ends.

Rules
- Only what was acknowledged is counted, so what is counted must be in Redis.
- An operation that has begun when the time is up is finished and counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import Field
from redis.asyncio import Redis

import rapyer
from rapyer import AtomicRedisModel

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_SECONDS = 0.1
#: The document's fields -> what each is changed with.
WORK = {
    "hits": "increase()",
    "items": "pipeline(): append a unique item",
    "appended": "pipeline(): += 1 beside it",
    "turns": "lock(save_at_end=True): + 1 in Python",
}
#: Those that are numbers.
SUMMED = ("hits", "appended", "turns")


class Board(AtomicRedisModel):
    """The document everybody works on."""

    hits: int = 0
    items: list[str] = Field(default_factory=list)
    appended: int = 0
    turns: int = 0


class Atomic:
    """The work as rapyer does it."""

    def __init__(self, key: str, name: str, _: Any) -> None:
        self._key = key
        self._name = name
        self._boards: dict[str, Any] = {}

    async def start(self) -> None:
        """Give each kind of work a model of its own, as if it were alone."""
        self._boards = {kind: await Board.get(self._key) for kind in ("increase", "pipeline", "lock")}

    async def increase(self, _: int) -> tuple[str, ...]:
        """Add one."""
        await self._boards["increase"].hits.increase()
        return ("hits",)

    async def pipeline(self, number: int) -> tuple[str, ...]:
        """Append an item that nobody else has, and count it."""
        async with self._boards["pipeline"].pipeline() as board:
            board.items.append(f"{self._name}-{number}")
            board.appended += 1
        return ("items", "appended")

    async def lock(self, _: int) -> tuple[str, ...]:
        """Read, change and write under the lock."""
        async with self._boards["lock"].lock(save_at_end=True) as board:
            board.turns = board.turns + 1
        return ("turns",)


class Naive:
    """The same work as read, change, write: each step correct, the whole of them wrong."""

    def __init__(self, key: str, name: str, client: Any) -> None:
        self._key = key
        self._name = name
        self._client = client

    async def start(self) -> None:
        """There is nothing to get ready."""

    async def _change(self, change: Callable[[Any], None]) -> None:
        document = json.loads(await self._client.execute_command("JSON.GET", self._key))
        change(document)
        await self._client.execute_command("JSON.SET", self._key, "$", json.dumps(document))

    async def increase(self, _: int) -> tuple[str, ...]:
        """Add one."""
        await self._change(lambda document: document.update(hits=document["hits"] + 1))
        return ("hits",)

    async def pipeline(self, number: int) -> tuple[str, ...]:
        """Append an item that nobody else has, and count it."""

        def change(document: Any) -> None:
            document["items"].append(f"{self._name}-{number}")
            document["appended"] += 1

        await self._change(change)
        return ("items", "appended")

    async def lock(self, _: int) -> tuple[str, ...]:
        """Add one elsewhere."""
        await self._change(lambda document: document.update(turns=document["turns"] + 1))
        return ("turns",)


async def hammer(way: Any, seconds: float) -> None:
    """Do all three kinds of work at once until the time is up, and tell how far it is."""
    counts: Counter[str] = Counter()
    operations = 0
    end = asyncio.get_running_loop().time() + seconds

    async def work(once: Callable[[int], Any]) -> None:
        nonlocal operations
        number = 0
        while asyncio.get_running_loop().time() < end:
            counts.update(await once(number))
            operations += 1
            number += 1

    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            say(counts=counts, operations=operations)

    telling = asyncio.create_task(tell())
    try:
        await asyncio.gather(work(way.increase), work(way.pipeline), work(way.lock))
    finally:
        telling.cancel()
    say(counts=counts, operations=operations, done=True)


def say(**words: Any) -> None:
    """Tell the demo something."""
    print(json.dumps(words), flush=True)


async def main(url: str, name: str) -> None:
    """Work off one part of the demo after the other."""
    client = Redis.from_url(url)
    await rapyer.init_rapyer(client)
    say(ready=True)
    try:
        # Reading in a thread would outlive a task that ends here; nothing else runs between two parts.
        for line in sys.stdin:
            part = json.loads(line)
            kind: Any = Atomic if part["way"] == "rapyer" else Naive
            way = kind(part["key"], name, client)
            await way.start()
            await hammer(way, part["seconds"])
    finally:
        await rapyer.teardown_rapyer()
        await client.aclose()


if __name__ == "__main__":
    parent = os.getppid()
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Exception:
        # Without the demo there is no server either, and nobody who would read why.
        if os.getppid() == parent:
            raise
        sys.exit(1)
