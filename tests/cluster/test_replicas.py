"""`Meta.min_replicas`: a write counts when replicas have it; on a cluster and behind sentinels."""

import asyncio
import time

import pytest
from cluster_world import opened
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound, NotReplicated, OutcomeUnknown
from rapyer.testing._stack_cluster import wait_for


class Safe(AtomicRedisModel):
    """A document that one replica has to have."""

    n: int = 0
    items: list[int] = []

    class Meta:
        """The options."""

        min_replicas = 1


class Safest(Safe):
    """A document that runs exactly once, too."""

    class Meta:
        """The options."""

        exactly_once = True


class Greedy(Safe):
    """A document that asks for more replicas than there are."""

    class Meta:
        """The options."""

        min_replicas = 2


class Plain(AtomicRedisModel):
    """A document like any other."""

    n: int = 0


async def test_writes_are_on_a_replica(world):
    """When a write returns, a replica has it, whatever else goes on."""
    docs = [await Safe().save() for _ in range(10)]
    for doc in docs:
        port = await world.owner(doc.key)
        [replica] = world.servers.replicas_of(world.servers.node(port))
        await asyncio.gather(*(doc.n.increase() for _ in range(20)))
        await world.at(replica.port).execute_command("READONLY")
        assert await world.at(replica.port).execute_command("JSON.GET", doc.key, ".n") == b"20"
    assert [doc.n for doc in docs] == [20] * 10


async def test_one_wait_for_many_calls(world):
    """Calls that are made together share one WAIT, and answers keep their order."""
    doc = await Safe().save()
    port = await world.owner(doc.key)
    await world.at(port).config_resetstat()
    results = await asyncio.gather(*(doc.n.increase() for _ in range(500)))
    assert results == list(range(1, 501))
    assert doc.n == 500
    assert (await world.at(port).info("commandstats"))["cmdstat_wait"]["calls"] < 20


async def test_refusals_are_told(world):
    """What the script refuses is refused as ever."""
    with pytest.raises(KeyNotFound):
        await Safe().n.increase()


async def test_too_few_replicas(world):
    """A write that too few replicas have in time is an error that says so; others do not wait for it."""
    doc, plain = Greedy(), await Plain().save()
    began = time.monotonic()
    failing = asyncio.create_task(doc.save())
    await asyncio.sleep(0.05)
    await plain.n.increase()
    assert not failing.done()
    with pytest.raises(NotReplicated, match="1 of 2") as caught:
        await failing
    assert caught.value.key == doc.key
    assert 0.9 < time.monotonic() - began < 5
    assert (await Greedy.get(doc.key)).n == 0


async def test_cancelled_calls(world):
    """A caller that gives up takes nothing from the others of its lot."""
    doc = await Safe().save()
    tasks = [asyncio.create_task(doc.n.increase()) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, int) for result in results[1::2])
    assert 25 <= await doc.n.load() <= 50


async def test_copies_that_too_few_replicas_have(world):
    """Copies that were written and are not on replicas in time are removed again, in every slot, or in the only one."""
    for count in (1, 30):
        doc = Greedy(n=7)
        with pytest.raises(NotReplicated, match="1 of 2"):
            await doc.duplicate_many(count)
        assert await Greedy.afind_keys() == []


async def test_copies_that_cannot_be_removed(world, caplog):
    """Where the removal is refused, the error is `OutcomeUnknown` and names what is left; the log has it, too."""
    primary = world.servers.primaries()[0].port
    failing = asyncio.create_task(Greedy(n=7).duplicate_many(30))
    await asyncio.sleep(0.3)  # written, and waited for
    await world.at(primary).config_set("min-replicas-to-write", 9)
    try:
        with pytest.raises(OutcomeUnknown, match="to be deleted: 'Greedy:") as caught:
            await failing
    finally:
        await world.at(primary).config_set("min-replicas-to-write", 0)
    assert isinstance(caught.value.__cause__, NotReplicated)
    left = await Greedy.afind_keys()
    assert 0 < len(left) < 30
    assert {await world.owner(key) for key in left} == {primary}
    [record] = [record for record in caplog.records if "copies" in record.message]
    assert sorted(record.rapyer["keys"]) == sorted(left)


