"""Clients of every kind, event loops one after another and at once, and servers that lack something."""

import asyncio
import gc
import socket
import threading
import time

import pytest
import redis
from connections import client_of, database, with_options
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer.errors import ServerError, UsageError


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    s: str = "é"
    b: bytes = b"\xff\x00"
    items: list[float] = []
    table: dict[str, int] = {}


async def exercise():
    """Use the whole way to Redis once."""
    doc = await Doc(items=[0.1]).save()
    assert await doc.n.increase(5) == 5
    assert await doc.s.aappend("ü") == "éü"
    assert await doc.items.aappend(1 / 3) == [0.1, 1 / 3]
    assert await doc.table.aset_item("ö", 1) == {"ö": 1}
    assert await doc.table.apopitem() == ("ö", 1)
    async with doc.pipeline():
        doc.n += 1
        doc.b += b"\xfe"
    async with doc.lock(save_at_end=True):
        doc.s = "new"
    assert await Doc.get(doc.key) == doc == Doc(n=6, s="new", b=b"\xff\x00\xfe", items=[0.1, 1 / 3])
    assert doc.key in await Doc.afind_keys()
    assert doc in await Doc.afind()
    assert await (await doc.duplicate()).delete() is True
    assert await doc.delete() is True
    with pytest.raises(KeyError):
        await doc.n.increase()


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_clients(stack, client, decode, protocol, encoding):
    """Decoding on or off, either protocol, any encoding of the client: all work alike."""
    own = client_of(with_options(stack.url, protocol=protocol), decode_responses=decode, encoding=encoding)
    await rapyer.init_rapyer(own)
    try:
        await exercise()
        assert await own.ping()
    finally:
        await rapyer.teardown_rapyer()
        await own.aclose()


@pytest.mark.one_server("a cluster's client is not made of a pool")
async def test_pools(stack, client):
    """A client made of a pool, bounded to one connection, serves a thousand callers."""
    pool = ConnectionPool.from_url(stack.url, max_connections=1)
    own = Redis(connection_pool=pool)
    await rapyer.init_rapyer(own)
    try:
        doc = await Doc().save()
        await asyncio.gather(*(doc.n.increase() for _ in range(1000)))
        assert await doc.n.load() == 1000
    finally:
        await rapyer.teardown_rapyer()
        await own.aclose()
        await pool.aclose()


async def test_init_with_a_url(stack, client):
    """A URL is enough; teardown closes what was opened, twice without harm."""
    await rapyer.init_rapyer(stack.url)
    opened = AtomicRedisModel.Meta.redis
    await exercise()
    await rapyer.teardown_rapyer()
    await rapyer.teardown_rapyer()
    assert AtomicRedisModel.Meta.redis is None
    assert opened is not None
    with pytest.raises(UsageError):
        await Doc().save()


@pytest.mark.one_server("a cluster has one database")
async def test_init_twice(stack, client):
    """Calling it again rebinds, also models that were defined in between."""
    other = client_of(database(stack.url, 1))
    await rapyer.init_rapyer(client)
    doc = await Doc().save()
    await rapyer.init_rapyer(other)
    try:

        class Later(AtomicRedisModel):
            n: int = 0

        later = await Later().save()
        assert (await other.exists(later.key), await client.exists(doc.key)) == (1, 1)
        with pytest.raises(KeyError):
            await doc.load()
        await rapyer.init_rapyer()
        assert AtomicRedisModel.Meta.redis is other
    finally:
        await other.flushdb()
        await rapyer.teardown_rapyer()
        await other.aclose()
    assert await client.ping()


async def test_without_init(stack, client):
    """A model with a client of its own works by itself: scripts are loaded at first use."""
    await client.script_flush()

    class Alone(AtomicRedisModel):
        n: int = 0

        class Meta:
            redis = client

    one = await Alone().save()
    assert await one.n.increase() == 1
    async with one.lock(save_at_end=True):
        one.n += 1
    assert (await Alone.get(one.key)).n == 2
    await rapyer.teardown_rapyer()


async def test_no_client(client):
    """Without any client every call is a UsageError that shows the two ways to bind one."""
    doc = Doc()
    calls = [doc.save(), doc.load(), Doc.get("x"), Doc.afind_keys(), Doc.afind(), doc.n.increase(), doc.duplicate()]
    for call in [*calls, doc.lock().__aenter__(), doc.pipeline().__aenter__(), doc.items.load()]:
        with pytest.raises(UsageError, match=r"init_rapyer[\s\S]*Meta"):
            await call
    with pytest.raises(UsageError, match="URL"):
        await rapyer.init_rapyer()


async def test_wrong_client(client):
    """What is no client of redis.asyncio is a UsageError that says so, at init and at first use; nothing is bound."""

    class Wrong(AtomicRedisModel):
        n: int = 0

    for wrong in (redis.Redis(), redis.Redis, 5, object(), "redis://localhost"):
        Wrong.Meta.redis = wrong
        with pytest.raises(UsageError, match=r"redis\.asyncio"):
            await Wrong().save()
        if wrong != "redis://localhost":
            with pytest.raises(UsageError, match=r"redis\.asyncio"):
                await rapyer.init_rapyer(wrong)
    assert AtomicRedisModel.Meta.redis is None
    with pytest.raises(UsageError, match="URL"):
        await rapyer.init_rapyer("nonsense://x")


@pytest.mark.parametrize("tear_down", [False, True])
def test_loops_one_after_another(stack, tear_down):
    """The same classes and the same client work in loop after loop, with or without a teardown."""
    client = client_of(stack.url)
    key = None

    async def main():
        nonlocal key
        await rapyer.init_rapyer(client)
        await exercise()
        doc = await (Doc().save() if key is None else Doc.get(key))
        key = doc.key
        await asyncio.gather(*(doc.n.increase() for _ in range(10)))
        total = await doc.n.load()
        if tear_down:
            await rapyer.teardown_rapyer()
        return total

    assert [asyncio.run(main()) for _ in range(3)] == [10, 20, 30]
    asyncio.run(rapyer.teardown_rapyer())
    gc.collect()  # what was not closed would warn here


