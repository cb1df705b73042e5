"""A lane connects as its client was configured: TLS, unix sockets, users, databases, protocols, Sentinel."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import connections
import pytest
import redis
from lane_world import command, increase, until
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer._group import TURNS
from rapyer._loops import close_all, dispatcher
from rapyer.errors import LockTimeout


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    items: list[str] = []


async def exercise():
    """Use documents, a block and a lock."""
    doc = await Doc(items=["ä" * 100_000]).save()
    await asyncio.gather(*(doc.n.increase() for _ in range(100)))
    async with doc.pipeline():
        doc.n += 1
        doc.items += ["x"]
    async with doc.lock(save_at_end=True):
        doc.n += 1
    assert await Doc.get(doc.key) == Doc(n=102, items=["ä" * 100_000, "x"])


@pytest.mark.parametrize("protocol", ["2", "3"])
@pytest.mark.parametrize("connection", ["tcp", "tls", "unix"])
async def test_ways_to_connect(tmp_path, connection, protocol):
    """A URL is all that `init_rapyer` needs, for every way to connect and both protocols."""
    with connections.started(tmp_path, connection, protocol) as server:
        await rapyer.init_rapyer(server.url)
        await exercise()
        await rapyer.teardown_rapyer()


async def test_tls_is_checked(tmp_path):
    """A certificate that the client does not trust is an error, as it is for redis-py."""
    with connections.started(tmp_path, "tls") as server:
        untrusting = server.url.split("?")[0]
        with pytest.raises(RedisConnectionError, match="certificate"):
            await rapyer.init_rapyer(untrusting)
        await rapyer.teardown_rapyer()


def test_tls_loops_left_open(tmp_path):
    """Loops with TLS connections leave no warning, ended by `asyncio.run` or closed without a word."""
    with connections.started(tmp_path, "tls") as server:
        client = Redis.from_url(server.url)

        async def work():
            return await dispatcher(client).command("PING")

        for _ in range(3):
            assert asyncio.run(work()) == b"PONG"
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(work()) == b"PONG"
            loop.close()
        client = None
        gc.collect()


BUSY = "local began = os.clock() repeat until os.clock() - began > 1"


def test_tls_wake_ups_left_open(tmp_path):
    """A loop that ends soon after somebody waited for a lock leaves no warning, though the server says no goodbye."""
    with connections.started(tmp_path, "tls") as server, ThreadPoolExecutor() as threads:
        client, plain = Redis.from_url(server.url), redis.Redis.from_url(server.url)

        async def want(key):
            async with Doc.lock_from_key(key, timeout=0.1):
                pass

        async def leave():
            await rapyer.init_rapyer(client)
            doc = await Doc().save()
            async with doc.lock():
                # So many that they do not all share the holder's ticket.
                wanting = [want(doc.key) for _ in range(2 * TURNS)]
                outcomes = await asyncio.gather(*wanting, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {LockTimeout}
            busy = threads.submit(plain.eval, BUSY, 0)
            await asyncio.sleep(0.1)
            return busy

        asyncio.run(leave()).result()
        gc.collect()
        asyncio.run(rapyer.teardown_rapyer())
        plain.close()


async def test_client_options(world):
    """User, password, database, name and protocol are the client's."""
    await world.client.execute_command("ACL", "SETUSER", "lane", "on", ">secret", "~*", "&*", "+@all")
    url = connections.with_options(connections.database(world.url, 3), protocol=2)
    try:
        async with world.lane(url, username="lane", password="secret", client_name="mine") as lane:  # noqa: S106
            info = (await lane.call(command("CLIENT", "INFO"), repeatable=True)).decode()
            told = dict(word.split("=", 1) for word in info.split())
            assert (told["user"], told["db"], told["name"], told["resp"]) == ("lane", "3", "mine", "2")
    finally:
        await world.client.execute_command("ACL", "DELUSER", "lane")


