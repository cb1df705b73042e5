"""Loops, threads, forks and clients that come and go: each has connections of its own, and nothing is left open."""

import asyncio
import gc
import multiprocessing
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from lane_world import World, increase, load, opened, until
from redis.asyncio import Redis

from rapyer import _loops
from rapyer._loops import close_all, dispatcher
from rapyer.errors import OutcomeUnknown

FORKING = Path(__file__).with_name("forking.py")


async def prepare(url):
    """Empty the database and store a counter."""
    async with opened(url) as world:
        await world.put("k")


async def count(url):
    """Return the server's connections, this one left out."""
    async with Redis.from_url(url) as client:
        return await World(url, client).connections()


def run_and_leave(main):
    """Run in a loop that is closed without a word: no task is cancelled, nothing is shut down."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@pytest.mark.parametrize("run", [asyncio.run, run_and_leave])
def test_loops_left_without_teardown(stack, run):
    """Loop after loop with one client: each has a connection of its own, and none is left of those that ended."""
    asyncio.run(prepare(stack.url))
    before = asyncio.run(count(stack.url))
    client = Redis.from_url(stack.url)

    async def work():
        return await increase(dispatcher(client), "k")

    assert [run(work()) for _ in range(10)] == list(range(1, 11))
    assert len(_loops._dispatchers[id(client)]) == 1
    assert asyncio.run(count(stack.url)) <= before + 1
    client = None
    gc.collect()  # a transport that was left open would warn here
    assert asyncio.run(count(stack.url)) == before


def test_loops_that_take_turns(stack):
    """Whichever loop runs, a client's calls go by its own connection, also after its connections were closed."""
    asyncio.run(prepare(stack.url))
    client = Redis.from_url(stack.url)
    loops = [asyncio.new_event_loop() for _ in range(2)]

    async def work():
        caller = dispatcher(client)
        assert caller is dispatcher(client)
        await increase(caller, "k")
        return caller

    async def begin_anew():
        before = await work()
        await close_all()
        assert await work() is not before

    try:
        first, second, again = (loop.run_until_complete(work()) for loop in (*loops, loops[0]))
        assert first is again is not second
        loops[1].run_until_complete(begin_anew())
        assert loops[0].run_until_complete(work()) is first
    finally:
        for loop in loops:
            loop.run_until_complete(close_all())
            loop.close()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="a thread has one running task then, whatever loops it runs")
def test_loops_inside_each_other(stack):
    """A loop that runs while another one of its thread does, as nest_asyncio has it, has calls of its own."""

    class Nesting(asyncio.SelectorEventLoop):
        def run_forever(self):
            around = asyncio._get_running_loop()
            try:
                super().run_forever()
            finally:
                asyncio._set_running_loop(around)

        def _check_running(self):
            """Let it run."""

    asyncio.run(prepare(stack.url))
    client = Redis.from_url(stack.url)

    async def work(inside=None):
        caller = dispatcher(client)
        before = await increase(caller, "k")
        assert dispatcher(client) is caller
        if inside is not None:
            assert inside.run_until_complete(work()) == before + 1
        assert dispatcher(client) is caller
        await close_all()
        return before

    loops = [Nesting() for _ in range(2)]
    assert loops[0].run_until_complete(work(loops[1])) == 1
    for loop in loops:
        loop.close()


def test_loop_left_with_calls_under_way(stack):
    """A loop that ends with callers waiting leaves neither a message nor a warning, and the next one works."""
    asyncio.run(prepare(stack.url))
    client = Redis.from_url(stack.url)

    async def leave():
        caller = dispatcher(client)
        await load(caller, "k")
        tasks = [asyncio.create_task(increase(caller, "k")) for _ in range(100)]
        await asyncio.sleep(0)
        return len(tasks)

    async def work():
        return await increase(dispatcher(client), "k")

    assert asyncio.run(leave()) == 100
    assert 1 <= asyncio.run(work()) <= 101
    client = None
    gc.collect()


async def test_client_that_is_gone(world):
    """A client that nobody has any more takes its connection with it, without a teardown."""
    await world.put("k")
    before = await world.connections()
    client = Redis.from_url(world.url)
    assert await increase(dispatcher(client), "k") == 1
    assert await world.connections() == before + 1
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    assert await comes_down_to(world, before)


