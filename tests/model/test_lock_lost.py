"""Locks that end before their block does: every write after that is refused."""

import asyncio
import sys
import threading
import time

import pytest

from rapyer import AtomicRedisModel
from rapyer.errors import LockLost, UsageError


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
    async with doc.lock(save_at_end=True, lease=2):
        await asyncio.sleep(5)
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


# -- the cancellation by which a body is ended ------------------------------------------------------------------------


def cancelling():
    """Return how many cancellations of the running task are under way; Python 3.10 does not say, or not well."""
    return asyncio.current_task().cancelling() if sys.version_info >= (3, 11) else 0


async def lose(clean, doc, body):
    """Lose a lock, its key deleted, and have the body do something when renewal finds that."""
    async with doc.lock(lease=0.3):
        await clean.delete(*await clean.keys("rapyer:*"))
        try:
            await asyncio.sleep(5)
            pytest.fail("it went on")
        finally:
            await body()


async def _nothing():
    """Nothing."""


@pytest.mark.parametrize("writes", [False, True])
async def test_losses_leave_no_cancellation_behind(clean, writes):
    """Each is LockLost, the second of a task like the first, also when the body writes while it is being ended."""
    doc = await Doc().save()
    for _ in range(3):
        with pytest.raises(LockLost):
            await lose(clean, doc, (lambda: doc.aupdate(s="late")) if writes else _nothing)
        assert cancelling() == 0
    await asyncio.sleep(0)


async def test_a_loss_in_the_clean_up_of_a_cancelled_task(clean):
    """It is LockLost there, too; the task's own cancellation stays."""
    doc = await Doc().save()
    seen = []

    async def work():
        try:
            await asyncio.sleep(10)
        finally:
            before = cancelling()
            with pytest.raises(LockLost):
                await lose(clean, doc, _nothing)
            seen.append(cancelling() - before)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [0]


@pytest.mark.parametrize("saves", [False, True])
async def test_a_body_that_does_not_let_itself_be_ended(clean, stored, saves):
    """It has lost all the same; nothing is saved, and no cancellation is left over."""
    doc = await Doc().save()

    async def block():
        async with doc.lock(lease=0.3, save_at_end=saves):
            await clean.delete(*await clean.keys("rapyer:*"))
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                doc.n = 5

    with pytest.raises(LockLost):
        await block()
    assert cancelling() == 0
    assert await stored(doc.key, "$.n") == 0


async def test_a_refused_write_and_renewal_at_once(clean):
    """Whichever is answered first, the block is LockLost and nobody is cancelled afterwards."""
    doc = await Doc().save()

    async def block():
        async with doc.lock(lease=0.3):
            await clean.delete(*await clean.keys("rapyer:*"))
            ends = time.monotonic() + 0.11
            while time.monotonic() < ends:
                pass  # the loop is busy: the write and the renewal go out together
            await doc.n.increase()

    for _ in range(3):
        with pytest.raises(LockLost):
            await block()
        await asyncio.sleep(0.15)
        assert cancelling() == 0


# -- a block belongs to the task that entered it ----------------------------------------------------------------------


async def test_a_block_entered_in_another_task(clean, stored):
    """Its body's writes are not checked, so it ends with a UsageError, saves nothing, and the lock is given back."""
    doc = await Doc().save()
    block = doc.lock(save_at_end=True)
    await asyncio.create_task(block.__aenter__())
    doc.n = 5
    with pytest.raises(UsageError, match="task"):
        await block.__aexit__(None, None, None)
    assert await stored(doc.key, "$.n") == 0
    await asyncio.create_task(block.__aenter__())
    error = ValueError()
    assert not await block.__aexit__(ValueError, error, None)  # the body's own error is the one to be seen