async def test_credential_provider(world):
    """A credential provider is asked for each connection."""
    await world.client.execute_command("ACL", "SETUSER", "lane", "on", ">first", "~*", "&*", "+@all")

    class Provider(CredentialProvider):
        password = "first"  # noqa: S105

        async def get_credentials_async(self):
            return "lane", self.password

    provider = Provider()
    async with world.lane(credential_provider=provider) as lane:
        assert await lane.call(command("ACL", "WHOAMI"), repeatable=True) == b"lane"
        provider.password = "second"  # noqa: S105
        await world.client.execute_command("ACL", "SETUSER", "lane", "<first", ">second")
        await world.client.execute_command("CLIENT", "KILL", "USER", "lane")
        assert await lane.call(command("ACL", "WHOAMI"), repeatable=True) == b"lane"
    await world.client.execute_command("ACL", "DELUSER", "lane")


async def test_pools(world):
    """Any pool serves, also one whose connections are all in use: the lane takes none of them."""
    await world.put("k")
    pool = BlockingConnectionPool.from_url(world.url, max_connections=1, timeout=1)
    client = Redis(connection_pool=pool)
    taken = await pool.get_connection()
    assert await increase(dispatcher(client), "k") == 1
    await pool.release(taken)
    await close_all()
    await client.aclose()
    await pool.aclose()


def sentinel_file(folder, master):
    """Write a Sentinel's configuration."""
    file = folder / "sentinel.conf"
    file.write_text(
        f"sentinel monitor main 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 2000\n"
    )
    return file


@pytest.mark.slow
def test_sentinel(tmp_path):
    """A Sentinel's master client works in loop after loop, and follows a failover: writes go on at the new master."""
    with (
        redis_stack.start(private=True) as first,
        redis_stack.start(args=["--replicaof", f"127.0.0.1 {first.port}"]) as second,
    ):
        file = sentinel_file(tmp_path, first.port)
        with redis_stack.start(modules=False, args=[str(file), "--sentinel"]) as watcher:
            manager = Sentinel([("127.0.0.1", watcher.port)], socket_timeout=2)
            client = manager.master_for("main", retry=Retry(ConstantBackoff(0.1), 100))

            async def use():
                await rapyer.init_rapyer(client)
                await exercise()
                return (await Doc().save()).key

            async def fail_over(key):
                doc = await Doc.get(key)
                async with Redis.from_url(first.url) as direct:
                    await direct.wait(1, 5000)
                await asyncio.to_thread(first.kill)
                assert (await Doc.get(key)).n == 0
                assert await doc.n.increase() == 1
                async with Redis.from_url(second.url) as direct:
                    assert await direct.execute_command("JSON.GET", key, ".n") == b"1"

            async def finish():
                await rapyer.teardown_rapyer()
                await client.aclose()
                for node in manager.sentinels:  # older versions of redis-py close no Sentinel as a whole
                    await node.aclose()

            asyncio.run(use())
            asyncio.run(fail_over(asyncio.run(use())))
            asyncio.run(finish())
            gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("once", [True, False])
async def test_a_failover_with_a_plain_client(once):
    """Behind Sentinel a call that was never sent waits for the new primary, without a `retry` of the client's."""
    with redis_stack.sentinel() as servers:
        watch = Sentinel(servers.addresses)
        client = watch.master_for(servers.service)
        await rapyer.init_rapyer(client)
        doc = await Doc().save()
        async with Redis.from_url(servers.primary().url) as direct:
            await direct.wait(2, 5000)
        await asyncio.to_thread(servers.primary().kill)
        await until(lambda: dispatcher(client)._lane._wire is None)
        dispatcher(client)._nodes._seconds = 60  # on a busy machine the sentinels take longer than the usual 6
        with rapyer.exactly_once() if once else nullcontext():
            assert sorted(await asyncio.gather(*(doc.n.increase() for _ in range(5)))) == [1, 2, 3, 4, 5]
        assert (await Doc.get(doc.key)).n == 5
        await rapyer.teardown_rapyer()
        await client.aclose()
        for node in watch.sentinels:
            await node.aclose()


@pytest.mark.parametrize("turns", range(1, 16))
async def test_closed_while_it_connects(world, turns):
    """However far a connection is when the lane is closed, it is closed, too."""
    before = len(await world.client.client_list())
    async with world.lane() as lane:
        call = lane.call(command("PING"), repeatable=True)
        for _ in range(turns):
            await asyncio.sleep(0)
    await asyncio.gather(call, return_exceptions=True)
    for _ in range(100):
        after = len(await world.client.client_list())
        if after == before:
            break
        await asyncio.sleep(0.01)
    assert after == before
