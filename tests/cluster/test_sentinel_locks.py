"""Locks behind Sentinel: who waits goes on at the new primary, as every other call does."""

import asyncio

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff

import rapyer
import redis_stack
from rapyer import AtomicRedisModel


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0


async def test_waiters_outlive_a_failover():
    """The primary dies while some wait: the subscription is tried for as long as calls are, and all have their turn."""
    # No busy machine takes the new primary for dead, too: what a second failover forgets is not this test's.
    with redis_stack.sentinel(down_after=3) as servers:
        watch = Sentinel(servers.addresses, socket_timeout=2)
        # The failover takes longer than a few tries to subscribe would.
        client = watch.master_for(servers.service, retry=Retry(ConstantBackoff(0.1), 100), socket_timeout=2)
        await rapyer.init_rapyer(client)
        doc = await Doc().save()
        inside, killed = asyncio.Event(), asyncio.Event()

        async def hold():
            # The lease outlives any failover, and the section the primary: nothing is granted that no replica has.
            async with Doc.lock_from_key(doc.key, lease=60):
                inside.set()
                await killed.wait()

        async def add():
            async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
                mine.n = mine.n + 1

        tasks = [asyncio.create_task(hold())]
        await inside.wait()
        tasks += [asyncio.create_task(add()) for _ in range(12)]
        await asyncio.sleep(0.5)  # tickets and document are on the replicas
        servers.primary().kill()
        await asyncio.sleep(1)  # the loss is known: a release on its way to a dying server may end in OutcomeUnknown
        killed.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        assert (await Doc.get(doc.key)).n == 12
        await rapyer.teardown_rapyer()
        await client.aclose()
        for sentinel in watch.sentinels:
            await sentinel.aclose()
