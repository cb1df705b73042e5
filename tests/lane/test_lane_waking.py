"""A reply wakes its caller as it is read, amid other replies: whatever the caller does then, none of them is lost."""

import asyncio
import time
from contextlib import AsyncExitStack
from contextvars import ContextVar

import pytest
from lane_world import COUNT, command, increase, load, opened
from redis.exceptions import ConnectionError as RedisConnectionError

from rapyer._registry import once_scripts, scripts
from rapyer._sent import Care
from rapyer._tasks import give

WHERE = ContextVar("where", default="nowhere")


async def loads(dispatcher, count, then):
    """Load that many times at once and do something with the number of each; return what became of all."""

    async def one(number):
        text = await load(dispatcher, "k")
        await then(number)
        return text

    return await asyncio.gather(*map(one, range(count)), return_exceptions=True)


async def test_a_caller_goes_on_before_anything_else_is_done(world):
    """What the loop has to do besides does not come between an answer and its caller."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        seen = []
        await load(dispatcher, "k")
        wire = dispatcher._lane._wire
        parse = wire._parse

        def parsed(data):
            asyncio.get_running_loop().call_soon(seen.append, "the loop")
            parse(data)

        async def call():
            await load(dispatcher, "k")
            seen.append("the caller")

        wire._parse = parsed
        await asyncio.create_task(call())  # where pytest's own task is one of Python's, the loop wakes that
        await asyncio.sleep(0)
        assert seen == ["the caller", "the loop"]


async def test_each_goes_on_in_its_own_context(world):
    """Context variables are the caller's own, whoever's reply was read before."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")

        async def one(number):
            WHERE.set(number)
            for _ in range(3):
                await load(dispatcher, "k")
                assert (WHERE.get(), asyncio.current_task().get_name()) == (number, f"task {number}")

        await asyncio.gather(*(asyncio.create_task(one(number), name=f"task {number}") for number in range(50)))
        assert WHERE.get() == "nowhere"


async def test_a_caller_that_cancels_the_others(world):
    """Who is cancelled by a caller that was answered first is cancelled; the connection goes on."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        tasks = []

        async def first():
            await load(dispatcher, "k")
            for task in tasks[1:]:
                task.cancel()

        tasks += [asyncio.create_task(first()), *(asyncio.create_task(load(dispatcher, "k")) for _ in range(20))]
        got = await asyncio.gather(*tasks, return_exceptions=True)
        assert got[0] is None
        assert {type(each) for each in got[1:]} <= {bytes, asyncio.CancelledError}
        assert await load(dispatcher, "k") == b'{"n":0}'


@pytest.mark.parametrize("care", [None, Care(once=True, replicas=0)], ids=["plain", "once"])
async def test_callers_of_different_groups_go_on_in_order(world, care):
    """Of groups whose answers come together, the first one's callers go on first, also where only one is left of it."""
    await world.put("k")
    for each in (scripts(), once_scripts()):
        for name in ("number.increase", "number.increase_each"):
            await world.client.script_load(each[name].source)
    async with world.dispatcher() as dispatcher:
        told = []

        async def one(amount):
            told.append(int((await dispatcher.combined(COUNT, "k", amount, care))[0]))

        await load(dispatcher, "k")
        wire = dispatcher._lane._wire
        parse, read = wire._parse, []

        def parsed(data):  # what comes in parts is handed out together
            read.append(data)
            if b"".join(read).count(b'{"n":') == 2:  # the answers to both loads
                parse(b"".join(read))

        wire._parse = parsed
        loads = [asyncio.create_task(load(dispatcher, "k"))]
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(one(1)), asyncio.create_task(one(100))]
        await asyncio.sleep(0)
        tasks.pop().cancel()
        await asyncio.sleep(0)  # they are written
        tasks += [asyncio.create_task(one(10)) for _ in range(3)]
        loads.append(asyncio.create_task(load(dispatcher, "k")))
        await asyncio.wait_for(asyncio.gather(*loads, *tasks), 5)
        assert told == [1, 11, 21, 31]


async def test_a_caller_that_closes_everything(world):
    """When a caller closes the connection as it is answered, nobody else waits for ever."""
    await world.put("k")
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")

        async def close(number):
            if number == 0:
                await dispatcher.close()

        got = await asyncio.wait_for(loads(dispatcher, 50, close), 10)
        assert got[0] == b'{"n":0}'
        assert {type(each) for each in got} <= {bytes, RedisConnectionError}


@pytest.fixture
def own_loop(stack):
    """A loop that a test runs by itself, and a dispatcher in it with a document `k`."""
    loop, resources = asyncio.new_event_loop(), AsyncExitStack()

    async def prepared():
        world = await resources.enter_async_context(opened(stack.url))
        await world.put("k")
        dispatcher = await resources.enter_async_context(world.dispatcher())
        await load(dispatcher, "k")
        return dispatcher

    try:
        yield loop, loop.run_until_complete(prepared())
        loop.run_until_complete(resources.aclose())
    finally:
        loop.close()


