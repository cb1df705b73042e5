"""Waiters on a cluster: woken by who hands the lock over, on every primary, also when slots and primaries went."""

import asyncio
import os
import sys
import time

import pytest
from cluster_world import opened
from pydantic import Field

import redis_stack
from rapyer import AtomicRedisModel, _keys, _wake
from rapyer._keys import hash_slot
from rapyer._lock import queues
from rapyer._loops import dispatcher
from rapyer.errors import LockLost, LockTimeout, OutcomeUnknown
from rapyer.fields import Key


class Doc(AtomicRedisModel):
    """A document."""

    name: Key[str] = Field(default_factory=lambda: os.urandom(8).hex())
    n: int = 0


class Careful(Doc):
    """A document whose writes run once and are on a replica."""

    class Meta:
        """The options."""

        exactly_once = True
        min_replicas = 1


@pytest.fixture
async def second(servers, world):
    """The same documents through a client of its own, as in another process."""
    async for cls in _second(servers, world):
        yield cls


@pytest.fixture
async def own():
    """A cluster that may be broken."""
    with redis_stack.cluster(node_timeout=1.0, args=["--cluster-require-full-coverage", "no"]) as servers:
        async with opened(servers, socket_timeout=2) as world:
            yield world


async def _second(servers, world):
    client = type(world.client).from_url(servers.url.replace("+cluster", ""), socket_timeout=2)

    class Second(Doc):
        """The same document."""

        class Meta:
            """Its own client."""

            redis = client

        @classmethod
        def class_key_initials(cls):
            return Doc.class_key_initials()

    yield Second
    await queues(client).close()
    await dispatcher(client).close()
    await client.aclose()


async def on_each(world, cls=Doc):
    """A document on each primary, by its port."""
    docs = {}
    while len(docs) < 3:
        doc = cls()
        docs.setdefault(await world.owner(doc.key), doc)
    for doc in docs.values():
        await doc.save()
    return docs


async def queued(world, *docs):
    """Wait until a ticket for each stands in its queue."""
    for doc in docs:
        for _ in range(1000):
            if await world.client.llen(_keys.queue_key(doc.key, "default")):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("no ticket")


async def wait(cls, doc, **options):
    """Wait for the lock, add one, and return when."""
    async with cls.lock_from_key(doc.key, save_at_end=True, **options) as mine:
        mine.n = mine.n + 1
        return time.monotonic()


async def channels(world):
    """How many channels there are on each primary."""
    ports = [node.port for node in world.servers.primaries()]
    return [len(await world.at(port).execute_command("PUBSUB", "SHARDCHANNELS")) for port in ports]


async def scripts_called(world):
    """How many scripts all primaries ran."""
    stats = [await world.at(node.port).info("commandstats") for node in world.servers.primaries()]
    return sum(found.get("cmdstat_evalsha", {"calls": 0})["calls"] for found in stats)


async def test_woken_on_every_primary(world, second):
    """The release is the only call until the body of another client's waiter runs, on each primary."""
    docs = list((await on_each(world)).values())
    inside, leave = [asyncio.Event() for _ in docs], asyncio.Event()

    async def enter(doc, event):
        async with second.lock_from_key(doc.key) as mine:
            event.set()
            await leave.wait()
            return mine.n

    blocks = [doc.lock(save_at_end=True) for doc in docs]
    for block in blocks:
        await block.__aenter__()
    tasks = [asyncio.create_task(enter(doc, event)) for doc, event in zip(docs, inside, strict=True)]
    await queued(world, *docs)
    assert await channels(world) == [1, 1, 1]
    await asyncio.sleep(1.3)  # they are counted
    before = await scripts_called(world)
    await asyncio.sleep(1)
    assert await scripts_called(world) == before  # nobody polls
    for doc, block in zip(docs, blocks, strict=True):
        doc.n = 7
        await block.__aexit__(None, None, None)
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in inside)), 2)
    assert await scripts_called(world) == before + 3
    leave.set()
    assert await asyncio.gather(*tasks) == [7, 7, 7]


async def test_channels_go_with_their_waiters(world, second, monkeypatch):
    """A channel that nobody waits on is closed although others of its connection are in use; then the connection."""
    monkeypatch.setattr(_wake, "IDLE", 0.2)
    port, doc = next(iter((await on_each(world)).items()))
    near = Doc()
    while await world.owner(near.key) != port:
        near = Doc()
    await near.save()
    async with doc.lock():
        task = asyncio.create_task(wait(second, doc))
        async with near.lock():
            soon = asyncio.create_task(wait(second, near))
            await queued(world, doc, near)
            assert sum(await channels(world)) == 2
        await soon
        await asyncio.sleep(0.8)
        assert sum(await channels(world)) == 1
        async with near.lock():
            soon = asyncio.create_task(wait(second, near))
            await queued(world, near)
        await soon
    await task
    await asyncio.sleep(0.8)
    assert sum(await channels(world)) == 0


