"""A cancelled caller abandons its answer and nothing else."""

import asyncio
import gc
import logging

import pytest
from lane_world import COUNT, clogged, command, increase, load, until

from rapyer._sent import Care


@pytest.fixture
def messages(caplog):
    """What is logged during the test; what earlier tests left has its say before."""
    gc.collect()
    return caplog


async def test_thousand_cancelled_calls(world, messages):
    """A thousand cancelled calls cost no connection and move no answer."""
    async with world.lane() as lane, world.dispatcher() as dispatcher:
        await world.put("k")
        assert await lane.call(command("PING"), repeatable=True) == b"PONG"
        await load(dispatcher, "k")
        before = await world.client.info("stats")
        for _ in range(10):
            tasks = [asyncio.create_task(increase(dispatcher, "k")) for _ in range(100)]
            calls = [lane.call(command("ECHO", str(i)), repeatable=True) for i in range(200)]
            await asyncio.sleep(0)
            for call in (*tasks, *calls[::2]):
                call.cancel()
            assert await asyncio.gather(*calls[1::2]) == [str(i).encode() for i in range(1, 200, 2)]
            await asyncio.gather(*tasks, return_exceptions=True)
        after = await world.client.info("stats")
        assert after["total_connections_received"] == before["total_connections_received"]
        assert await increase(dispatcher, "k") == await world.number("k")
    gc.collect()
    assert not messages.records


async def test_cancelled_while_connecting(world):
    """Who gives up while the connection is being made does not take it from the others."""
    async with world.lane() as lane:
        calls = [lane.call(command("ECHO", str(i)), repeatable=True) for i in range(10)]
        calls[0].cancel()
        assert await asyncio.gather(*calls[1:]) == [str(i).encode() for i in range(1, 10)]


async def test_cancelled_before_it_was_written(world):
    """A call that is cancelled while it waits is never sent."""
    await world.put("k")
    async with world.proxied(socket_timeout=60) as (dispatcher, proxy):
        await load(dispatcher, "k")
        proxy.open.clear()
        big = await clogged(dispatcher._lane)
        writes = [asyncio.create_task(increase(dispatcher, "k")) for _ in range(100)]
        await asyncio.sleep(0.01)
        for write in writes:
            write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)
        proxy.open.set()
        await asyncio.gather(*big)
        assert await increase(dispatcher, "k") == 1


@pytest.mark.parametrize("care", [None, Care(once=True, replicas=0)], ids=["plain", "once"])
async def test_cancelled_before_it_was_written_again(world, monkeypatch, care):
    """A call that goes on, as its script was missing, is not sent when its caller gives up in the same turn before."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        lane, cancelled = dispatcher._lane, []
        await load(dispatcher, "k")
        await world.client.script_flush()
        increment = dispatcher.combined(COUNT, "k", 1, care)
        send = lane.send

        def given_up_then(call):
            if b"EVALSHA" in call.packed:
                lane.call(command("PING"), repeatable=True)  # so that it waits for the end of the turn
                send(call)
                cancelled.append(increment.cancel())
            else:
                send(call)

        monkeypatch.setattr(lane, "send", given_up_then)
        await until(increment.done, pause=0)
        await asyncio.sleep(0)
        assert cancelled == [True]
        assert await lane.call(command("PING"), repeatable=True) == b"PONG"
    assert await world.number("k") == 0


async def test_nobody_joins_a_call_that_was_cancelled(world):
    """A lone increment that is cancelled before it was written is forgotten: the next one does not wait with it."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        under_way = asyncio.ensure_future(load(dispatcher, "k"))
        await asyncio.sleep(0)
        dispatcher.combined(COUNT, "k", 1).cancel()
        await under_way
        assert await asyncio.wait_for(increase(dispatcher, "k"), 5) == 1


async def test_cancelled_with_an_error_on_its_way(world, messages):
    """An error for a caller that is cancelled in the same turn leaves no message behind."""
    with messages.at_level(logging.DEBUG, "asyncio"):
        async with world.lane() as lane:
            for _ in range(50):
                call = lane.call(command("NONSENSE"), repeatable=True)
                waiter = asyncio.create_task(asyncio.wait_for(call, 5))
                call.add_done_callback(lambda _, waiter=waiter: waiter.cancel())
                await asyncio.gather(waiter, return_exceptions=True)
                del call, waiter
    assert not [record for record in messages.records if record.levelno >= logging.WARNING]


async def test_cancelled_while_its_script_is_loaded(world, messages):
    """A caller that gives up while the server is told its script leaves no task and no message, and nothing runs."""
    await world.put("k")
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        await world.client.script_flush()
        tasks = [asyncio.create_task(increase(dispatcher, "k")) for _ in range(10)]
        await until(lambda: dispatcher._loading, pause=0)  # it takes no two milliseconds
        proxy.open.clear()
        for task in tasks:
            task.cancel()
        got = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert all(isinstance(each, asyncio.CancelledError) for each in got)
        assert not any(task.get_name() == "rapyer-call" for task in asyncio.all_tasks())
        proxy.open.set()
        assert await increase(dispatcher, "k") == 1
    assert await world.number("k") == 1
    gc.collect()
    assert "never retrieved" not in messages.text
