"""Lost scripts, lost connections and lost servers: nothing happens twice, and nothing is guessed."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound, OutcomeUnknown


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    items: list[int] = []


async def kill_connections(client):
    """Have the server drop every connection but this one."""
    await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def test_script_flush(bound):
    """Scripts that the server lost are loaded once for all callers, and no call is lost or repeated."""
    doc = await Doc().save()
    await bound.script_flush()
    await bound.config_resetstat()
    await asyncio.gather(*(doc.n.increase() for _ in range(200)))
    stats = await bound.info("commandstats")
    assert await doc.n.load() == 200
    assert 1 <= stats["cmdstat_script|load"]["calls"] <= 5


async def test_script_flush_again_and_again(bound):
    """Flushes that go on while calls go on lose nothing."""
    doc = await Doc().save()

    async def flush():
        for _ in range(20):
            await bound.script_flush()
            await asyncio.sleep(0.002)

    async def work():
        for _ in range(20):
            await doc.n.increase()

    await asyncio.gather(flush(), *(work() for _ in range(10)))
    assert await doc.n.load() == 200


async def test_write_in_flight(bound):
    """A write whose connection is lost before the answer is OutcomeUnknown, names the document, and is not repeated."""
    doc = await Doc().save()
    await bound.execute_command("CLIENT", "PAUSE", "20000", "WRITE")
    writes = [asyncio.create_task(call) for call in (doc.n.increase(), doc.save(), doc.items.aappend(1))]
    await asyncio.sleep(0.2)
    await kill_connections(bound)
    results = await asyncio.gather(*writes, return_exceptions=True)
    await bound.execute_command("CLIENT", "UNPAUSE")
    assert [type(result) for result in results] == [OutcomeUnknown] * 3
    assert all(str(result).count(repr(doc.key)) == 1 for result in results)
    assert isinstance(results[0], ConnectionError)
    assert results[0].__cause__ is not None
    assert doc == Doc()
    assert await doc.load() == Doc()
    assert await doc.n.increase() == 1


async def test_pipeline_in_flight(bound):
    """A block whose commit is lost is OutcomeUnknown; the model is as on entry."""
    doc = await Doc().save()

    async def block():
        async with doc.pipeline():
            doc.n += 1
            await bound.execute_command("CLIENT", "PAUSE", "20000", "WRITE")

    task = asyncio.create_task(block())
    await asyncio.sleep(0.2)
    await kill_connections(bound)
    with pytest.raises(OutcomeUnknown, match=doc.key):
        await task
    await bound.execute_command("CLIENT", "UNPAUSE")
    assert doc == Doc()


async def test_reads_are_repeated(bound):
    """Connections that are lost under reads are not noticed."""
    doc = await Doc(n=7).save()

    async def read():
        for _ in range(100):
            assert (await Doc.get(doc.key)).n == 7
            assert await doc.n.load() == 7

    async def kill():
        for _ in range(5):
            await asyncio.sleep(0.02)
            await kill_connections(bound)

    await asyncio.gather(kill(), *(read() for _ in range(5)))


async def test_never_twice(bound):
    """Under lost connections each write has happened once, or failed: unsent, or with OutcomeUnknown."""
    doc = await Doc().save()
    done, unknown, unsent = 0, 0, 0

    async def work():
        nonlocal done, unknown, unsent
        for _ in range(50):
            try:
                await doc.n.increase()
                done += 1
            except OutcomeUnknown:
                unknown += 1
            except RedisConnectionError:
                unsent += 1

    async def kill():
        for _ in range(10):
            await asyncio.sleep(0.01)
            await kill_connections(bound)

    await asyncio.gather(kill(), *(work() for _ in range(20)))
    total = await doc.n.load()
    assert done + unknown + unsent == 1000
    assert done <= total <= done + unknown


async def test_server_dies():
    """A write in flight when the server dies is OutcomeUnknown; when it is back, calls work again."""
    with redis_stack.start(private=True) as server:
        client = Redis.from_url(server.url)
        await rapyer.init_rapyer(client)
        doc = await Doc().save()
        await client.execute_command("CLIENT", "PAUSE", "20000", "WRITE")
        write = asyncio.create_task(doc.n.increase())
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.kill)
        with pytest.raises(OutcomeUnknown):
            await write
        await asyncio.to_thread(server.restart)
        with pytest.raises(KeyNotFound):
            await doc.n.increase()
        await doc.save()
        assert await doc.n.increase() == 1
        await rapyer.teardown_rapyer()
        await client.aclose()


async def test_cancelled_calls(bound):
    """Cancelling calls costs no connection, and moves nobody else's answer."""
    docs = [await Doc(n=i).save() for i in range(50)]
    before = len(await bound.client_list())
    for _ in range(10):
        reads = [asyncio.create_task(Doc.get(doc.key)) for doc in docs]
        await asyncio.sleep(0)
        for read in reads[::2]:
            read.cancel()
        results = await asyncio.gather(*reads, return_exceptions=True)
        for i, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError) if i % 2 == 0 else result.n == i
    assert len(await bound.client_list()) == before


async def test_ten_thousand_at_once(bound):
    """Ten thousand calls at once need few connections and all succeed."""
    doc = await Doc().save()
    before = len(await bound.client_list())
    await asyncio.gather(*(doc.n.increase() for _ in range(10_000)))
    assert await doc.n.load() == 10_000
    assert len(await bound.client_list()) < before + 5
