"""`Meta.exactly_once`: writes whose answers are lost are repeated until they are known, and run once."""

import asyncio
import gc

import pytest
from connections import client_of
from fault_proxy import Fault, FaultProxy
from lane_world import until
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel, _careful, _once
from rapyer._loops import dispatcher
from rapyer.errors import KeyNotFound, OutcomeUnknown, ServerError

pytestmark = pytest.mark.one_server("a lane is the connection to one")


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    m: int = 0
    items: list[int] = []
    s: str = ""

    class Meta:
        """The options."""

        exactly_once = True


class Plain(AtomicRedisModel):
    """A document like any other."""

    n: int = 0


@pytest.fixture
async def proxied(world):
    """A proxy, and the models bound to a client behind it that tries for long."""
    async with FaultProxy(world.url) as proxy:
        client = client_of(proxy.url, retry=Retry(ConstantBackoff(0.01), 60))
        Doc.Meta.redis = Plain.Meta.redis = client
        yield proxy
        Doc.Meta.redis = Plain.Meta.redis = None
        await rapyer.teardown_rapyer()
        await client.aclose()


async def records(world):
    """What is kept, by record."""
    return {key: await world.client.hlen(key) async for key in world.client.scan_iter("rapyer:*once*")}


async def test_lost_answers(world, proxied):
    """Whatever the connection does, each write is known in the end, and has happened once."""
    doc = await Doc().save()
    going_on = asyncio.Event()

    async def cut():
        while True:
            proxied.cut()
            await going_on.wait()  # on a busy machine a pause alone would be shorter than connecting takes
            going_on.clear()
            await asyncio.sleep(0.01)

    async def work(number):
        own = await Doc.get(doc.key)
        for turn in range(15):
            await own.n.increase()
            await own.items.aappend(number * 100 + turn)
            async with own.pipeline():
                own.n += 1
                own.m += 1
            await own.s.aappend("x")
            going_on.set()

    cutting = asyncio.create_task(cut())
    await asyncio.gather(*(work(number) for number in range(8)))
    cutting.cancel()
    await doc.load()
    assert (doc.n, doc.m, len(doc.s)) == (240, 120, 120)
    assert sorted(doc.items) == sorted(number * 100 + turn for number in range(8) for turn in range(15))


@pytest.mark.parametrize("at", range(0, 40, 3))
async def test_an_answer_cut_anywhere(world, proxied, at):
    """An answer that is cut at any byte is asked for again; it is the first one."""
    doc = await Doc(items=[1, 2, 3]).save()
    passed = proxied.connections[-1].passed("down")
    proxied.cut()
    # The next connection's handshake has as many bytes as this one's had; what follows is the answer.
    proxied.faults.append(Fault("down", passed - 10 + at, "reset"))
    assert await doc.items.apop() == 3
    assert await doc.items.apop() == 2
    assert (await doc.load()).items == [1]


async def test_what_is_kept(world, proxied):
    """Answers that are known are forgotten with the next call; what is left expires."""
    doc = await Doc().save()
    for _ in range(20):
        await doc.n.increase()
        with pytest.raises(IndexError):
            await doc.items.aset_item(5, 1)
    kept = await records(world)
    assert set(kept.values()) == {1}
    assert len(kept) <= 2  # a new minute may have begun
    assert all([0 < await world.client.ttl(record) <= _once.KEEP for record in kept])


async def test_plain_models_keep_nothing(world, proxied):
    """Without the option there is no record; inside `rapyer.exactly_once()` there is."""
    doc = await Plain().save()
    await doc.n.increase()
    assert await records(world) == {}
    with rapyer.exactly_once():
        await doc.n.increase()
        proxied.cut()
        await asyncio.gather(*(doc.n.increase() for _ in range(5)))
    assert 1 <= len(await records(world)) <= 2
    await doc.n.increase()
    assert await doc.n.load() == 8


