"""A server, a lane to it and a proxy between: what the tests of the lane work with."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from fault_proxy import FaultProxy
from redis.asyncio import ConnectionPool, Redis

from rapyer._dispatch import Dispatcher, Where
from rapyer._lane import Lane
from rapyer._pack import pack
from rapyer._registry import scripts
from rapyer._together import common

ROOT = Where("none")
#: What counts up: `$.n`, without a ttl.
COUNT = common("number.increase", "", "$.n")


class World:
    """A server, with scripts loaded and an empty database, and ways to call it."""

    def __init__(self, url, client):
        self.url = url
        self.client = client  # a connection of its own, past the proxy

    @asynccontextmanager
    async def lane(self, url=None, **options):
        """A lane to the server, or through another URL."""
        pool = ConnectionPool.from_url(url or self.url, **options)
        lane = Lane(pool)
        try:
            yield lane
        finally:
            await lane.close()

    @asynccontextmanager
    async def dispatcher(self, url=None, **options):
        """A dispatcher, as the library makes one."""
        client = Redis.from_url(url or self.url, **options)
        dispatcher = Dispatcher(client)
        try:
            yield dispatcher
        finally:
            await dispatcher.close()

    @asynccontextmanager
    async def proxied(self, *faults, **options):
        """A dispatcher behind a proxy, and the proxy."""
        async with FaultProxy(self.url, *faults) as proxy, self.dispatcher(proxy.url, **options) as dispatcher:
            yield dispatcher, proxy

    async def put(self, key, text='{"n":0}'):
        """Store a document."""
        await self.client.execute_command("JSON.SET", key, "$", text)

    async def number(self, key):
        """Return what a counter holds."""
        return int(await self.client.execute_command("JSON.GET", key, ".n"))

    async def connections(self):
        """Return how many connections the server has, this one left out."""
        return len(await self.client.client_list(_type="normal")) - 1


def command(*arguments):
    """Return a packed command."""
    return pack(arguments)


def sent(lane, *arguments, **attributes):
    """Send a command as a call with these attributes."""
    call = lane._made(command(*arguments), repeatable=True)
    for name, value in attributes.items():
        setattr(call, name, value)
    lane.send(call)
    return call


async def increase(dispatcher, key):
    """Add one to a counter and return what it is then: a write, which must not run twice."""
    reply = await dispatcher.combined(COUNT, key, 1)
    return int(reply[0])


async def load(dispatcher, key):
    """Read a document."""
    return await dispatcher.script("document.load", [key], (), lambda _: ROOT)


@asynccontextmanager
async def opened(url):
    """An empty world; for tests that run loops of their own."""
    client = Redis.from_url(url)
    await client.flushdb()
    async with client.pipeline(transaction=False) as pipe:
        for script in scripts().values():
            pipe.script_load(script.source)
        await pipe.execute()
    try:
        yield World(url, client)
    finally:
        await client.aclose()


async def until(condition, seconds=5.0, pause=0.002):
    """Wait for something to become true; without a pause it is looked for in each turn of the loop."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(pause)


async def clogged(lane):
    """Send until the lane holds calls back, to a server that takes nothing; return what was sent."""
    calls = []
    while not await _stays_paused(lane):
        assert len(calls) < 100, "there is no end to it"
        calls += [lane.call(command("ECHO", "x" * (1 << 20)), repeatable=True) for _ in range(4)]
    return calls


async def _stays_paused(lane):
    """Whether writing is paused, and not for a moment only: the kernel may still make room."""
    await asyncio.sleep(0)
    wire, left = lane._wire, -1
    while wire.paused and left != wire._unsent():
        left = wire._unsent()
        await asyncio.sleep(0.2)
    return wire.paused