async def test_copies_on_a_lone_server():
    """Copies that no replica has are removed on one server, too."""
    with redis_stack.start(private=True) as server:
        await rapyer.init_rapyer(server.url)
        with pytest.raises(NotReplicated, match="0 of 1"):
            await Safe(n=7).duplicate_many(5)
        assert await Safe.afind_keys() == []
        await rapyer.teardown_rapyer()


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost():
    """With both options, primaries that are killed lose nothing that was acknowledged, and nothing is done twice."""
    with redis_stack.cluster() as servers:
        async with opened(servers, socket_timeout=2) as world:
            docs = [await Safest().save() for _ in range(6)]
            stop = asyncio.Event()
            done = dict.fromkeys(range(6), 0)

            async def work(number):
                doc = await Safest.get(docs[number].key)
                while not stop.is_set():
                    await doc.items.aappend(done[number])
                    await doc.n.increase()
                    done[number] += 1

            tasks = [asyncio.create_task(work(number)) for number in range(6)]
            await asyncio.sleep(0.3)
            victim = world.servers.node(await world.owner(docs[0].key))
            await asyncio.to_thread(victim.kill)
            # It has nothing when it comes back, so its replica has to serve by then.
            await asyncio.to_thread(wait_for, lambda: len(servers.primaries()) == 3, 30, "No replica took over")
            await asyncio.sleep(0.5)
            await asyncio.to_thread(victim.restart)
            await asyncio.to_thread(servers.wait)
            await asyncio.sleep(0.3)
            stop.set()
            await asyncio.gather(*tasks)
            for number, doc in enumerate(docs):
                await doc.load()
                assert (doc.n, doc.items) == (done[number], list(range(done[number])))
            assert min(done.values()) > 10


async def test_a_server_that_refuses_to_wait():
    """A server that refuses a write and the WAIT behind it, out of touch or loading, gets both again when it serves."""
    with redis_stack.start(private=True) as server:
        retry = Retry(ConstantBackoff(0.01), 100)
        Safe.Meta.redis = client = Redis.from_url(server.url, retry=retry)
        admin = Redis.from_url(server.url)
        doc = Safe()
        with pytest.raises(NotReplicated):
            await doc.save()
        await admin.config_set("replica-serve-stale-data", "no")
        await admin.replicaof("127.0.0.1", str(redis_stack.free_port()))
        writing = asyncio.create_task(doc.n.increase())
        await asyncio.sleep(0.2)
        assert not writing.done()
        await admin.replicaof("NO", "ONE")
        with pytest.raises(NotReplicated):
            await asyncio.wait_for(writing, 10)
        assert await doc.n.load() == 1
        Safe.Meta.redis = None
        await rapyer.teardown_rapyer()
        await client.aclose()
        await admin.aclose()


async def test_a_server_that_is_made_a_replica():
    """READONLY: calls wait until there is a primary again, and run once."""
    with redis_stack.start(private=True) as server:
        async with Redis(port=server.port) as client:
            await rapyer.init_rapyer(client)
            doc = await Plain().save()
            await client.config_resetstat()
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")
            task = asyncio.create_task(doc.n.increase())
            await asyncio.sleep(0.05)
            assert not task.done()
            await client.execute_command("REPLICAOF", "NO", "ONE")
            assert await task == 1
            assert "errorstat_READONLY" in await client.info("errorstats")
            await rapyer.teardown_rapyer()


PATIENT = {"retry": Retry(ConstantBackoff(0.1), 100)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "options"),
    [("kill", PATIENT), ("pause", PATIENT), ("kill", {})],
    ids=["killed", "stopped", "redis-py's own retry"],
)
async def test_behind_sentinels(fault, options):
    """A failover loses nothing that was acknowledged: the lane finds the new primary, and loads its scripts there.

    A primary that was only stopped is a replica when it goes on, and what it is sent then is not lost in it.
    """
    with redis_stack.sentinel() as servers:
        manager = Sentinel(servers.addresses, socket_timeout=2)
        client = manager.master_for(servers.service, **options)
        await rapyer.init_rapyer(client)
        doc = await Safest().save()
        stop = asyncio.Event()
        done = 0

        async def work():
            nonlocal done
            while not stop.is_set():
                await doc.items.aappend(done)
                await doc.n.increase()
                done += 1

        async def more():
            goal = done + 200  # more than can be in flight: the primary has to answer
            for _ in range(300):
                if done >= goal or task.done():
                    break
                await asyncio.sleep(0.05)
            assert done >= goal

        task = asyncio.create_task(work())
        await asyncio.sleep(0.3)
        before = servers.primary()
        await asyncio.to_thread(getattr(before, fault))
        await more()
        assert servers.primary() is not before
        if fault == "pause":
            await asyncio.to_thread(before.resume)
            await asyncio.to_thread(servers.wait)
            await more()
        stop.set()
        await task
        await doc.load()
        assert (doc.n, doc.items) == (done, list(range(done)))
        await rapyer.teardown_rapyer()
        await client.aclose()
        await manager.aclose()
