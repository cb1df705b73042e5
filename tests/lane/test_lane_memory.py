"""What a waiting call costs."""

import asyncio
import gc
import tracemalloc

import connections
import pytest
from lane_world import clogged, increase
from redis.asyncio import Redis

from rapyer import AtomicRedisModel
from rapyer._loops import close_all, dispatcher

CALLS = 2000
LIMIT = 2048

pytestmark = pytest.mark.skipif(connections.CONNECTION == "tls", reason="the same, behind TLS's own buffers")


class Counter(AtomicRedisModel):
    """A document with a number."""

    n: int = 0


async def waiting_bytes(caller, proxy, start):
    """Return the bytes of each of many calls that wait; `start` gives the coroutine of one, by its number."""
    await start(0)
    proxy.open.clear()
    big = await clogged(caller._lane)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        waiting = [asyncio.create_task(start(i)) for i in range(CALLS)]
        await asyncio.sleep(0.05)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert sum(call.callers() for call in caller._lane._waiting) >= CALLS
    proxy.open.set()
    await asyncio.gather(*big, *waiting)
    return taken / CALLS


async def test_memory_of_a_waiting_call(world):
    """A script call that waits takes less than 2 KB, its task and its packed bytes included."""
    for i in range(CALLS):
        await world.put(f"k{i}")
    async with world.proxied(socket_timeout=60) as (caller, proxy):
        assert await waiting_bytes(caller, proxy, lambda i: increase(caller, f"k{i}")) < LIMIT


@pytest.mark.parametrize("kind", ["increase", "get"])
async def test_memory_of_a_waiting_operation(world, kind):
    """An operation of a model that waits takes less than 2 KB, its task and the caller's own coroutine included."""
    async with world.proxied() as (_, proxy):
        client = Redis.from_url(proxy.url, socket_timeout=60)
        Counter.Meta.redis = client
        counters = await Counter().duplicate_many(CALLS)
        keys = [counter.key for counter in counters]
        starts = {"increase": lambda i: counters[i].n.increase(), "get": lambda i: Counter.get(keys[i])}
        try:
            assert await waiting_bytes(dispatcher(client), proxy, starts[kind]) < LIMIT
        finally:
            await close_all()
            await client.aclose()
            Counter.Meta.redis = None
