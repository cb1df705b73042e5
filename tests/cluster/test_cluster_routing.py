"""A call reaches the primary that serves its key, however slots move, and runs once."""

import asyncio
import gc
import sys
import threading
import warnings
import weakref
from contextlib import nullcontext

import pytest
from cluster_world import opened
from connections import client_of
from redis.asyncio.cluster import NodesManager
from redis.exceptions import MovedError

import rapyer
from rapyer import AtomicRedisModel
from rapyer._keys import by_slot, hash_slot, lock_key, scratch_key
from rapyer._loops import dispatcher
from rapyer._nodes import ASKING, nodes_of
from rapyer._pack import pack
from rapyer._registry import once_scripts
from rapyer._together import common
from rapyer.errors import CrossSlot, KeyNotFound, ServerError, UsageError


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    m: int = 0
    items: list[int] = []


async def saved(count):
    """Documents in many slots."""
    docs = [Doc(n=number) for number in range(count)]
    await asyncio.gather(*(doc.save() for doc in docs))
    return docs


async def moved(world, key):
    """Move the slot of a key to another primary, behind the client's back."""
    source = await world.owner(key)
    target = await world.other(source)
    await world.move(hash_slot(key), source, target)
    return source, target


async def test_each_document_on_its_primary(world):
    """Documents spread over all primaries, by one connection to each, and are found again."""
    docs = await saved(300)
    await asyncio.gather(*(doc.n.increase() for doc in docs for _ in range(3)))
    assert [doc.n for doc in docs] == [number + 3 for number in range(300)]
    assert sorted(await Doc.afind_keys()) == sorted(doc.key for doc in docs)
    assert sorted(doc.n for doc in await Doc.afind()) == sorted(doc.n for doc in docs)
    sizes = [await world.at(node.port).dbsize() for node in world.servers.primaries()]
    assert sum(sizes) == 300
    assert min(sizes) > 0
    assert len(world.nodes._lanes) == 3


async def test_init_with_a_url(servers):
    """`redis+cluster://` is enough."""
    await rapyer.init_rapyer(servers.url)
    doc = await Doc().save()
    assert await doc.n.increase() == 1
    assert await doc.delete()
    await rapyer.teardown_rapyer()
    with pytest.raises(UsageError):
        await doc.save()


async def test_options_in_a_url(servers):
    """A URL takes the options of the client, how often it tries among them, and its scheme in any case."""
    url = f"Redis+Cluster{servers.url.removeprefix('redis+cluster')}?cluster_error_retry_attempts=30&socket_timeout=2"
    await rapyer.init_rapyer(url)
    nodes = dispatcher(AtomicRedisModel.Meta.redis)._nodes
    assert (nodes._seconds, nodes._options["socket_timeout"]) == (31, 2)
    assert await (await Doc().save()).delete()
    await rapyer.teardown_rapyer()


async def test_a_client_of_one_node(servers):
    """A client that knows nothing of slots cannot serve a cluster: the error says what can."""
    with pytest.raises(UsageError, match=r"redis\+cluster://"):
        await rapyer.init_rapyer(servers.url.replace("redis+cluster", "redis"))
    await rapyer.teardown_rapyer()


async def test_scripts_are_loaded_everywhere(world):
    """After binding no primary lacks a script; where one lost them, they are loaded there once for all callers."""
    primaries = [world.at(node.port) for node in world.servers.primaries()]
    for node in primaries:
        await node.config_resetstat()
    docs = await saved(60)
    for node in primaries:
        assert "errorstat_NOSCRIPT" not in await node.info("errorstats")
    await primaries[0].script_flush()
    for node in primaries:
        await node.config_resetstat()
    await asyncio.gather(*(doc.n.increase() for doc in docs for _ in range(5)))
    loads = [(await node.info("commandstats")).get("cmdstat_script|load", {"calls": 0})["calls"] for node in primaries]
    assert loads[1:] == [0, 0]
    assert 1 <= loads[0] <= 2
    assert [doc.n for doc in docs] == [number + 5 for number in range(60)]


