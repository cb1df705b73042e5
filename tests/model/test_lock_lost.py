"""Locks that end before their block does: every write after that is refused."""

import asyncio
import threading
import time

import pytest

from rapyer import AtomicRedisModel
from rapyer.errors import LockLost


class Inner(AtomicRedisModel):
    """A nested model."""

    x: int = 0


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    s: str = "s"
    items: list[int] = []
    inner: Inner = Inner()


@pytest.fixture
async def clean(bound):
    """Check that no helper key is left."""
    yield bound
    assert await bound.keys("rapyer:*") == []


async def pipeline_write(doc):
    """Write by a pipeline."""
    async with doc.pipeline():
        doc.n += 1


WRITES = {
    "save": lambda doc: doc.save(),
    "aupdate": lambda doc: doc.aupdate(n=5),
    "increase": lambda doc: doc.n.increase(),
    "append": lambda doc: doc.items.aappend(1),
    "nested": lambda doc: doc.inner.save(),
    "value": lambda doc: doc.n.save(),
    "delete": lambda doc: doc.delete(),
    "delete_by_key": lambda doc: Doc.delete_by_key(doc.key),
    "pipeline": pipeline_write,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("stolen", [False, True])
async def test_fencing(clean, stored, write, stolen):
    """Once the lock is lost, or another's, every write of the body is LockLost and writes nothing."""
    doc = await Doc().save()

    async def block():
        async with doc.lock():
            [lock] = await clean.keys("rapyer:*")
            await clean.delete(lock)
            if stolen:
                await clean.hset(lock, mapping={"owner": "another", "fence": "1"})
            try:
                await write(doc)
            finally:
                assert await clean.exists(lock) == stolen
                await clean.delete(lock)

    with pytest.raises(LockLost, match="default"):
        await block()
    assert await stored(doc.key) == Doc().model_dump()


async def test_fencing_of_the_save_at_the_end(clean, stored):
    """A lock that was lost: the save at the end is LockLost and writes nothing."""
    doc = await Doc().save()

    async def block():
        async with doc.lock(save_at_end=True):
            doc.n = 5
            await clean.delete(*await clean.keys("rapyer:*"))

    with pytest.raises(LockLost) as error:
        await block()
    assert error.value.key == doc.key
    assert await stored(doc.key) == Doc().model_dump()


async def test_others_are_not_fenced(clean):
    """The lock binds who takes it: a task without it still writes, as documented."""
    doc = await Doc().save()
    other = await Doc.get(doc.key)
    async with doc.lock():
        await asyncio.create_task(other.n.increase())
    assert other.n == 1


async def test_lease_of_a_dead_holder(clean, stored):
    """A holder that stands still loses the lock after its lease; when it wakes up, its writes are refused."""
    doc = await Doc().save()
    taken, errors = threading.Event(), []

    async def stand_still():
        async with Doc.lock_from_key(doc.key, save_at_end=True, lease=0.3) as mine:
            taken.set()
            time.sleep(1.5)  # noqa: ASYNC251 - its loop stands still, as in a process that hangs
            mine.n = 100

    def run():
        try:
            asyncio.run(stand_still())
        except LockLost as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        await asyncio.to_thread(taken.wait, 5)
        async with doc.lock(save_at_end=True, timeout=5):
            doc.s = "mine"
    finally:
        await asyncio.to_thread(thread.join)
    assert len(errors) == 1
    assert (await stored(doc.key, "$.n"), await stored(doc.key, "$.s")) == (0, "mine")


async def test_live_holder_keeps_the_lock(clean, stored):
    """A holder that works longer than its lease keeps the lock."""
    doc = await Doc().save()
    async with doc.lock(save_at_end=True, lease=0.3):
        await asyncio.sleep(1)
        doc.n = 1
    assert await stored(doc.key, "$.n") == 1


async def test_an_outer_lock_fences_the_save_of_an_inner_one(clean, stored):
    """Of two locks on one document both are checked by the save at the end of the inner block."""
    doc = await Doc().save()

    async def block():
        async with doc.lock("outer"):
            outer = await clean.keys("rapyer:*outer")
            async with doc.lock("inner", save_at_end=True):
                doc.n = 5
                await clean.delete(*outer)

    with pytest.raises(LockLost, match="outer"):
        await block()
    assert await stored(doc.key) == Doc().model_dump()
