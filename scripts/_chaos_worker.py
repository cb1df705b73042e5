"""One process of the chaos run: tasks that change shared documents and write down what became of each operation.

Arguments: the cluster's URL, this process's number, how many tasks, and the file for the history. It works until its
input ends. A line of the history is: mode, kind, document, item, outcome (see `OUTCOMES`), when it began and ended, by
the machine's clock, and what it was answered.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from redis.asyncio import RedisCluster
from redis.exceptions import RedisError

import rapyer
from _chaos_check import LEASE
from rapyer import AtomicRedisModel
from rapyer.errors import LockLost, NotReplicated, OutcomeUnknown, RapyerError
from rapyer.fields import Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

#: Documents of each mode and kind.
DOCUMENTS = 60
PAUSE = 0.004
#: How often the client tries: a failover has to fit in.
TRIES = 40
SOCKET_TIMEOUT = 2.0


class Plain(AtomicRedisModel):
    """A document with no options: Redis's own asynchronous replication."""

    name: Key[str]
    n: int = 0
    twice: int = 0
    items: list[str] = Field(default_factory=list)

    class Meta:
        """The options."""

        lock_lease = LEASE


class Careful(Plain):
    """A document whose writes run exactly once and are on a replica before they count."""

    class Meta:
        """The options."""

        exactly_once = True
        min_replicas = 1


async def increase(doc: Any, _: str) -> int:
    """Add one, and return the sum."""
    return int(await doc.n.increase())


async def append(doc: Any, item: str) -> None:
    """Append an item that nobody else has."""
    await doc.items.aappend(item)


async def block(doc: Any, item: str) -> None:
    """Change three fields that belong together."""
    async with doc.pipeline():
        doc.n += 1
        doc.twice += 2
        doc.items.append(item)


async def section(doc: Any, item: str) -> None:
    """Read, change and write under the lock."""
    async with doc.lock(save_at_end=True, timeout=20):
        doc.n = doc.n + 1
        doc.twice = doc.n * 2
        doc.items = [*doc.items, item]


MODES: dict[str, type[Plain]] = {"careful": Careful, "plain": Plain}
KINDS: dict[str, Callable[[Any, str], Awaitable[int | None]]] = {
    "increment": increase,
    "append": append,
    "pipeline": block,
    "lock": section,
}


def connected(url: str) -> RedisCluster:
    """Return a client that is patient enough for a failover."""
    address = f"redis://{url.partition('://')[2]}"
    return RedisCluster.from_url(address, cluster_error_retry_attempts=TRIES, socket_timeout=SOCKET_TIMEOUT)


def documents(mode: str, kind: str) -> list[Any]:
    """Return the documents of a mode and kind."""
    return [MODES[mode](name=f"{kind}-{number}") for number in range(DOCUMENTS)]


#: What an operation ended with -> its outcome; the first that fits.
OUTCOMES: Sequence[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = (
    (OutcomeUnknown, "unknown"),
    (NotReplicated, "not replicated"),
    (LockLost, "lock lost"),
    ((RapyerError, RedisError, OSError), "refused"),
)


async def outcome_of(operation: Awaitable[int | None]) -> tuple[str, int | None]:
    """Return what became of an operation, and its answer."""
    try:
        return "done", await operation
    except (RapyerError, RedisError, OSError) as error:
        return next(outcome for kinds, outcome in OUTCOMES if isinstance(error, kinds)), None


async def work(process: int, number: int, stop: asyncio.Event, write: Callable[[str], Any]) -> None:
    """Do one kind of work until told to stop."""
    mode, kind = list(MODES)[number % 2], list(KINDS)[number // 2 % 4]
    targets = documents(mode, kind)
    count = 0
    while not stop.is_set():
        count += 1
        item = f"{process}.{number}.{count}"
        target = random.choice(targets)
        began = time.time()
        outcome, answer = await outcome_of(KINDS[kind](target, item))
        write(json.dumps([mode, kind, target.name, item, outcome, began, time.time(), answer]) + "\n")
        await asyncio.sleep(PAUSE)


async def main(url: str, process: int, tasks: int, file: str) -> None:
    """Work until the input ends."""
    client = connected(url)
    await rapyer.init_rapyer(client)
    stop = asyncio.Event()
    with Path(file).open("w", encoding="utf-8") as history:  # noqa: ASYNC230 - its buffer is all that is written to
        working = [asyncio.create_task(work(process, number, stop, history.write)) for number in range(tasks)]
        await asyncio.to_thread(sys.stdin.read)
        stop.set()
        await asyncio.gather(*working)
    await rapyer.teardown_rapyer()
    await client.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
