"""Nodes that leave a cluster, slots that nobody serves, and searches meanwhile."""

import asyncio
import time

import pytest
from cluster_world import opened
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

import redis_stack
from rapyer import AtomicRedisModel
from rapyer._keys import SLOTS, hash_slot
from rapyer.errors import ServerError


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0


async def removed(world):
    """Take the replica of a primary out of the cluster, as in every reduction; return it."""
    gone = next(node for primary in world.servers.primaries() for node in world.servers.replicas_of(primary))
    name = await world.at(gone.port).execute_command("CLUSTER", "MYID")
    others = [node for node in world.servers.nodes if node.pid and node is not gone]
    await asyncio.gather(*(world.at(node.port).execute_command("CLUSTER", "FORGET", name) for node in others))
    await world.at(gone.port).execute_command("CLUSTER", "RESET", "HARD")
    return gone


async def test_a_node_that_was_removed():
    """A node that is in no cluster any more cannot tell the slots: the others do, and it is forgotten."""
    with redis_stack.cluster() as servers:
        async with opened(servers) as world:
            docs = [await Doc(n=number).save() for number in range(20)]
            gone = await removed(world)
            name, address = f"{gone.host}:{gone.port}", (gone.host, gone.port)
            for _ in range(20):  # in any order
                world.nodes._known[name] = address
                assert len(await Doc.afind_keys()) == 20
                await docs[0].n.increase()
            assert name not in world.nodes._known

            await world.at(gone.port).execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            for _ in range(20):  # it has a new life in another cluster
                world.nodes._known[name] = address
                assert len(await Doc.afind_keys()) == 20
                assert name not in {lane.name for lane in await world.nodes.primaries()}
                await docs[0].n.increase()
            assert docs[0].n == 40


async def test_a_node_that_has_not_heard_of_a_primary(world, monkeypatch):
    """A search goes on until those that were asked say of each other that they are all that serve."""
    docs = [await Doc(n=number).save() for number in range(20)]
    ask, answers = world.nodes.ask, [2, 2, 2, 3, 2]

    async def told():
        await ask()
        world.nodes._primaries = world.nodes._primaries[: answers.pop(0) if answers else 3]

    monkeypatch.setattr(world.nodes, "ask", told)
    assert sorted(await Doc.afind_keys()) == sorted(doc.key for doc in docs)
    assert not answers


async def test_all_nodes_have_new_addresses(world):
    """Where no known node answers, those that the client was made with are asked."""
    doc = await Doc().save()
    world.nodes._known = {"127.0.0.1:1": ("127.0.0.1", 1)}
    assert len(await world.nodes.primaries()) == 3
    assert await doc.n.increase() == 1


async def test_a_slot_that_nobody_serves(world):
    """CLUSTERDOWN: the call waits until the slot is served again, and runs once."""
    doc = await Doc().save()
    slot, ports = hash_slot(doc.key), [node.port for node in world.servers.nodes]
    owner = await world.owner(doc.key)
    await asyncio.gather(*(world.at(port).execute_command("CLUSTER", "DELSLOTS", slot) for port in ports))
    try:
        await world.at(owner).config_resetstat()
        task = asyncio.create_task(doc.n.increase())
        await asyncio.sleep(0.5)
        assert not task.done()
        told = [await world.at(port).info("errorstats") for port in ports]
        assert any("errorstat_CLUSTERDOWN" in found for found in told)
        world.nodes._seconds = 0.2
        with pytest.raises(ServerError, match="serves its slot"):
            await (await Doc.get(doc.key)).n.increase()
    finally:
        world.nodes._seconds = 10.0
        await world.at(owner).execute_command("CLUSTER", "ADDSLOTS", slot)
        await asyncio.to_thread(world.servers.wait)
    assert await task == 1
    assert await doc.n.load() == 1


async def test_a_slot_that_nobody_serves_is_asked_for_at_primaries(world):
    """What ends a call that waited in vain is what a primary said of its slot, not that a replica serves none."""
    doc = await Doc().save()
    slot, ports = hash_slot(doc.key), [node.port for node in world.servers.nodes]
    primaries = [node.port for node in world.servers.primaries()]
    owner = await world.owner(doc.key)
    await asyncio.gather(*(world.at(port).execute_command("CLUSTER", "DELSLOTS", slot) for port in ports))
    try:
        await world.nodes.ask()
        await asyncio.gather(*(world.at(port).config_resetstat() for port in ports))
        world.nodes._seconds = 1.0
        with pytest.raises(ServerError, match="serves its slot"):
            await doc.n.increase()
        told = [port for port in ports if "errorstat_CLUSTERDOWN" in await world.at(port).info("errorstats")]
        assert told
        assert set(told) <= set(primaries)
    finally:
        world.nodes._seconds = 10.0
        await world.at(owner).execute_command("CLUSTER", "ADDSLOTS", slot)
        await asyncio.to_thread(world.servers.wait)
    assert await doc.n.increase() == 1


@pytest.mark.slow
async def test_a_client_that_is_closed_while_calls_look_for_another_node(world):
    """They end with their own failure; nobody asks for the slots any more, which no task would be left to wait for."""
    nodes = world.nodes
    await nodes.ask()
    lane = nodes.lane("k")
    for _ in range(20):
        failure = RedisConnectionError("lost")
        turns = [
            asyncio.create_task(nodes.turn("k", lane, failure, nodes.trip(), again=True)),
            asyncio.create_task(nodes.turn("k", lane, MovedError(f"1 {lane.name}"), nodes.trip(), again=True)),
        ]
        await asyncio.sleep(0)
        await nodes.close()
        first, _ = await asyncio.gather(*turns, return_exceptions=True)
        assert first is failure
        nodes.closed = False
    nodes.closed = True
    assert [task for task in asyncio.all_tasks() if task.get_name() == "rapyer-slots"] == []


async def test_finding_through_a_failover():
    """A search waits for the heir of a primary that was killed, as long as any call would, and finds everything."""
    with redis_stack.cluster(node_timeout=3.0) as servers:
        async with opened(servers, retry=Retry(ConstantBackoff(0.1), 30)) as world:
            docs = [await Doc(n=number).save() for number in range(30)]
            await world.at(await world.owner(docs[0].key)).execute_command("WAIT", 1, 1000)
            servers.node(await world.owner(docs[0].key)).kill()
            began = time.monotonic()
            assert sorted(doc.n for doc in await Doc.afind()) == list(range(30))
            assert time.monotonic() - began > 3.0