@pytest.mark.parametrize("operation", [load, increase])
def test_a_caller_that_ends_the_program(own_loop, operation):
    """Who leaves by SystemExit or KeyboardInterrupt takes nobody's answer along: a loop that goes on has them all.

    So it is with increments, which are sent as one.
    """
    loop, dispatcher = own_loop
    tasks = []

    async def one(error):
        got = await operation(dispatcher, "k")
        if error is not None:
            raise error
        return got

    async def begin():
        errors = (None, SystemExit(), None, KeyboardInterrupt(), None)
        tasks.extend(loop.create_task(one(error)) for error in errors)

    loop.run_until_complete(begin())
    for number, error in ((1, SystemExit), (3, KeyboardInterrupt)):
        with pytest.raises(error):
            loop.run_until_complete(asyncio.wait(tasks[number : number + 1], timeout=5))
        assert isinstance(tasks[number].exception(), error)
    got = loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks[::2]), 5))
    assert got == ([1, 3, 5] if operation is increase else [b'{"n":0}'] * 3)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_does_not_come_out_of_reading(own_loop, error):
    """A transport may keep it, or lose what it has read besides: it leaves the loop by itself, and the wire goes on."""
    loop, dispatcher = own_loop
    wire = dispatcher._lane._wire
    received, through = wire.data_received, []

    def watched(data):
        try:
            received(data)
        except BaseException as found:
            through.append(found)
            raise

    wire.data_received = watched

    async def leaving():
        await load(dispatcher, "k")
        raise error

    with pytest.raises(error):
        loop.run_until_complete(leaving())
    assert through == []
    assert loop.run_until_complete(load(dispatcher, "k")) == b'{"n":0}'
    assert dispatcher._lane._wire is wire


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_signal_amid_reading(own_loop, error):
    """Where a signal's handler ends the program while answers are read, none reaches another caller afterwards."""
    loop, dispatcher = own_loop
    lane, wire = dispatcher._lane, dispatcher._lane._wire
    reader = wire._reader

    class Interrupted:
        feed = staticmethod(reader.feed)

        @staticmethod
        def gets(decode):
            assert reader.gets(decode) == b"0"
            wire._reader = reader
            raise error

    def echoes(*texts):
        return [lane.call(command("ECHO", text), repeatable=True) for text in texts]

    async def begin():
        calls = echoes("0", "1", "2")
        wire._reader = Interrupted
        await calls[0]

    async def after():
        return await asyncio.wait_for(asyncio.gather(*echoes("3", "4", "5")), 5)

    with pytest.raises(error):
        loop.run_until_complete(begin())
    assert loop.run_until_complete(after()) == [b"3", b"4", b"5"]


def test_a_loop_that_was_closed_before_it_ended_so():
    """Where something else ends the loop first and it is closed, callers in later loops go on at once all the same."""
    loop = asyncio.new_event_loop()
    answer = loop.create_future()

    def interrupt():
        raise KeyboardInterrupt

    def answered():
        loop.call_soon(interrupt)
        give(answer, None)

    async def leaving():
        loop.call_soon(answered)
        await answer
        raise SystemExit

    task = loop.create_task(leaving())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    assert isinstance(task.exception(), SystemExit)
    loop.close()

    async def later():
        seen, later_answer = [], asyncio.get_running_loop().create_future()

        async def one():
            seen.append(await later_answer)

        task = asyncio.create_task(one())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(give, later_answer, "at once")
        asyncio.get_running_loop().call_soon(seen.append, "then")
        await task
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(later()) == ["at once", "then"]


def test_nobody_goes_on_before_the_program_ends(own_loop):
    """Those who are answered after a caller that ends the program can be cancelled before they go on, as `run` does."""
    loop, dispatcher = own_loop
    tasks, went_on = [], []

    async def one(number):
        await load(dispatcher, "k")
        went_on.append(number)
        raise SystemExit(number)

    async def begin():
        await load(dispatcher, "k")
        tasks.extend(loop.create_task(one(number)) for number in range(10))
        await asyncio.wait(tasks)

    with pytest.raises(SystemExit):
        loop.run_until_complete(begin())
    for task in tasks[len(went_on) :]:
        task.cancel()
    first, *others = loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    assert went_on == [0]
    assert (type(first), {type(each) for each in others}) == (SystemExit, {asyncio.CancelledError})


async def test_who_else_looks_at_a_call_is_told_by_the_loop(world):
    """A callback that is no task's, such as that of `gather` or `shield`, runs in a turn of its own."""
    async with world.lane() as lane:
        told = []
        call = lane.call(command("PING"), repeatable=True)
        call.add_done_callback(lambda done: told.append(done.result()))
        assert await asyncio.shield(call) == b"PONG"
        assert told == [b"PONG"]


async def test_debug_mode_names_the_task_that_is_slow(world, caplog):
    """What asyncio's debug mode tells of long steps is about the caller's task, not about the connection."""
    await world.put("k")
    loop = asyncio.get_running_loop()
    async with world.dispatcher() as dispatcher:

        async def slow():
            await load(dispatcher, "k")
            time.sleep(loop.slow_callback_duration)  # noqa: ASYNC251 - that is what is wrong

        loop.set_debug(True)
        try:
            await asyncio.create_task(slow(), name="the slow one")
        finally:
            loop.set_debug(False)
        told = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
        assert [each for each in told if each.startswith("Executing <Task") and "the slow one" in each]


async def test_given_to_nobody():
    """A result may be given before anybody waits for it, or to several who wait."""
    loop = asyncio.get_running_loop()
    early, shared = loop.create_future(), loop.create_future()

    async def wait():
        return await shared

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    loop.call_soon(give, early, 1)
    loop.call_soon(give, shared, 2)
    assert (await early, await asyncio.gather(*tasks)) == (1, [2, 2, 2])
