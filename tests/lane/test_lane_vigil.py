"""Staying awake for an answer: no sleep before a quick one, and no CPU spent on waiting for slow ones."""

import asyncio
import time
from itertools import count

import pytest
from lane_world import increase, load
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rapyer import _vigil
from rapyer._vigil import LONGEST
from rapyer.errors import OutcomeUnknown


def sleeps(monkeypatch):
    """Return a list that grows by the seconds that the running loop is ready to sleep."""
    selector, found = asyncio.get_running_loop()._selector, []
    select = selector.select

    def watched(timeout=None):
        if timeout is None or timeout > 0:
            found.append(timeout)
        return select(timeout)

    monkeypatch.setattr(selector, "select", watched)
    return found


async def test_no_sleep_before_a_quick_answer(world, monkeypatch):
    """A lone caller's loop does not go to sleep while an answer is due that comes before the vigil ends."""
    await world.put("k")
    monkeypatch.setattr(_vigil, "LONGEST", 10)  # however busy the machine is
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        found = sleeps(monkeypatch)
        for _ in range(200):
            await load(dispatcher, "k")
        assert found == []


async def test_a_slow_server_is_waited_for_asleep(world):
    """Where answers take long, the loop sleeps: a hundred calls of a millisecond each take little of the CPU."""
    await world.put("k")
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        vigil = dispatcher._lane._wire._vigil
        kept = 0.0
        for _ in range(100):
            proxy.open.clear()
            call = asyncio.ensure_future(load(dispatcher, "k"))
            began, used = time.perf_counter(), time.thread_time()
            await asyncio.sleep(20 * LONGEST)
            kept += min(time.thread_time() - used, time.perf_counter() - began)
            proxy.open.set()
            await call
        assert vigil._rest > 0
        assert kept < 100 * 20 * LONGEST / 2


async def test_the_rest_of_the_loop_has_its_turn_meanwhile(world, monkeypatch):
    """While a lone call is waited for awake, other connections and timers go on, and so do threads that call in."""
    await world.put("k")
    monkeypatch.setattr(_vigil, "LONGEST", 30)
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        proxy.open.clear()
        call = asyncio.ensure_future(load(dispatcher, "k"))
        began = time.perf_counter()
        for _ in range(20):
            await world.client.ping()
            await asyncio.sleep(0.001)
            await asyncio.to_thread(time.sleep, 0.001)
        assert time.perf_counter() - began < 10
        assert dispatcher._lane._wire._vigil._awake
        assert not call.done()
        proxy.open.set()
        await call


async def test_a_clock_that_stands_still(world, monkeypatch):
    """A test that stops Python's clock, as with freezegun, does not stop the loop with it while an answer is due."""
    await world.put("k")
    monkeypatch.setattr(_vigil, "LONGEST", 30)
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        proxy.open.clear()
        now, asked = time.monotonic(), count()
        monkeypatch.setattr(_vigil, "monotonic", lambda: now if next(asked) < 1_000_000 else time.monotonic())
        call = asyncio.ensure_future(load(dispatcher, "k"))
        await asyncio.sleep(0.01)
        assert not call.done()
        proxy.open.set()
        await call
        assert next(asked) < 1_000_000


async def test_a_connection_that_ends_while_it_is_waited_for_awake(world, monkeypatch):
    """Its end is seen at once, and nothing is read of whatever has the socket's number next."""
    await world.put("k")
    monkeypatch.setattr(_vigil, "LONGEST", 30)
    async with world.proxied(retry=Retry(NoBackoff(), 0)) as (dispatcher, proxy):
        await load(dispatcher, "k")
        for _ in range(20):
            proxy.open.clear()
            call = asyncio.ensure_future(increase(dispatcher, "k"))
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            proxy.cut()
            with pytest.raises(OutcomeUnknown):
                await call
            assert time.perf_counter() - began < 10
            proxy.open.set()
            assert await load(dispatcher, "k")
