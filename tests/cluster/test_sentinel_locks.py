"""Locks behind Sentinel: who waits goes on at the new primary, as every other call does."""

import asyncio

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ResponseError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0


async def promote(servers: redis_stack.Watched) -> None:
    """Have one sentinel promote a replica; it may have to look at them once more before it does."""
    host, port = servers.addresses[0]
    async with Redis(host=host, port=port) as sentinel:
        for _ in range(100):
            try:
                return await sentinel.execute_command("SENTINEL", "FAILOVER", servers.service)
            except ResponseError as error:
                if "NOGOODSLAVE" not in str(error):
                    raise
            await asyncio.sleep(0.1)
    msg = "no replica was fit to be promoted"
    raise AssertionError(msg)


async def test_waiters_outlive_a_failover():
    """The primary dies while some wait: the subscription is tried for as long as calls are, and all have their turn."""
    # However busy the machine is, there is one failover, which the test asks for: sentinels see none by themselves.
    with redis_stack.sentinel(down_after=60) as servers:
        watch = Sentinel(servers.addresses, socket_timeout=2)
        client = watch.master_for(servers.service, retry=Retry(ConstantBackoff(0.1), 300), socket_timeout=2)
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
        await asyncio.sleep(0.5)  # the tickets are in the queue
        async with Redis.from_url(servers.primary().url) as direct:
            assert await direct.wait(2, 20_000) == 2  # the lock and they are on the replicas
        servers.primary().kill()
        # The loss is known: a release on its way to a dying server may end in OutcomeUnknown. And it takes longer than
        # a few tries to subscribe would.
        await asyncio.sleep(3)
        killed.set()
        await promote(servers)
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        assert (await Doc.get(doc.key)).n == 12
        await rapyer.teardown_rapyer()
        await client.aclose()
        for sentinel in watch.sentinels:
            await sentinel.aclose()
