"""Lost connections and servers: unsent calls go on, reads are repeated, sent writes are unknown, nothing runs twice."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from fault_proxy import Fault, FaultProxy
from lane_world import World, clogged, command, increase, load, opened, sent, until
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

import redis_stack
from rapyer._lane import TRIES
from rapyer.errors import OutcomeUnknown, ServerError

FOREVER = Retry(NoBackoff(), -1)


async def kill(world):
    """Have the server end every connection but this one."""
    await world.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def test_idle_disconnect(world):
    """A connection that was lost while nothing was under way costs no call anything, a write neither."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        for i in range(1, 20):
            assert await increase(dispatcher, "k") == i
            await kill(world)
            await until(lambda: dispatcher._lane._wire is None)


async def test_calls_never_written_go_to_the_next_connection(world):
    """Of calls on a connection that is lost, those in the socket are unknown, those that waited are carried out."""
    await world.put("k")
    async with world.proxied(socket_timeout=60) as (dispatcher, proxy):
        await load(dispatcher, "k")
        proxy.open.clear()
        sent = asyncio.create_task(increase(dispatcher, "k"))
        await asyncio.sleep(0)
        big = dispatcher._lane.call(command("SET", "big", "x" * (20 << 20)), repeatable=False)
        await clogged(dispatcher._lane)
        waiting = [asyncio.create_task(increase(dispatcher, "k")) for _ in range(100)]
        await asyncio.sleep(0.01)
        proxy.cut()
        proxy.open.set()
        values = await asyncio.gather(*waiting)
        assert sorted(values) == list(range(1, 101))
        for call in (sent, big):
            with pytest.raises(OutcomeUnknown) as caught:
                await call
            assert caught.value.__cause__ is not None
        assert await world.number("k") == 100
        assert await world.client.exists("big") == 0