async def counts_plainly(world, doc):
    """Whether a write of the running task leaves no record."""
    await world.client.delete("empty", *await records(world))
    await doc.n.increase()
    return not await records(world)


async def once():
    """A block in a generator, which anybody may close."""
    with rapyer.exactly_once():
        yield


@pytest.mark.parametrize("closing", ["its task", "another task", "the collector"])
async def test_a_block_in_a_generator(world, proxied, closing):
    """A block ends wherever it is left: in another task, too, and then for the task that entered it as well."""
    doc = await Plain().save()
    block = once()
    await block.__anext__()
    assert not await counts_plainly(world, doc)
    if closing == "its task":
        await block.aclose()
    elif closing == "another task":
        await asyncio.create_task(block.aclose())
    else:
        del block  # the loop closes it, in a task of its own
        gc.collect()
        await asyncio.sleep(0.01)
    assert await counts_plainly(world, doc)
    assert await asyncio.create_task(counts_plainly(world, doc))


async def test_blocks_that_are_left_in_any_order(world, proxied):
    """Of blocks that overlap, one lasts until it is left, and none is left over."""
    doc = await Plain().save()
    first, second = rapyer.exactly_once(), rapyer.exactly_once()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not await counts_plainly(world, doc)
    second.__exit__(None, None, None)
    assert await counts_plainly(world, doc)
    with rapyer.exactly_once():
        assert not await counts_plainly(world, doc)
    assert await counts_plainly(world, doc)


async def test_tasks_that_outlive_their_block(world, proxied):
    """A task that was started inside a block is in it to its end."""
    doc = await Plain().save()
    go = asyncio.Event()

    async def later():
        await go.wait()
        return await counts_plainly(world, doc)

    with rapyer.exactly_once():
        task = asyncio.create_task(later())
    go.set()
    assert not await task


async def test_refusals_are_told(world, proxied):
    """What a script refuses is refused as ever; nothing is kept."""
    doc = Doc()
    with pytest.raises(KeyNotFound):
        await doc.n.increase()
    assert await records(world) == {}


async def test_deleting_twice_is_once(world, proxied):
    """A repeated delete tells what the first one found."""
    for _ in range(10):
        doc = await Doc().save()
        deleting = asyncio.create_task(doc.delete())
        await asyncio.sleep(0)
        proxied.cut()
        assert await deleting is True
        assert await doc.delete() is False


async def test_copies(world, proxied):
    """Copies whose answer is lost are there once, and no refusal is made of the repetition."""
    doc = await Doc(n=7).save()
    for _ in range(10):
        copying = asyncio.create_task(doc.duplicate_many(5))
        await asyncio.sleep(0.001)
        proxied.cut()
        assert len(await copying) == 5
    assert len(await Doc.afind_keys()) == 51


async def test_a_redis_that_stays_away(world, proxied):
    """When the client's budget is used up, a write that was sent is unknown."""
    client = client_of(proxied.url, retry=Retry(ConstantBackoff(0.01), 3), socket_timeout=0.3)
    Doc.Meta.redis = client
    doc = await Doc().save()
    proxied.open.clear()
    with pytest.raises(OutcomeUnknown, match=doc.key):
        await doc.n.increase()
    proxied.open.set()
    await doc.load()
    assert doc.n in {0, 1}
    await rapyer.teardown_rapyer()
    await client.aclose()


@pytest.mark.parametrize("before", ["connected", "connecting"])
async def test_a_server_that_says_nothing(world, proxied, before):
    """However many tries the client allows, the time is over when it is over, and one look at a silent server later."""
    # By TLS a look is the greeting of a new connection, which has a bound of its own.
    options = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    client = client_of(proxied.url, retry=Retry(ConstantBackoff(0.01), 30), **options)
    Doc.Meta.redis = client
    doc = await Doc().save()
    dispatcher(client)._nodes._seconds = 1.5
    proxied.open.clear()
    if before == "connecting":
        proxied.cut()
        await until(lambda: dispatcher(client)._lane._wire is None)
    began = asyncio.get_running_loop().time()
    with pytest.raises(OutcomeUnknown if before == "connected" else RedisTimeoutError):
        await doc.n.increase()
    assert 1.5 < asyncio.get_running_loop().time() - began < 4
    proxied.open.set()
    await rapyer.teardown_rapyer()
    await client.aclose()


