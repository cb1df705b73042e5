"""Everything at once: cancellations, timeouts, cut connections, deleted locks, flushed scripts."""

import asyncio
import random

import pytest
from lock_worker import Doc
from redis.exceptions import ConnectionError as RedisConnectionError

from rapyer import _keys
from rapyer.errors import LockError, OutcomeUnknown

EXPECTED = (LockError, OutcomeUnknown, RedisConnectionError, asyncio.CancelledError)


async def trouble(client, doc, rng):
    """Do one bad thing."""
    await asyncio.sleep(rng.random() * 0.03)
    choice = rng.randrange(5)
    if choice == 0:
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    elif choice == 1:
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    elif choice == 2:
        await client.delete(_keys.lock_key(doc.key, "default"))
    elif choice == 3:
        await client.delete(_keys.queue_key(doc.key, "default"))
    else:
        await client.script_flush()


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 15))])
async def test_chaos(clean, doc, other, seed):
    """Nobody hangs, what was saved is never lost, and in the end nothing is left but the document."""
    rng = random.Random(seed)
    saved = []

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
        while True:
            await trouble(clean, doc, rng)

    troubling = asyncio.create_task(troubles())
    await asyncio.wait_for(asyncio.gather(*(work(rng.choice([Doc, other])) for _ in range(20))), 60)
    troubling.cancel()
    await asyncio.gather(troubling, return_exceptions=True)
    assert len(set(saved)) == len(saved) > 10
    assert max(saved) <= (await doc.load()).n
    await asyncio.sleep(0.8)
