"""Everything at once: cancellations, timeouts, cut connections, spoiled locks, documents that go, flushed scripts."""

import asyncio
import random

import pytest
from lock_worker import Doc
from redis.exceptions import ConnectionError as RedisConnectionError

from rapyer import _keys
from rapyer.errors import KeyNotFound, LockError, OutcomeUnknown, ServerError

EXPECTED = (LockError, OutcomeUnknown, KeyNotFound, ServerError, RedisConnectionError, asyncio.CancelledError)


async def trouble(client, doc, rng):
    """Do one bad thing."""
    await asyncio.sleep(rng.random() * 0.03)
    choice = rng.randrange(7)
    if choice == 0:
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    elif choice == 1:
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    elif choice == 2:
        await client.delete(_keys.lock_key(doc.key, "default"))
    elif choice == 3:
        await client.delete(_keys.queue_key(doc.key, "default"))
    elif choice == 4:
        await client.script_flush()
    elif choice == 5:
        # The document is gone for a moment, and comes back as it was.
        text = await client.eval(
            "local t = redis.call('JSON.GET', KEYS[1]) redis.call('JSON.DEL', KEYS[1]) return t", 1, doc.key
        )
        await asyncio.sleep(rng.random() * 0.003)
        await client.execute_command("JSON.SET", doc.key, "$", text)
    else:
        await client.set(_keys.lock_key(doc.key, "default"), "text")
        await asyncio.sleep(rng.random() * 0.003)
        await client.delete(_keys.lock_key(doc.key, "default"))


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 15))])
async def test_chaos(clean, doc, other, seed):
    """Nobody hangs, what was saved is never lost, and in the end nothing is left but the document."""
    rng = random.Random(seed)
    saved, calm = [], asyncio.Event()

    async def section(cls):
        lock = cls.lock_from_key(doc.key, save_at_end=True, lease=0.5, timeout=rng.choice([None, None, 0, 0.02, 1]))
        async with lock as mine:
            number = mine.n + 1
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.003)
            mine.n = number
        saved.append(number)

    async def work(cls):
        for _ in range(15):
            task = asyncio.create_task(section(cls))
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
            [outcome] = await asyncio.gather(task, return_exceptions=True)
            assert outcome is None or isinstance(outcome, EXPECTED), repr(outcome)

    async def troubles():
        while not calm.is_set():
            await trouble(clean, doc, rng)

    troubling = asyncio.create_task(troubles())
    await asyncio.wait_for(asyncio.gather(*(work(rng.choice([Doc, other])) for _ in range(20))), 60)
    calm.set()
    await troubling
    assert len(set(saved)) == len(saved) > 10
    assert max(saved) <= (await doc.load()).n
    await asyncio.sleep(0.8)