@pytest.mark.parametrize("key", ["a\nb", "a}b", "{x}y", "a{b", "{}\n", "é\n{\n}"])
async def test_nasty_keys(world, second, key):
    """Whatever the key is, its waiters are woken: the ticket's lines and the channel's slot hold."""
    doc = await Doc(name=key).save()
    channel = _keys.wake_channel("station", doc.key)
    assert hash_slot(channel) == hash_slot(doc.key)
    assert "\n" not in channel
    async with doc.lock():
        task = asyncio.create_task(wait(second, doc))
        await queued(world, doc)
        left = time.monotonic()
    assert await asyncio.wait_for(task, 5) - left < 2


async def test_a_slot_moves_under_waiters(world, second):
    """They ask at the new primary when the old one takes the channel back, and are woken there, not a lease later."""
    doc = await Doc().save()
    source = await world.owner(doc.key)
    target, slot = await world.other(source), hash_slot(doc.key)
    async with doc.lock(save_at_end=True, lease=60):
        tasks = [asyncio.create_task(wait(cls, doc, lease=60)) for cls in (second, Doc, second)]
        await queued(world, doc)
        await world.move(slot, source, target)
        await asyncio.sleep(0.5)
        assert await world.at(source).execute_command("PUBSUB", "SHARDCHANNELS") == []
        assert len(await world.at(target).execute_command("PUBSUB", "SHARDCHANNELS")) == 1
        left = time.monotonic()
        doc.n = 1
    try:
        assert max(await asyncio.wait_for(asyncio.gather(*tasks), 5)) - left < 1
        assert (await Doc.get(doc.key)).n == 4
    finally:
        await world.move(slot, target, source)


async def test_a_cut_subscription(world, second):
    """Waiters ask at once when the connection that wakes them is lost."""
    doc = await Doc().save()
    port = await world.owner(doc.key)
    async with doc.lock():
        task = asyncio.create_task(wait(second, doc))
        await queued(world, doc)
        await world.at(port).execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        left = time.monotonic()
    assert await asyncio.wait_for(task, 5) - left < 2


async def test_the_command(world, second):
    """`python -m rapyer locks` shows the locks of all primaries, with who waits."""
    docs = list((await on_each(world)).values())
    blocks = [doc.lock() for doc in docs]
    for block in blocks:
        await block.__aenter__()
    tasks = [asyncio.create_task(wait(cls, doc)) for doc in docs for cls in (second, Doc, second)]
    await asyncio.sleep(1.5)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rapyer", "locks", world.servers.url), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    for block in blocks:
        await block.__aexit__(None, None, None)
    await asyncio.gather(*tasks)
    rows = [line.split() for line in out.decode().splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == sorted((doc.key, "3") for doc in docs)


async def test_a_lost_answer_to_the_save_is_no_matter_with_care(world):
    """With `exactly_once` a section whose connection is cut is repeated: none is unknown, none runs twice."""
    doc = await Careful().save()
    port, going_on = await world.owner(doc.key), asyncio.Event()

    async def cut():
        while True:
            await going_on.wait()  # on a busy machine a pause alone would be shorter than connecting takes
            going_on.clear()
            await asyncio.sleep(0.01)
            await world.at(port).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def work():
        for number in range(20):
            async with Careful.lock_from_key(doc.key, save_at_end=True) as mine:
                if number % 4:
                    mine.n = mine.n + 1
            going_on.set()

    cutting = asyncio.create_task(cut())
    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(5))), 60)
    cutting.cancel()
    assert (await Careful.get(doc.key)).n == 75


@pytest.mark.slow
async def test_a_killed_primary_under_waiters(own):
    """They go on at the heir: each enters, or is told; the other primaries' waiters notice nothing."""
    async for second in _second(own.servers, own):
        docs = await on_each(own)
        port, doc = next(iter(docs.items()))
        other = next(found for found in docs.values() if found is not doc)
        inside, leave = asyncio.Event(), asyncio.Event()

        async def hold(held, inside=inside, leave=leave):
            async with Doc.lock_from_key(held.key, lease=3):
                inside.set()
                await leave.wait()

        holders = [asyncio.create_task(hold(held)) for held in (doc, other)]
        await inside.wait()
        await asyncio.sleep(0.2)
        tasks = [asyncio.create_task(wait(cls, doc, lease=3, timeout=30)) for cls in (second, Doc, second, Doc)]
        easy = asyncio.create_task(wait(second, other))
        await queued(own, doc, other)
        await own.at(port).execute_command("WAIT", 1, 1000)
        own.servers.node(port).kill()
        await asyncio.sleep(0.2)
        leave.set()
        left = time.monotonic()
        assert await asyncio.wait_for(easy, 5) - left < 2
        outcomes = await asyncio.wait_for(asyncio.gather(*holders, *tasks, return_exceptions=True), 40)
        entered = [outcome for outcome in outcomes[2:] if isinstance(outcome, float)]
        failed = [outcome for outcome in outcomes[1:] if isinstance(outcome, BaseException)]
        assert all(isinstance(outcome, (OutcomeUnknown, LockLost)) for outcome in failed), outcomes
        assert not any(isinstance(outcome, LockTimeout) for outcome in outcomes)
        assert len(entered) >= 3
        assert len(entered) <= (await Doc.get(doc.key)).n <= 4
