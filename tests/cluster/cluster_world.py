"""A cluster with a client of it, and ways to move slots and to look at single nodes."""

from __future__ import annotations

import asyncio
import gc
import json
from contextlib import asynccontextmanager

from connections import client_of
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode

import rapyer
from rapyer._keys import hash_slot
from rapyer._loops import dispatcher


class World:
    """A cluster that all models are bound to."""

    def __init__(self, servers, client):
        self.servers = servers
        self.client = client
        self._nodes = {}

    @property
    def nodes(self):
        """What the library knows of the cluster."""
        return dispatcher(self.client)._nodes

    def at(self, port):
        """A client of one node."""
        if port not in self._nodes:
            self._nodes[port] = Redis(port=port, socket_timeout=3)
        return self._nodes[port]

    async def ids(self):
        """Ports of the primaries, and their names in the cluster."""
        ports = [node.port for node in self.servers.primaries()]
        return {port: (await self.at(port).execute_command("CLUSTER", "MYID")).decode() for port in ports}

    async def owner(self, key):
        """The port of the primary that serves a key."""
        for port in [node.port for node in self.servers.primaries()]:
            if await self._serves(port, hash_slot(key)):
                return port
        raise AssertionError(key)

    async def _serves(self, port, slot):
        told = await self.at(port).execute_command("CLUSTER NODES")
        mine = next(node for node in told.values() if "myself" in node["flags"])
        return any(int(span[0]) <= slot <= int(span[-1]) for span in mine["slots"])

    async def _claims(self, port):
        """Who has which slots since when, as a node knows it."""
        told = (await self.at(port).execute_command("CLUSTER NODES")).values()
        return frozenset((node["node_id"], node["epoch"], str(node["slots"])) for node in told if node["slots"])

    async def open_slot(self, slot, source, target):
        """Start to move a slot."""
        names = await self.ids()
        await self.at(target).execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        await self.at(source).execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])

    async def move_keys(self, slot, source, target, count=1000):
        """Move keys of a slot that is on its way; return how many there were."""
        keys = await self.at(source).execute_command("CLUSTER", "GETKEYSINSLOT", slot, count)
        if keys:
            await self.at(source).execute_command("MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys)
        return len(keys)

    async def close_slot(self, slot, source, target):
        """Give a slot to its new owner."""
        names = await self.ids()
        for port in (target, source, *(other for other in names if other not in (source, target))):
            await self.at(port).execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])

    async def move(self, slot, source, target):
        """Move a slot with all its keys.

        Two moves that no node has heard the end of can make two nodes claim one slot, and one drops its keys then.
        """
        await self.open_slot(slot, source, target)
        while await self.move_keys(slot, source, target):
            pass
        await self.close_slot(slot, source, target)
        while len({await self._claims(port) for port in await self.ids()}) > 1:  # noqa: ASYNC110 - no node tells
            await asyncio.sleep(0.01)

    async def other(self, port):
        """The port of another primary."""
        return next(node.port for node in self.servers.primaries() if node.port != port)

    async def stored(self, key):
        """What a document holds."""
        return json.loads(await self.client.execute_command("JSON.GET", key))

    async def close(self):
        """Close the clients of single nodes."""
        await asyncio.gather(*(node.aclose() for node in self._nodes.values()))


@asynccontextmanager
async def opened(servers, **options):
    """An empty cluster that all models are bound to."""
    client = client_of(servers.url, **options)
    await client.flushall()
    world = World(servers, client)
    await rapyer.init_rapyer(client)
    try:
        yield world
    finally:
        await rapyer.teardown_rapyer()
        await world.close()
        await client.aclose()
        await _close_departed()


async def _close_departed():
    """Close nodes that left the cluster: redis-py's client forgets them with their connections, and they warn later."""
    departed = [each for each in gc.get_objects() if type(each) is ClusterNode]
    await asyncio.gather(*(node.disconnect() for node in departed), return_exceptions=True)
