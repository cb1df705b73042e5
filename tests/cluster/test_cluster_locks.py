"""Locks of documents in different slots: each is where its document is, and all are renewed."""

import asyncio

import pytest
from cluster_world import opened

import redis_stack
from rapyer import AtomicRedisModel
from rapyer.errors import LockLost


class Doc(AtomicRedisModel):
    """A document with a short lease."""

    n: int = 0

    class Meta:
        """The options."""

        lock_lease = 0.6


async def test_locks_in_many_slots_are_renewed(world):
    """Ten locks held at once outlive their lease, and what they guard is saved."""
    docs = [await Doc(n=number).save() for number in range(10)]
    both = asyncio.Barrier(10) if hasattr(asyncio, "Barrier") else None

    async def hold(doc):
        async with doc.lock(save_at_end=True):
            if both is not None:
                await both.wait()
            await asyncio.sleep(1.5)
            doc.n += 100

    await asyncio.gather(*map(hold, docs))
    assert [(await Doc.get(doc.key)).n for doc in docs] == [number + 100 for number in range(10)]
    assert await world.client.keys("rapyer:*") == []


async def test_sections_exclude_each_other(world):
    """Many sections on few documents lose no change."""
    docs = [await Doc().save() for _ in range(3)]

    async def add(doc):
        async with Doc.lock_from_key(doc.key, save_at_end=True) as own:
            own.n = own.n + 1

    await asyncio.gather(*(add(doc) for doc in docs for _ in range(20)))
    assert [(await Doc.get(doc.key)).n for doc in docs] == [20, 20, 20]


async def test_a_frozen_primary_costs_its_own_locks_alone():
    """While one does not answer, locks at another are renewed; those at the frozen one are lost after their lease."""
    with redis_stack.cluster(node_timeout=30.0, args=["--cluster-require-full-coverage", "no"]) as servers:
        async with opened(servers) as world:
            docs = {}
            while len(docs) < 2:
                doc = Doc()
                docs.setdefault(await world.owner(doc.key), doc)
            (port, frozen), (_, healthy) = docs.items()
            inside = []

            async def hold(doc, seconds):
                async with doc.lock(save_at_end=True, lease=3):
                    inside.append(doc)
                    await asyncio.sleep(seconds)
                    doc.n = 1

            await asyncio.gather(frozen.save(), healthy.save())
            lost, kept = asyncio.create_task(hold(frozen, 30)), asyncio.create_task(hold(healthy, 8))
            while len(inside) < 2:  # noqa: ASYNC110 - it is counted
                await asyncio.sleep(0.01)
            servers.node(port).pause()
            try:
                await asyncio.wait_for(kept, 30)
                with pytest.raises(LockLost):
                    await asyncio.wait_for(lost, 30)
            finally:
                servers.node(port).resume()
            assert (await Doc.get(healthy.key)).n == 1