async def comes_down_to(world, connections):
    """Whether so many connections are left soon."""
    for _ in range(50):
        await asyncio.sleep(0.01)
        if await world.connections() == connections:
            return True
    return False


@pytest.mark.parametrize("state", ["connected", "connecting", "scripts flushed"])
async def test_calls_of_a_client_that_is_gone(world, state):
    """Calls that are on their way when their client goes end well; then its connection is closed."""
    await world.put("k")
    before = await world.connections()
    async with FaultProxy(world.url) as proxy:
        client = Redis.from_url(proxy.url)
        if state != "connecting":
            await load(dispatcher(client), "k")
        if state == "scripts flushed":
            await world.client.script_flush()
        proxy.open.clear()
        calls = [asyncio.ensure_future(increase(dispatcher(client), "k")) for _ in range(3)]
        calls += [asyncio.ensure_future(load(dispatcher(client), "k"))]
        await asyncio.sleep(0.02)
        gone = weakref.ref(client)
        del client
        gc.collect()
        assert gone() is None
        await asyncio.sleep(0.02)
        proxy.open.set()
        *sums, text = await asyncio.wait_for(asyncio.gather(*calls), 5)
        assert sums == [1, 2, 3]
        assert text
        del calls
        assert await comes_down_to(world, before)


async def test_closing_what_a_client_left(world):
    """A teardown ends the calls of a client that is gone, too."""
    await world.put("k")
    async with FaultProxy(world.url) as proxy:
        client = Redis.from_url(proxy.url)
        await load(dispatcher(client), "k")
        proxy.open.clear()
        call = asyncio.ensure_future(increase(dispatcher(client), "k"))
        await asyncio.sleep(0.02)
        del client
        gc.collect()
        await asyncio.sleep(0.02)
        assert not call.done()
        await close_all()
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(call, 1)
        proxy.open.set()


def test_a_loop_that_ends_its_generators(stack):
    """Ending a loop's async generators disturbs no connection that is being made: if it fails there is another."""
    loop = asyncio.new_event_loop()

    async def connecting():
        proxy = await FaultProxy(stack.url).__aenter__()
        proxy.open.clear()
        client = Redis.from_url(proxy.url)
        call = asyncio.ensure_future(dispatcher(client).command("PING"))
        await until(lambda: proxy.connections)
        return proxy, client, call

    async def going_on(proxy, client, call):
        proxy.cut()
        proxy.open.set()
        assert await asyncio.wait_for(call, 5) == b"PONG"
        assert len(proxy.connections) > 1
        await close_all()
        await client.aclose()
        await proxy.__aexit__()

    begun = loop.run_until_complete(connecting())
    loop.run_until_complete(loop.shutdown_asyncgens())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, of the generator that ends a lane with its loop
        loop.run_until_complete(going_on(*begun))
    loop.close()


async def test_close_all_twice(world):
    """Closing is idempotent, and a call after it opens a connection again."""
    await world.put("k")
    client = Redis.from_url(world.url)
    for i in range(1, 4):
        assert await increase(dispatcher(client), "k") == i
        await close_all()
        await close_all()
    await client.aclose()


def test_threads(stack):
    """Loops in many threads share a client at the same time; each has its own connection, nothing is lost."""
    asyncio.run(prepare(stack.url))
    client = Redis.from_url(stack.url)
    barrier = threading.Barrier(8)
    callers, errors = set(), []

    async def work():
        callers.add(dispatcher(client))
        await asyncio.gather(*(increase(dispatcher(client), "k") for _ in range(200)))

    def run():
        try:
            barrier.wait()
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def total():
        return await increase(dispatcher(client), "k")

    assert errors == []
    assert len(callers) == 8
    assert asyncio.run(total()) == 1601
    client = callers = None
    gc.collect()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the platform has no fork")
@pytest.mark.parametrize("way", ["fork", "multiprocessing", "between"])
def test_fork(stack, way):
    """Children forked in the middle of calls open connections of their own; the parent's goes on undisturbed.

    Also when a child collects its garbage, and when it ends as Python programs end.
    """
    asyncio.run(prepare(stack.url))
    # A child that finalizes the parent's loop is warned about that loop.
    warnings = "ignore" if way == "between" else "error"
    done = subprocess.run(
        [sys.executable, "-W", warnings, str(FORKING), way, stack.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout.split()[-1:]) == (0, "", ["600"])
