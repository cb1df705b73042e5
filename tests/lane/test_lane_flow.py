"""How calls share a connection: nothing waits for company, replies stay in order, a slow server is waited for."""

import asyncio
import sys

import connections
import pytest
from lane_world import command, increase, load, until
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rapyer import _wire
from rapyer._lane import COMPANY, CROWD
from rapyer._wire import HIGH_WATER
from rapyer.errors import KeyNotFound

BIG = 50 << 20


async def test_lone_call_is_written_at_once(world):
    """A call on an idle lane is with the server's socket before the caller's turn ends."""
    async with world.lane() as lane:
        await lane.call(command("PING"), repeatable=True)
        assert repr(lane) == "<Lane connected, 0 waiting, 0 sent>"
        reply = lane.call(command("PING"), repeatable=True)
        assert repr(lane) == "<Lane connected, 0 waiting, 1 sent>"
        assert await reply == b"PONG"


async def test_calls_of_one_turn_are_written_together(world):
    """A hundred calls of one turn arrive in few portions: the first, which did not wait, then companies of others."""
    async with world.proxied() as (dispatcher, proxy):
        await world.put("k")
        await load(dispatcher, "k")
        before = len(proxy.connections[0].up)
        await asyncio.gather(*(load(dispatcher, "k") for _ in range(100)))
        assert len(proxy.connections) == 1
        assert len(proxy.connections[0].up) - before <= 2 + 100 // COMPANY


async def test_callers_that_are_answered_together_write_together(world):
    """Tasks that go from call to call share their writes without waiting for a turn of the loop."""
    async with world.proxied() as (dispatcher, proxy):
        await world.put("k")

        async def work():
            for _ in range(50):
                await load(dispatcher, "k")

        await asyncio.gather(*(work() for _ in range(64)))
        assert len(proxy.connections[0].up) < 3200 / 4


async def test_replies_in_order(world):
    """Each of thousands of callers gets its own answer, whatever its size."""
    async with world.lane() as lane:

        async def echo(number):
            text = f"{number}:" + "x" * (number % 977)
            assert await lane.call(command("ECHO", text), repeatable=True) == text.encode()

        await asyncio.gather(*map(echo, range(5000)))


async def test_error_reply_is_its_callers_own(world):
    """A refused call fails alone, with an error of its own; those before and after it are served."""
    async with world.lane() as lane, world.dispatcher() as dispatcher:
        calls = [lane.call(command("NONSENSE" if i % 3 == 0 else "PING"), repeatable=True) for i in range(300)]
        replies = await asyncio.gather(*calls, return_exceptions=True)
        for i, reply in enumerate(replies):
            assert isinstance(reply, ResponseError) if i % 3 == 0 else reply == b"PONG"
        assert len({id(reply) for reply in replies[::3]}) == 100
        await world.put("there")
        calls = [increase(dispatcher, key) for key in ("there", "missing", "there")]
        first, missing, last = await asyncio.gather(*calls, return_exceptions=True)
        assert (first, type(missing), last) == (1, KeyNotFound, 2)


async def test_slow_server_is_waited_for(world):
    """While nothing is taken, callers wait and the bytes under way stay bounded; then all are served."""
    async with world.proxied(socket_timeout=60) as (dispatcher, proxy):
        lane = dispatcher._lane
        assert await lane.call(command("PING"), repeatable=True) == b"PONG"
        proxy.open.clear()
        text = "x" * 100_000
        calls = [asyncio.ensure_future(lane.call(command("ECHO", text), repeatable=True)) for _ in range(300)]
        await until(lambda: lane._wire.paused)
        await asyncio.sleep(0.1)
        assert len(lane._waiting) > 100
        assert lane._wire._transport.get_write_buffer_size() < 3 * HIGH_WATER
        assert not any(call.done() for call in calls)
        proxy.open.set()
        assert set(await asyncio.gather(*calls)) == {text.encode()}


async def test_calls_given_up_are_forgotten(world):
    """Callers that gave up while nothing is taken leave no commands behind, however many come."""
    async with world.proxied(socket_timeout=60) as (dispatcher, proxy):
        lane = dispatcher._lane
        await lane.call(command("PING"), repeatable=True)
        proxy.open.clear()
        big = lane.call(command("ECHO", "x" * (20 << 20)), repeatable=True)
        for _ in range(10 * CROWD):
            lane.call(command("PING"), repeatable=True).cancel()
        assert len(lane._waiting) <= CROWD + 1
        proxy.open.set()
        assert len(await big) == 20 << 20
        assert await lane.call(command("PING"), repeatable=True) == b"PONG"


@pytest.mark.slow
async def test_huge_values(world):
    """50 MB up and down again arrive whole; calls around them get their own answers, after it at the latest."""
    value = bytes(range(256)) * (BIG // 256)
    async with world.lane(socket_timeout=30) as lane:

        def others():
            return [lane.call(command("ECHO", str(i)), repeatable=True) for i in range(200)]

        first = others()
        stored = lane.call(command("SET", "big", value), repeatable=False)
        second = others()
        assert await stored == b"OK"
        read = lane.call(command("GET", "big"), repeatable=True)
        third = others()
        assert await read == value
        async with asyncio.timeout(5) if sys.version_info >= (3, 11) else asyncio.Lock():
            for group in (first, second, third):
                assert await asyncio.gather(*group) == [str(i).encode() for i in range(200)]


async def _tracked(connection):
    """Connect and ask for a message about every key that anybody writes."""
    await connection.on_connect()
    await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST")
    await connection.read_response()


async def test_push_messages(world):
    """What the server sends unasked, before the take-over and between replies, is nobody's answer."""

    async def early(connection):
        await _tracked(connection)
        await world.client.set("early", 1)
        await asyncio.sleep(0.05)  # the message is read by redis-py's stream meanwhile

    url = connections.with_options(world.url, protocol=3)
    async with world.lane(url, redis_connect_func=early) as lane:
        for i in range(200):
            calls = [lane.call(command("ECHO", str(i)), repeatable=True) for _ in range(3)]
            await world.client.set(f"key{i}", i)
            assert await asyncio.gather(*calls) == [str(i).encode()] * 3


async def test_protocol_violation(world):
    """A reply that nobody asked for ends the connection; calls go out on the next one and get their own answers."""
    strays = iter([True])

    async def stray(connection):
        await connection.on_connect()
        if next(strays, False):
            await connection.send_command("PING")  # its answer is left for the lane
            await asyncio.sleep(0.05)

    async with world.lane(redis_connect_func=stray) as lane:
        assert await lane.call(command("ECHO", "mine"), repeatable=False) == b"mine"
        assert next(strays, None) is None


def test_parser_is_as_asked():
    """The variant of the suite without hiredis does without it."""
    hidden = connections.sys.modules.get("hiredis", ...) is None
    assert (_wire._hiredis is None) == hidden


async def test_decoding_is_left_to_the_caller(world):
    """A client that decodes does not change what the lane returns: bytes."""
    client = Redis.from_url(world.url, decode_responses=True)
    async with world.lane(decode_responses=True) as lane:
        assert await lane.call(command("ECHO", b"\xff\x00"), repeatable=True) == b"\xff\x00"
    await client.aclose()