@pytest.mark.parametrize("action", ["reset", "close"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_reads_are_repeated(world, action, direction):
    """A read whose connection ends in the middle of its bytes or of its answer's is repeated unseen."""
    await world.put("k", '{"n":7}')
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        at = proxy.connections[0].passed(direction) - 5
        await dispatcher.close()
        proxy.faults = [Fault(direction, at, action)] * (TRIES - 1)
        assert await load(dispatcher, "k") == b'{"n":7}'
        assert len(proxy.connections) == 1 + TRIES


async def test_partial_write(world):
    """A write of which the server got a part is unknown to its caller, and did not run."""
    await world.put("k")
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        written = proxy.connections[0].passed("up")
        await dispatcher.close()
        # The same connection again: the fault strikes within the bytes of the write.
        proxy.faults = [Fault("up", written + 20, "reset")]
        assert await load(dispatcher, "k") == b'{"n":0}'
        with pytest.raises(OutcomeUnknown):
            await increase(dispatcher, "k")
        assert await world.number("k") == 0
        assert await increase(dispatcher, "k") == 1


async def test_lost_answer(world):
    """A write whose answer is lost is unknown to its caller, ran once, and is not repeated."""
    await world.put("k")
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        answered = proxy.connections[0].passed("down")
        await dispatcher.close()
        proxy.faults = [Fault("down", answered + 2, "reset")]
        await load(dispatcher, "k")
        with pytest.raises(OutcomeUnknown):
            await increase(dispatcher, "k")
        assert await world.number("k") == 1


@pytest.mark.parametrize("retries", [0, 1, 5])
async def test_reads_end_with_the_clients_retries(world, retries):
    """A read is tried as often as the client's `retry` says, then its error is redis-py's."""
    await world.put("k")
    retry = Retry(NoBackoff(), retries)
    async with FaultProxy(world.url, *[Fault("down", 0, "reset")] * 20) as proxy:
        client = Redis.from_url(proxy.url)
        client.connection_pool.connection_kwargs["retry"] = retry
        async with world.lane(proxy.url, retry=retry) as lane:
            with pytest.raises(RedisConnectionError):
                await lane.call(command("PING"), repeatable=True)
        await client.aclose()
        assert len(proxy.connections) == retries + 1


async def test_what_the_system_says_is_redis_pys_error(world, tmp_path):
    """A connection that is reset while an answer is due, or a socket that is not there, is a `ConnectionError`."""
    await world.put("k")
    async with world.proxied(retry=Retry(NoBackoff(), 0)) as (dispatcher, proxy):
        for operation, expected in ((load, RedisConnectionError), (increase, OutcomeUnknown)):
            await load(dispatcher, "k")
            proxy.open.clear()
            call = asyncio.ensure_future(operation(dispatcher, "k"))
            await asyncio.sleep(0.01)
            proxy.cut()
            with pytest.raises(expected) as caught:
                await call
            assert isinstance(caught.value.__cause__, Exception)
            proxy.open.set()
    async with world.lane(f"unix://{tmp_path}/nothing.sock", retry=Retry(NoBackoff(), 0)) as lane:
        with pytest.raises(RedisConnectionError, match="No such file"):
            await lane.call(command("PING"), repeatable=True)


async def test_silence(world):
    """A server that says nothing for the client's socket_timeout is given up: reads again, writes unknown."""
    await world.put("k")
    async with world.proxied(socket_timeout=0.3) as (dispatcher, proxy):
        await load(dispatcher, "k")
        at = proxy.connections[0].passed("down")
        await dispatcher.close()
        proxy.faults = [Fault("down", at, "swallow")]
        await load(dispatcher, "k")
        started = time.monotonic()
        write, read = increase(dispatcher, "k"), load(dispatcher, "k")
        unknown, text = await asyncio.gather(write, read, return_exceptions=True)
        assert 0.25 < time.monotonic() - started < 5
        assert isinstance(unknown, OutcomeUnknown)
        assert isinstance(unknown.__cause__, RedisTimeoutError)
        assert text == b'{"n":1}'


async def test_slow_is_not_silent(world):
    """A connection on which bytes move now and then is kept, however long its answer takes."""
    async with world.proxied(socket_timeout=1) as (dispatcher, proxy):
        lane = dispatcher._lane
        assert await lane.call(command("SET", "big", "x" * (8 << 20)), repeatable=False) == b"OK"
        read = lane.call(command("GET", "big"), repeatable=True)
        for _ in range(5):
            proxy.open.clear()
            await asyncio.sleep(0.3)
            proxy.open.set()
            await asyncio.sleep(0)
        assert len(await read) == 8 << 20
        assert len(proxy.connections) == 1


async def test_kill_under_load(world):
    """While connections are killed again and again, nothing is lost and nothing is doubled."""
    await world.put("k")
    done = unknown = 0
    killing = True

    async def work(dispatcher):
        nonlocal done, unknown
        for _ in range(200):
            try:
                await increase(dispatcher, "k")
                done += 1
            except OutcomeUnknown:
                unknown += 1

    async def kill_all():
        seen = 0
        while killing:
            await asyncio.sleep(0.003)
            if done > seen:  # else nothing could be done in between
                seen = done
                await kill(world)

    async with world.dispatcher(retry=FOREVER) as dispatcher:
        killer = asyncio.create_task(kill_all())
        await asyncio.gather(*(work(dispatcher) for _ in range(30)))
        killing = False
        await killer
    assert done + unknown == 6000
    assert unknown > 0
    assert done <= await world.number("k") <= done + unknown


async def test_one_reconnects_for_all(world):
    """However many callers wait for a server, one connection at a time is tried, with pauses between."""
    async with FaultProxy(world.url, *[Fault("down", 0, "reset")] * 6) as proxy:
        retry = Retry(NoBackoff(), 10)
        async with world.lane(proxy.url, retry=retry) as lane:
            started = time.monotonic()
            replies = await asyncio.gather(*(lane.call(command("PING"), repeatable=False) for _ in range(1000)))
            assert set(replies) == {b"PONG"}
            assert len(proxy.connections) == 7
            assert time.monotonic() - started < 10


async def test_no_server():
    """Without a server every caller gets an error of its own, once the tries are used up."""
    async with opened_lane(f"redis://127.0.0.1:{redis_stack.free_port()}") as lane:
        calls = [lane.call(command("PING"), repeatable=False) for _ in range(50)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in errors} == {RedisConnectionError}
        assert len({id(error) for error in errors}) == 50


def opened_lane(url, **options):
    """A lane without a world."""
    return World(url, None).lane(url, **options)


async def test_wrong_password(world):
    """A refused login is an error at once, for everybody who waits: another try would not mend it."""
    async with FaultProxy(world.url) as proxy:
        async with world.lane(proxy.url, username="nobody", password="wrong") as lane:  # noqa: S106
            calls = [lane.call(command("PING"), repeatable=True) for _ in range(10)]
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(error) for error in errors} == {AuthenticationError}
        assert len(proxy.connections) == 1


async def test_failing_credential_provider(world):
    """What the user's own code raises while connecting reaches the callers; the next call tries again."""

    class Provider(CredentialProvider):
        asked = 0

        async def get_credentials_async(self):
            self.asked += 1
            message = "no secret today"
            raise ValueError(message)

    provider = Provider()
    async with world.lane(credential_provider=provider) as lane:
        for _ in range(2):
            with pytest.raises(ValueError, match="no secret today"):
                await lane.call(command("PING"), repeatable=True)
    assert provider.asked == 2


async def test_a_provider_whose_error_cannot_be_copied(world):
    """Whatever class of error the user's own code raises, every caller gets it."""

    class VaultError(Exception):
        def __init__(self, response):
            super().__init__(f"the vault said {response.status}")

    class Provider(CredentialProvider):
        async def get_credentials_async(self):
            raise VaultError(SimpleNamespace(status=503))

    async with world.lane(credential_provider=Provider()) as lane:
        calls = [lane.call(command("PING"), repeatable=True) for _ in range(3)]
        errors = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert {type(error) for error in errors} == {VaultError}


async def test_an_outage_that_is_over(world):
    """Who calls long after the last failure does not wait for the pause that would have followed it."""
    async with (
        FaultProxy(world.url, *[Fault("down", 0, "reset")] * 5) as proxy,
        world.lane(proxy.url, retry=Retry(NoBackoff(), 4)) as lane,
    ):
        with pytest.raises(RedisConnectionError):
            await lane.call(command("PING"), repeatable=True)
        lane.longest_pause = 60.0
        lane._failed -= 2 * lane.longest_pause
        began = time.monotonic()
        for _ in range(5):
            lane._failures = 20
            assert await lane.call(command("PING"), repeatable=True) == b"PONG"
            await lane.close()
        assert time.monotonic() - began < 3  # five pauses would take four times as long on average


async def test_a_call_that_comes_too_late(world):
    """A call that may be sent until some moment is not sent later, however long connecting takes; others are."""
    async with FaultProxy(world.url, Fault("down", 0, "delay", 0.3)) as proxy, world.lane(proxy.url) as lane:
        soon = asyncio.get_running_loop().time() + 0.1
        late = sent(lane, "INCR", "n", until=soon)
        assert await lane.call(command("INCR", "n"), repeatable=True) == 1
        with pytest.raises(RedisTimeoutError, match="in time"):
            await late


async def test_demoted_server():
    """A server that became a replica refuses writes before they run: they go out again until there is a primary."""
    with redis_stack.start(private=True) as server:
        async with opened(server.url) as world, world.dispatcher(retry=Retry(NoBackoff(), 20)) as dispatcher:
            await world.put("k")
            await world.client.replicaof("127.0.0.1", str(redis_stack.free_port()))
            writes = [asyncio.create_task(increase(dispatcher, "k")) for _ in range(10)]
            await asyncio.sleep(0.1)
            assert not any(write.done() for write in writes)
            await world.client.replicaof("NO", "ONE")
            values = await asyncio.gather(*writes)
            assert sorted(values) == list(range(1, 11))
        async with opened(server.url) as world, world.dispatcher(retry=Retry(NoBackoff(), 1)) as dispatcher:
            await world.put("k")
            await load(dispatcher, "k")
            await world.client.replicaof("127.0.0.1", str(redis_stack.free_port()))
            with pytest.raises(ServerError, match="replica"):
                await increase(dispatcher, "k")
            assert await load(dispatcher, "k") == b'{"n":0}'


@pytest.mark.slow
async def test_server_that_loads(tmp_path):
    """A server that still reads its file refuses before anything runs: callers wait for it, within their retries."""
    delay = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]
    with redis_stack.start(directory=tmp_path / "data", args=delay) as server:
        async with opened(server.url) as world:
            await world.put("k")
            async with world.client.pipeline(transaction=False) as pipe:
                for i in range(500):
                    pipe.set(f"filler{i}", "x" * 1000)
                await pipe.execute()
            await world.client.bgrewriteaof()
            while (await world.client.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with (
            opened_lane(server.url, retry=Retry(NoBackoff(), 2)) as short,
            opened_lane(server.url, retry=FOREVER) as patient,
        ):
            restarted = asyncio.create_task(asyncio.to_thread(server.restart))
            seen = set()
            while not restarted.done():
                try:
                    await short.call(command("GET", "filler1"), repeatable=True)
                except RedisConnectionError as error:
                    seen.add(type(error))
                    if type(error) is BusyLoadingError:
                        assert await patient.call(command("INCR", "counter"), repeatable=False) == 1
                        break
            await restarted
            assert BusyLoadingError in seen
