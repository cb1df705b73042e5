"""Sentinels that say nothing: each question has its time, and the one that was believed is asked first from then on."""

import asyncio
from contextlib import asynccontextmanager, closing

import pytest
from redis.asyncio import Redis, Sentinel

import rapyer
import redis_stack
from rapyer import AtomicRedisModel, _sentinel
from rapyer._loops import dispatcher

pytestmark = pytest.mark.one_server("a cluster has no sentinels")


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A primary, and the port of a sentinel that watches it."""
    with redis_stack.start(private=True) as primary:
        file = tmp_path_factory.mktemp("sentinel") / "sentinel.conf"
        file.write_text(f"sentinel monitor main 127.0.0.1 {primary.port} 1\n")
        with redis_stack.start(modules=False, args=[str(file), "--sentinel"]) as watcher:
            yield primary, watcher.port


@asynccontextmanager
async def silent():
    """A server that takes connections and says nothing, as its port and the list of those connections."""
    taken = []
    server = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    with closing(server):
        yield server.sockets[0].getsockname()[1], taken
        for writer in taken:
            writer.transport.abort()


@asynccontextmanager
async def bound(ports, sentinel_options, **options):
    """Models bound to the primary's client."""
    watch = Sentinel([("127.0.0.1", port) for port in ports], sentinel_kwargs=sentinel_options)
    client = watch.master_for("main", **options)
    try:
        await rapyer.init_rapyer(client)
        yield client
    finally:
        await rapyer.teardown_rapyer()
        await client.aclose()
        for sentinel in watch.sentinels:
            await sentinel.aclose()


@pytest.mark.parametrize(
    ("sentinels", "clients"), [(0.3, None), (None, 0.3), (None, None)], ids=["its own", "the client's", "ours"]
)
async def test_a_silent_sentinel(watched, monkeypatch, sentinels, clients):
    """It is asked once, for as long as its own timeout says, or else the client's, or else ours."""
    monkeypatch.setattr(_sentinel, "SECONDS", 0.3)
    async with silent() as (port, taken):

        async def work():
            async with bound((port, watched[1]), {"socket_timeout": sentinels}, socket_timeout=clients):
                await Doc().save()

        await asyncio.wait_for(work(), 3)
        assert len(taken) == 1


async def test_the_order_is_kept(watched):
    """Who was believed is asked first when connections are lost, by those that wake waiters, too."""
    primary, watcher = watched
    async with silent() as (port, taken), bound((port, watcher), {"socket_timeout": 0.3}) as client:
        doc = await Doc().save()
        for _ in range(3):
            await dispatcher(client)._lane.close()
            await doc.n.increase()

        async def add():
            async with doc.lock(save_at_end=True) as mine:
                await asyncio.sleep(0.02)
                mine.n += 1

        await asyncio.gather(*(asyncio.create_task(add()) for _ in range(3)))
        assert len(taken) == 1
        async with Redis.from_url(primary.url) as direct:
            assert await direct.execute_command("JSON.GET", doc.key, ".n") == b"6"


def test_waiters_in_loop_after_loop(watched):
    """The wake-up connection's address is asked for in the running loop: a client serves one loop after another."""
    primary, watcher = watched
    watch = Sentinel([("127.0.0.1", watcher)])
    client = watch.master_for("main")

    async def locked(key, client):
        Doc.Meta.redis = client  # the lock's, to its end
        async with Doc.lock_from_key(key):
            await asyncio.sleep(0.1)

    async def work():
        async with Redis.from_url(primary.url) as other:
            await rapyer.init_rapyer(client)
            key = (await Doc().save()).key
            holding = asyncio.create_task(locked(key, other))
            await asyncio.sleep(0.03)
            await asyncio.wait_for(locked(key, client), 5)
            await holding
            await rapyer.teardown_rapyer()

    for _ in range(3):
        asyncio.run(work())
    Doc.Meta.redis = None
    assert not any(sentinel.connection_pool._available_connections for sentinel in watch.sentinels)