def test_calls_under_way_when_a_loop_ends(stack):
    """A loop that ends with calls under way leaves the next one in order."""
    client = client_of(stack.url)

    async def leave():
        await rapyer.init_rapyer(client)
        doc = await Doc().save()
        tasks = [asyncio.create_task(doc.n.increase()) for _ in range(100)]
        await asyncio.sleep(0)
        return len(tasks)

    assert asyncio.run(leave()) == 100
    asyncio.run(exercise())
    asyncio.run(rapyer.teardown_rapyer())
    gc.collect()


def test_threads(stack):
    """Loops in several threads at once share classes and client; nothing is lost."""
    client = client_of(stack.url)
    errors = []

    async def start():
        await rapyer.init_rapyer(client)
        return (await Doc().save()).key

    async def work(key):
        for _ in range(20):
            doc = await Doc.get(key)
            async with doc.pipeline():
                doc.n += 1
            await asyncio.gather(doc.n.increase(), doc.items.aappend(1.5))
            async with Doc.lock_from_key(key, save_at_end=True) as mine:
                mine.table["t"] = mine.table.get("t", 0) + 1
        await exercise()

    def run(key):
        try:
            asyncio.run(work(key))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    async def finish(key):
        doc = await Doc.get(key)
        await rapyer.teardown_rapyer()
        return doc

    key = asyncio.run(start())
    threads = [threading.Thread(target=run, args=(key,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    doc = asyncio.run(finish(key))
    assert (doc.n, len(doc.items), doc.table) == (240, 120, {"t": 120})
    gc.collect()


async def test_no_json_module():
    """A server without RedisJSON is a ServerError that says so and how to get it."""
    with redis_stack.start(modules=False) as bare:
        client = client_of(bare.url)
        with pytest.raises(ServerError, match=r"RedisJSON[\s\S]*docker"):
            await rapyer.init_rapyer(client)
        assert AtomicRedisModel.Meta.redis is None
        with pytest.raises(ServerError, match="RedisJSON"):
            await rapyer.init_rapyer(bare.url)
        await rapyer.teardown_rapyer()
        await client.aclose()


async def test_no_json_module_without_init():
    """At first use a server without RedisJSON is the same clear error; it has no documents to find or to delete."""
    with redis_stack.start(modules=False) as bare:
        client = client_of(bare.url)

        class Bare(AtomicRedisModel):
            n: int = 0

            class Meta:
                redis = client

        one = Bare()
        calls = (one.save, one.load, one.n.increase, one.duplicate, one.lock().__aenter__, one.pipeline().__aenter__)
        for call in calls:
            with pytest.raises(ServerError, match=r"RedisJSON[\s\S]*docker") as caught:
                await call()
            assert "Unknown Redis command" in str(caught.value.__cause__)
        assert (await one.delete(), await Bare.delete_by_key("x"), await Bare.afind()) == (False, False, [])
        await rapyer.teardown_rapyer()
        await client.aclose()


async def test_old_server():
    """A server older than Redis 7 is a ServerError that tells which it is and how to get another; nothing is bound."""
    with redis_stack.start(private=True) as server:
        relayed = []

        async def connected(reader, writer):
            relayed.append(asyncio.current_task())
            up_reader, up_writer = await asyncio.open_connection(server.host, server.port)

            async def forward(source, target):
                while data := await source.read(1 << 16):
                    target.write(data.replace(b"redis_version:7.4", b"redis_version:6.2"))
                target.close()

            await asyncio.gather(forward(reader, up_writer), forward(up_reader, writer))

        relay = await asyncio.start_server(connected, "127.0.0.1", 0)
        client = Redis(port=relay.sockets[0].getsockname()[1])
        with pytest.raises(ServerError, match=r"Redis 6\.2[\s\S]*7\.0[\s\S]*docker"):
            await rapyer.init_rapyer(client)
        assert AtomicRedisModel.Meta.redis is None
        await rapyer.teardown_rapyer()
        await client.aclose()
        await asyncio.gather(*relayed)
        relay.close()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_silent_server(protocol):
    """A server that accepts and says nothing is redis-py's TimeoutError, after its timeout for each of its tries."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=100)
    client = Redis(port=silent.getsockname()[1], protocol=protocol, socket_timeout=0.2, retry=Retry(NoBackoff(), 1))

    class Lost(AtomicRedisModel):
        class Meta:
            redis = client

    for call in (lambda: rapyer.init_rapyer(client), Lost().save, lambda: Lost.get("x"), Lost.afind_keys):
        began = time.monotonic()
        with pytest.raises(RedisTimeoutError):
            await call()
        assert 0.3 < time.monotonic() - began < 5
    assert AtomicRedisModel.Meta.redis is None
    await rapyer.teardown_rapyer()
    await client.aclose()
    silent.close()


async def test_no_server():
    """No Redis at all is redis-py's ConnectionError, within a few seconds, at init and at first use."""
    client = Redis(port=redis_stack.free_port(), socket_connect_timeout=0.5)

    class Lost(AtomicRedisModel):
        class Meta:
            redis = client

    started = time.monotonic()
    with pytest.raises((RedisConnectionError, ConnectionError)):
        await rapyer.init_rapyer(client)
    with pytest.raises((RedisConnectionError, ConnectionError)):
        await Lost().save()
    assert time.monotonic() - started < 20
    await rapyer.teardown_rapyer()
    await client.aclose()
