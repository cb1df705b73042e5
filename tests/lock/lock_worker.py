"""A process of the lock tests: it takes its orders as JSON on its command line and reports in lines of JSON.

Rules
- What it reports has been acknowledged by the server, and is written at once: a process killed between the two has at
  most one section that it did not report.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import LockLost


class Inner(AtomicRedisModel):
    """A nested model."""

    x: int = 0


class Doc(AtomicRedisModel):
    """The document everybody works on."""

    n: int = 0
    s: str = "s"
    order: list[str] = []
    inner: Inner = Inner()
    table: dict[str, int] = {"a": 1}
    tags: set[str] = {"a"}
    data: bytes = b"data"
    when: datetime = datetime(2024, 2, 29, tzinfo=timezone.utc)


def report(**found):
    """Write a line."""
    os.write(1, json.dumps(found).encode() + b"\n")


async def order():
    """Wait for a line on standard input, while the loop goes on."""
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def section(orders, entered):
    """Read, compute in Python and save; report the number and what was made of it."""
    block = Doc.lock_from_key(orders["key"], save_at_end=True, lease=orders.get("lease"))
    async with block as doc:
        entered.set()
        seen, fence = doc.n, block.fence
        if random.random() < 0.2:
            await asyncio.sleep(random.random() * 0.002)
        doc.n = seen + 1
    report(fence=fence, n=seen + 1)


async def cancelled_section(orders):
    """Cancel a section while it waits, at any moment; what came in before that is left alone, and done in full.

    Then another one is started and cancelled sooner, until a waiter was hit: at the latest before its first answer.
    """
    moment = random.random() * 0.03
    while True:
        entered = asyncio.Event()
        task = asyncio.create_task(section(orders, entered))
        await asyncio.sleep(moment)
        if entered.is_set():
            await task
            moment = moment / 2 if moment > 0.0002 else 0
            continue
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        report(cancelled=True)
        return


async def sections(orders):
    """Many tasks, each with many sections; where so ordered every third one is cancelled while it waits."""

    async def work(shift):
        for number in range(orders["sections"]):
            if orders.get("cancel") and (number + shift) % 3 == 0:
                await cancelled_section(orders)
            else:
                await section(orders, asyncio.Event())

    await asyncio.gather(*(work(shift) for shift in range(orders["tasks"])))


async def in_order(orders):
    """For each line, add waiters that note in which order they came in."""
    tasks = []

    async def wait(name):
        async with Doc.lock_from_key(orders["key"], save_at_end=True) as doc:
            doc.order.append(name)

    while names := await order():
        for name in names.split():
            tasks.append(asyncio.create_task(wait(name)))
            await asyncio.sleep(0)
        report(waiting=len(tasks))
    await asyncio.gather(*tasks)


async def _pipeline(doc):
    async with doc.pipeline():
        doc.n += 1


async def _wide_pipeline(doc):
    async with rapyer.pipeline():
        doc.n += 1
        doc.table["b"] = 2
        doc.data += b"late"


WRITES = {
    "save": lambda doc: doc.save(),
    "aupdate": lambda doc: doc.aupdate(n=100),
    "increase": lambda doc: doc.n.increase(100),
    "append": lambda doc: doc.order.aappend("late"),
    "pop": lambda doc: doc.order.apop(),
    "dict item": lambda doc: doc.table.aset_item("late", 1),
    "dict pop": lambda doc: doc.table.apop("a"),
    "set": lambda doc: doc.tags.aadd("late"),
    "bytes": lambda doc: doc.data.save(),
    "datetime": lambda doc: doc.when.aadd(timedelta(days=1)),
    "nested": lambda doc: doc.inner.save(),
    "value": lambda doc: doc.s.save(),
    "pipeline": _pipeline,
    "wide pipeline": _wide_pipeline,
    "delete": lambda doc: doc.delete(),
    "delete by key": lambda doc: Doc.delete_by_key(doc.key),
}


async def _outcome(call):
    while True:
        try:
            await call()
        except asyncio.CancelledError:
            continue  # a body that does not let itself be stopped
        except LockLost:
            return "LockLost"
        return "written"


async def stand_still(orders):
    """Hold the lock and do nothing, not even for the loop, until told to; then try every kind of write."""
    found = {}
    try:
        async with Doc.lock_from_key(orders["key"], save_at_end=True, lease=orders["lease"]) as doc:
            report(held=True)
            sys.stdin.readline()  # the whole process stands still here, before it is stopped for good
            doc.n = 1000
            for name, write in WRITES.items():
                found[name] = await _outcome(lambda write=write: write(doc))
    except LockLost:
        found["save_at_end"] = "LockLost"
    report(**found)


async def hold(orders):
    """Hold the lock until the process is killed."""
    async with Doc.lock_from_key(orders["key"], lease=orders["lease"]):
        report(held=True)
        await asyncio.sleep(1000)


async def wait_for(orders):
    """Wait for the lock with many tasks until the process is killed."""

    async def wait():
        async with Doc.lock_from_key(orders["key"]):
            pass

    tasks = [asyncio.create_task(wait()) for _ in range(orders["tasks"])]
    report(waiting=len(tasks))
    await asyncio.gather(*tasks)


WORK = {work.__name__: work for work in (sections, in_order, stand_still, hold, wait_for)}


async def main(orders):
    """Do what was ordered."""
    random.seed(time.time_ns())
    await rapyer.init_rapyer(orders["url"])
    try:
        await WORK[orders["work"]](orders)
    finally:
        await rapyer.teardown_rapyer()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