async def test_a_server_that_is_busy_after_a_lost_answer():
    """What a busy server refuses after a lost answer goes on until it is known; what it refuses at first is told."""
    with redis_stack.start(private=True, args=["--busy-reply-threshold", "50"]) as server:
        async with FaultProxy(server.url) as proxy, Redis.from_url(server.url) as direct:
            Doc.Meta.redis = client = client_of(proxy.url)
            doc = await Doc().save()
            await doc.n.increase()
            passage = proxy.connections[-1]
            passage.fault = Fault("down", passage.passed("down"), "swallow")
            counting = asyncio.create_task(doc.n.increase())
            await until(lambda: passage.struck)
            looping = asyncio.create_task(direct.eval("while true do end", 0))
            await asyncio.sleep(0.2)
            passage.end(reset=True)
            await asyncio.sleep(0.5)
            assert not counting.done()
            with pytest.raises(ServerError, match="BUSY"):
                await doc.s.aappend("x")
            async with Redis.from_url(server.url) as other:
                await other.script_kill()
            await asyncio.gather(looping, return_exceptions=True)
            assert await counting == 2
            assert (await doc.load()).n == 2
            Doc.Meta.redis = None
            await rapyer.teardown_rapyer()
            await client.aclose()


async def test_a_server_that_is_away_for_a_while():
    """With the client as it comes, writes wait for a server that restarts, and run once."""
    with redis_stack.start(private=True, args=("--appendonly", "yes", "--appendfsync", "always")) as server:
        Doc.Meta.redis = client = Redis.from_url(server.url)
        doc = await Doc().save()
        done = 0
        over = asyncio.Event()

        async def work():
            nonlocal done
            own = await Doc.get(doc.key)
            while not over.is_set():
                await own.n.increase()
                done += 1

        tasks = [asyncio.create_task(work()) for _ in range(20)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(2)  # more than the lane's own tries take
        await asyncio.to_thread(server.restart)
        over.set()
        await asyncio.gather(*tasks)
        assert (await doc.load()).n == done > 20
        Doc.Meta.redis = None
        await rapyer.teardown_rapyer()
        await client.aclose()


async def test_a_record_is_not_outlived(world, proxied, monkeypatch):
    """A write is not sent again when its record may be gone, however long connecting takes."""
    doc = await Doc().save()
    await doc.n.increase()
    monkeypatch.setattr(_careful, "LONGEST", 0.2)
    monkeypatch.setattr(_once, "_KEEP", "300")
    passage = proxied.connections[-1]
    passage.fault = Fault("down", passage.passed("down"), "reset")  # the answer is lost
    proxied.faults.append(Fault("down", 0, "delay", 0.6))
    with pytest.raises(OutcomeUnknown):
        await doc.n.increase()
    assert await doc.n.load() == 2


async def test_a_teardown_ends_it(world, proxied):
    """A write that waits for its answer is unknown when the program tears down, and opens no connection again."""
    doc = await Doc().save()
    lane = dispatcher(Doc.Meta.redis)._lane
    proxied.open.clear()
    writing = asyncio.create_task(doc.n.increase())
    await asyncio.sleep(0.01)
    await rapyer.teardown_rapyer()
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(writing, 1)
    assert lane.idle
    assert lane._wire is None
    proxied.open.set()


async def test_no_lock_is_left_and_fencing_holds(world, proxied):
    """Locked sections go on through lost connections: the save at the end is repeated, and applied once."""
    doc = await Doc().save()

    async def work():
        async with Doc.lock_from_key(doc.key, save_at_end=True) as own:
            own.n += 1

    for _ in range(5):
        await work()
    assert (await doc.load()).n == 5
