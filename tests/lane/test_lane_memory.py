"""What a waiting call costs."""

import asyncio
import gc
import tracemalloc

import connections
import pytest
from lane_world import clogged, increase

CALLS = 2000


@pytest.mark.skipif(connections.CONNECTION == "tls", reason="the same, behind TLS's own buffers")
async def test_memory_of_a_waiting_call(world):
    """A script call that waits takes less than 2 KB, its task and its packed bytes included."""
    for i in range(CALLS):
        await world.put(f"k{i}")
    async with world.proxied(socket_timeout=60) as (dispatcher, proxy):
        await increase(dispatcher, "k0")
        proxy.open.clear()
        big = await clogged(dispatcher._lane)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            waiting = [asyncio.create_task(increase(dispatcher, f"k{i}")) for i in range(CALLS)]
            await asyncio.sleep(0.05)
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert len(dispatcher._lane._waiting) >= CALLS
        proxy.open.set()
        await asyncio.gather(*big, *waiting)
    assert taken / CALLS < 2048