async def test_moved(world):
    """A slot that moved is followed: nothing is lost or done twice, and the next call goes straight there."""
    doc = await Doc().save()
    _, target = await moved(world, doc.key)
    assert await asyncio.gather(*(doc.n.increase() for _ in range(50))) == list(range(1, 51))
    assert await doc.n.load() == 50
    assert world.nodes.lane(doc.key).name == f"127.0.0.1:{target}"
    before = (await world.at(target).info("commandstats"))["cmdstat_evalsha"]["calls"]
    await doc.n.increase()
    assert (await world.at(target).info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 1


async def test_ask(world):
    """While a slot is on its way, a document that arrived is worked on at its new place, one that waits at its old."""
    doc, other = await Doc().save(), Doc()
    slot = hash_slot(doc.key)
    twin = await Doc.model_validate({"n": 5}).save()
    source = await world.owner(doc.key)
    target = await world.other(source)
    await world.open_slot(slot, source, target)
    assert await doc.n.increase() == 1
    await world.move_keys(slot, source, target)
    assert await doc.n.increase() == 2
    assert (await doc.load()).n == 2
    assert await asyncio.gather(*(doc.n.increase() for _ in range(20))) == list(range(3, 23))
    with pytest.raises(KeyNotFound):
        await other.load()
    assert world.nodes.lane(doc.key).name == f"127.0.0.1:{source}"
    await world.close_slot(slot, source, target)
    assert await doc.n.increase() == 23
    assert await twin.n.load() == 5


async def test_try_again(world):
    """A call that needs two keys of a slot that is half on its way waits until it arrived, and runs once."""
    source = await world.owner("Doc:{half}")
    target = await world.other(source)
    docs = [Doc(), Doc()]
    for name, doc in zip("ab", docs, strict=True):
        object.__setattr__(doc, "_own_pk", f"{{half}}{name}")
        await doc.save()
    slot = hash_slot(docs[0].key)
    await world.open_slot(slot, source, target)
    assert await world.move_keys(slot, source, target, 1) == 1

    async def both():
        async with rapyer.pipeline():
            for doc in docs:
                doc.n += 1

    task = asyncio.create_task(both())
    await asyncio.sleep(0.3)
    assert not task.done()
    await world.move_keys(slot, source, target)
    await world.close_slot(slot, source, target)
    await task
    assert [await doc.n.load() for doc in docs] == [1, 1]


async def locked(doc):
    """A section that saves."""
    async with doc.lock(save_at_end=True):
        doc.n += 1


async def dependent(doc):
    """A block whose changes build on each other, for which its script needs a key beside the document."""
    async with doc.pipeline():
        doc.items.append(1)
        doc.items.insert(0, 2)
        doc.n += 1


async def once(doc):
    """A write that runs once, for which its script needs a record beside the document."""
    with rapyer.exactly_once():
        await doc.n.increase()


@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.parametrize("work", [locked, dependent, once])
async def test_keys_that_are_not_there(world, work, arrived):
    """While a slot moves, what needs a key that is nowhere waits until it has moved; in vain, it is told."""
    doc = Doc()
    await world.client.execute_command("JSON.SET", doc.key, "$", doc.model_dump_json())
    slot, source = hash_slot(doc.key), await world.owner(doc.key)
    target = await world.other(source)
    await world.open_slot(slot, source, target)
    if arrived:
        await world.move_keys(slot, source, target)
    enough, world.nodes._seconds = world.nodes._seconds, 0.2
    with pytest.raises(ServerError, match="slot is being moved"):
        await work(await Doc.get(doc.key))
    world.nodes._seconds = enough
    task = asyncio.create_task(work(doc))
    await asyncio.sleep(0.2)
    assert not task.done()
    assert await doc.m.increase() == 1
    while await world.move_keys(slot, source, target):
        pass
    await world.close_slot(slot, source, target)
    await task
    assert (await Doc.get(doc.key)).n == 1


async def test_resharding_under_load(world):
    """Slots that move back and forth under load lose nothing, double nothing and fail nothing."""
    docs = await saved(20)
    stop = asyncio.Event()
    done = dict.fromkeys(range(20), 0)

    async def work(number):
        doc = await Doc.get(docs[number].key)
        while not stop.is_set():
            async with doc.pipeline():
                doc.n += 1
                doc.m += 1
            await doc.items.aappend(done[number])
            await doc.n.increase()
            done[number] += 1

    tasks = [asyncio.create_task(work(number)) for number in range(20)]
    for doc in docs:
        await moved(world, doc.key)
    stop.set()
    await asyncio.gather(*tasks)
    for number, doc in enumerate(docs):
        await doc.load()
        assert (doc.n, doc.m) == (number + 2 * done[number], done[number])
        assert doc.items == list(range(done[number]))
    assert min(done.values()) > 5


async def test_finding_while_slots_move(world):
    """Documents that are there during the whole walk are found, each once, while their slots move."""
    docs = await saved(200)
    keys = sorted(doc.key for doc in docs)

    async def reshard():
        for doc in docs[:12]:
            await moved(world, doc.key)

    task = asyncio.create_task(reshard())
    walks = 0
    while not task.done():
        assert sorted(await Doc.afind_keys()) == keys
        walks += 1
    await task
    assert walks
    assert sorted(await Doc.afind_keys()) == keys


async def test_helper_keys_share_the_slot():
    """Locks and work keys are where their document is, also for keys with a tag, or braces that are none."""
    for key in ("Doc:1", "Doc:{a}:1", "Doc:{}{a}", "Doc:}{", "Doc:{{a}}", "{", "}", "Doc:é{ü}"):
        assert hash_slot(lock_key(key, "default")) == hash_slot(scratch_key(key)) == hash_slot(key)


async def test_pipeline_over_slots(world):
    """Documents in different slots cannot share a block: CrossSlot, nothing was sent, the models are as before."""
    docs = await saved(2)
    while hash_slot(docs[0].key) == hash_slot(docs[1].key):
        docs = await saved(2)
    for node in world.servers.primaries():
        await world.at(node.port).config_resetstat()

    async def block():
        async with rapyer.pipeline():
            docs[0].n += 1
            docs[1].n += 1

    with pytest.raises(CrossSlot, match="tag"):
        await block()
    stats = [await world.at(node.port).info("commandstats") for node in world.servers.primaries()]
    assert not any("cmdstat_evalsha" in found for found in stats)
    assert [doc.n for doc in docs] == [0, 1]


async def test_copies_go_by_slot(world):
    """Copies are written to all primaries, each as the original, and found there."""
    copies = await (await Doc(n=7).save()).duplicate_many(100)
    assert len(by_slot(copy.key for copy in copies)) > 50
    assert len(await Doc.afind_keys()) == 101
    assert {doc.n for doc in await Doc.afind()} == {7}


async def test_copies_are_all_or_none(world):
    """When one group of copies is refused, those of the others are removed again, and the failure is told."""
    primary = world.servers.primaries()[0].port
    doc = await Doc(n=7).save()
    await world.at(primary).config_set("maxmemory", 1)
    try:
        with pytest.raises(ServerError, match="memory"):
            await doc.duplicate_many(50)
    finally:
        await world.at(primary).config_set("maxmemory", 0)
    assert await Doc.afind_keys() == [doc.key]


async def test_cancelled_copies(world):
    """Cancelling leaves none of the copies, in no slot, or all, where all were written by then."""
    doc = await Doc(n=7).save()
    cancelled = 0
    for turns in range(12):
        task = asyncio.create_task(doc.duplicate_many(50))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        found = await Doc.afind()
        assert len(found) in ((1, 51) if isinstance(outcome, asyncio.CancelledError) else (51,))
        cancelled += len(found) == 1
        await asyncio.gather(*(copy.delete() for copy in found if copy.key != doc.key))
    assert cancelled > 1


async def test_refused_copies_and_a_cancellation(world):
    """Copies are removed after a refusal also where the caller is cancelled while they are."""
    primary = world.servers.primaries()[0].port
    doc = await Doc(n=7).save()
    await world.at(primary).config_set("maxmemory", 1)
    try:
        for step in range(20):
            task = asyncio.create_task(doc.duplicate_many(50))
            await asyncio.sleep(step * 0.0005)
            task.cancel()
            await asyncio.wait([task])
            assert await Doc.afind_keys() == [doc.key]
    finally:
        await world.at(primary).config_set("maxmemory", 0)


async def test_a_client_may_go(servers):
    """A cluster client that nobody holds any more goes away, and its connections with it."""
    client = client_of(servers.url)
    caller = dispatcher(client)
    await caller.preload()
    [lane, *_] = await caller.primaries()
    gone = weakref.ref(client)
    await client.aclose()
    del client, caller
    gc.collect()
    assert gone() is None
    await asyncio.sleep(0.01)
    assert lane._wire is None


async def test_a_client_goes_in_another_thread(world):
    """Where a client is collected in another thread, nodes that this one hears of meanwhile are no matter."""
    nodes, failures = nodes_of(world.client), []
    for port in range(1, 100):
        nodes._to("127.0.0.1", port)

    def drop():
        try:
            for _ in range(20):
                nodes.drop()
        except RuntimeError as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        dropping = threading.Thread(target=drop)
        dropping.start()
        for port in range(100, 2000):
            nodes._to("127.0.0.1", port)
            if not port % 10:
                await asyncio.sleep(0)
        dropping.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


def test_closing_while_slots_are_asked_for(servers):
    """However far the question for the slots is when the client is closed, no connection of it stays open."""

    async def closed_after(seconds):
        client = client_of(servers.url)
        caller = dispatcher(client)
        asking = asyncio.create_task(caller.primaries())
        await asyncio.sleep(seconds)
        await caller.close()
        await asyncio.gather(asking, return_exceptions=True)
        await client.aclose()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(100):
            asyncio.run(closed_after(step * 0.0002))
            gc.collect()
    assert [str(warning.message) for warning in told] == []


class Own(AtomicRedisModel):
    """A document with a client of its own."""

    n: int = 0


@pytest.mark.parametrize("once", [True, False])
async def test_teardown_with_calls_under_way(world, once):
    """Calls under way fail with the connections, and open none again."""
    docs = await saved(10)
    nodes = world.nodes
    for node in world.servers.primaries():
        await world.at(node.port).client_pause(500)  # or all might be answered by then
    with rapyer.exactly_once() if once else nullcontext():
        calls = [asyncio.create_task(call) for doc in docs for call in (doc.load(), doc.n.increase(), doc.save())]
    await asyncio.sleep(0)
    await rapyer.teardown_rapyer()
    _, pending = await asyncio.wait(calls, timeout=1)
    assert not pending
    assert any(call.exception() is not None for call in calls)
    assert [lane for lane in nodes._lanes.values() if lane._wire is not None or not lane.idle] == []


def test_loops_and_threads(servers):
    """One client serves several loops, one after another and at once: the slots are asked for in each."""
    client = client_of(servers.url)
    failures = []

    async def work():
        async with opened(servers):
            pass
        Own.Meta.redis = client
        try:
            doc = await Own().save()
            await asyncio.gather(*(doc.n.increase() for _ in range(100)))
            assert await doc.n.load() == 100
        finally:
            Own.Meta.redis = None

    async def only():
        doc = await Own().save()
        await asyncio.gather(*(doc.n.increase() for _ in range(100)))
        assert await doc.n.load() == 100

    def run():
        try:
            asyncio.run(only())
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    asyncio.run(work())
    asyncio.run(work())
    Own.Meta.redis = client
    try:
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        Own.Meta.redis = None
    assert failures == []


@pytest.mark.parametrize("turns", range(6))
def test_a_loop_that_ends_while_slots_are_asked_for(servers, monkeypatch, turns):
    """The connection on which the slots were told is closed, whichever step of that the end of the loop cuts short."""
    client = client_of(servers.url)
    initialize = NodesManager.initialize

    async def leave():
        told = asyncio.Event()

        async def initialize_and_tell(self):
            await initialize(self)
            told.set()

        monkeypatch.setattr(NodesManager, "initialize", initialize_and_tell)
        task = asyncio.create_task(dispatcher(client).primaries())
        await told.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        return task

    asyncio.run(leave())
    gc.collect()  # what was not closed would warn here


@pytest.mark.parametrize("once", [False, True])
async def test_who_gives_up_is_not_sent_on(world, once):
    """A write whose callers are all gone when the answer is that it belongs elsewhere is sent nowhere else."""
    doc = await Doc().save()
    slot, source = hash_slot(doc.key), await world.owner(doc.key)
    target = await world.other(source)
    await world.nodes._to("127.0.0.1", target).call(pack(("PING",)), repeatable=True)
    for port in (source, target):
        await world.at(port).script_load(once_scripts()["number.increase"].source)
    await doc.load()
    await world.move(slot, source, target)
    with rapyer.exactly_once() if once else nullcontext():
        tasks = [asyncio.create_task(doc.n.increase()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.2)
    assert (await world.stored(doc.key))["n"] == 0


def with_asking(lane, key):
    """Ask whether a key is there, with ASKING before."""
    call = lane._made(pack(("EXISTS", key)), repeatable=True)
    call.first = ASKING
    lane.send(call)
    return call


async def test_cancelled_redirection(world):
    """A call that is cancelled while it is sent on leaves no ASKING to another call."""
    doc = await Doc().save()
    slot = hash_slot(doc.key)
    source = await world.owner(doc.key)
    target = await world.other(source)
    await world.open_slot(slot, source, target)
    await world.move_keys(slot, source, target)
    lane = world.nodes._to("127.0.0.1", target)
    await lane.call(pack(("PING",)), repeatable=True)
    asking = lane.call(pack(("PING",)), repeatable=True)
    call = with_asking(lane, doc.key)
    call.cancel()
    after = lane.call(pack(("EXISTS", doc.key)), repeatable=True)
    assert await asking == b"PONG"
    with pytest.raises(MovedError):
        await after
    assert await with_asking(lane, doc.key) == 1
    await world.close_slot(slot, source, target)


async def test_increments_by_a_plain_client_of_one_node(world):
    """Slots that the client does not know of are no fault of the callers: their documents' calls go out one by one."""
    client = world.at(await world.owner("a"))
    caller = dispatcher(client)
    keys = [key for key in map(str, range(60)) if await world.owner(key) == await world.owner("a")]
    assert len({hash_slot(key) for key in keys}) > 5
    for key in keys:
        await client.execute_command("JSON.SET", key, "$", '{"n":0}')
    try:
        for total in (1, 2):
            first = asyncio.ensure_future(caller.script("document.load", (keys[0],), (), "$"))
            await asyncio.sleep(0)
            replies = [caller.combined(common("number.increase", "", "$.n"), key, 1) for key in keys]
            assert {int(reply[0]) for reply in await asyncio.gather(*replies)} == {total}
            await first
    finally:
        await caller.close()
