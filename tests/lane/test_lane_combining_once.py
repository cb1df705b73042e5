"""Combining with care: increments that run exactly once, or wait for replicas, are one call, repeated as a whole."""

import asyncio

import pytest
from fault_proxy import Fault
from lane_world import load, opened, until
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, NoBackoff
from test_lane_combining import ONCE, TOP, add, calls, gathered

import redis_stack
from rapyer._dispatch import Care
from rapyer._registry import once_scripts, scripts
from rapyer._sent import _Again
from rapyer.errors import NotReplicated, OutcomeUnknown, OutOfRange

ON_A_REPLICA = Care(once=True, replicas=1)


async def prepared(world, text='{"n":0}'):
    """Store a document, and load the scripts that run once."""
    await world.put("k", text)
    for name in ("number.increase", "number.increase_each"):
        await world.client.script_load(once_scripts()[name].source)


async def lose_next_answer(dispatcher, proxy, action="reset"):
    """Let the connection end with the answer after the next call's, which has to be the same read as this one."""
    passage = proxy.connections[-1]
    before = passage.passed("down")
    await load(dispatcher, "k")
    now = passage.passed("down")
    passage.fault = Fault("down", 2 * now - before, action)
    return passage


async def counted(world):
    """Wait until the number is no longer 0."""
    for _ in range(1000):
        if await world.number("k"):
            break
        await asyncio.sleep(0.005)


async def records(world):
    """Return how many answers are kept, by record."""
    return [await world.client.hlen(key) async for key in world.client.scan_iter("rapyer:*once*")]


async def writes(world):
    """Return how many scripts wrote the document."""
    stats = await world.client.info("commandstats")
    return sum(stats.get(name, {"calls": 0})["calls"] for name in ("cmdstat_json.set", "cmdstat_JSON.SET"))


async def test_one_place_for_all(world):
    """However many callers share a call, the record keeps one answer for it, and the next ones use the same place."""
    await prepared(world)
    async with world.dispatcher() as dispatcher:
        for turn in range(3):
            assert await gathered(dispatcher, *[1] * 50, care=ONCE) == list(range(50 * turn + 1, 50 * turn + 51))
    kept = await records(world)
    assert set(kept) == {1}
    assert len(kept) <= 2  # a new minute may have begun


async def test_a_lost_answer_is_asked_for_again(world):
    """When the answer of a group is lost, the group is repeated, runs once, and each caller gets its first answer."""
    await prepared(world, f'{{"n":{TOP - 3}}}')
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        passage = await lose_next_answer(dispatcher, proxy)
        await world.client.config_resetstat()
        got = await gathered(dispatcher, 1, 9, 2, -TOP, care=ONCE)
    assert passage.struck
    assert [got[0], *got[2:]] == [TOP - 2, TOP, 0]
    assert isinstance(got[1], OutOfRange)
    assert await world.number("k") == 0
    assert await calls(world) == 3
    assert await writes(world) == 1


async def test_who_gives_up_later_was_counted(world):
    """Who is cancelled after the write changes nothing for the others, also when their answers are asked for again."""
    await prepared(world)
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        await lose_next_answer(dispatcher, proxy, "swallow")
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(add(dispatcher, amount, care=ONCE)) for amount in (1, 10, 100)]
        await first
        await counted(world)
        tasks[1].cancel()
        await asyncio.sleep(0)
        proxy.cut()
        got = await asyncio.gather(*tasks, return_exceptions=True)
    assert (got[0], got[2]) == (1, 111)
    assert isinstance(got[1], asyncio.CancelledError)
    assert await world.number("k") == 111


@pytest.mark.parametrize(("gone", "sums"), [({0, 1, 2}, {}), ({1}, {0: 1, 2: 101}), ({0, 2}, {1: 10})])
async def test_who_gives_up_while_nothing_ran_takes_no_part(world, monkeypatch, gone, sums):
    """A group that did not run goes on without those who gave up meanwhile; when all did, it does not go on."""
    await world.put("k")
    await world.client.script_flush()
    await world.client.script_load(scripts()["document.load"].source)
    async with world.dispatcher() as dispatcher:
        missing, gate, plain = asyncio.Event(), asyncio.Event(), dispatcher._load

        async def gated(*arguments, **options):
            missing.set()
            await gate.wait()
            await plain(*arguments, **options)

        await load(dispatcher, "k")
        monkeypatch.setattr(dispatcher, "_load", gated)
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(add(dispatcher, amount, care=ONCE)) for amount in (1, 10, 100)]
        await first
        await asyncio.wait_for(missing.wait(), 5)
        for number in gone:
            tasks[number].cancel()
        await asyncio.sleep(0.01)
        gate.set()
        got = await asyncio.gather(*tasks, return_exceptions=True)
        assert {number: got[number] for number in sums} == sums
        assert await world.number("k") == max(sums.values(), default=0)


async def test_who_gives_up_while_there_is_no_connection_takes_no_part(world):
    """What was never sent is made when it is written, also when it goes on: who gives up before that is left out."""
    await prepared(world)
    async with world.proxied(retry=Retry(ConstantBackoff(0.01), 3)) as (dispatcher, proxy):
        await load(dispatcher, "k")
        lane, upstream = dispatcher._lane, proxy._upstream

        async def gone():
            raise OSError

        proxy._upstream = gone
        proxy.cut()
        await until(lambda: lane._wire is None)
        tasks = [asyncio.create_task(add(dispatcher, amount, care=ONCE)) for amount in (1, 10, 100)]
        await until(lambda: any(type(call) is _Again for call in lane._waiting), pause=0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        proxy._upstream = upstream
        got = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert (got[0], got[2]) == (1, 101)
    assert await world.number("k") == 101


async def test_a_redis_that_stays_away(world):
    """When the time is used up, each caller gets an error of its own: that it may have run."""
    await prepared(world)
    retry = Retry(ConstantBackoff(0.01), 2)
    async with world.proxied(retry=retry, socket_timeout=0.3) as (dispatcher, proxy):
        await load(dispatcher, "k")
        await lose_next_answer(dispatcher, proxy)
        proxy.faults += [Fault("down", 0, "reset")] * 1000
        got = await gathered(dispatcher, 1, 1, 1, care=ONCE)
    assert {type(each) for each in got} == {OutcomeUnknown}
    assert len({id(each) for each in got}) == 3
    assert await world.number("k") == 3


async def test_a_program_that_ends(world):
    """A group that waits for its answer when the connection is closed for good is unknown to each of its callers."""
    await prepared(world)
    async with world.proxied() as (dispatcher, proxy):
        await load(dispatcher, "k")
        proxy.open.clear()
        tasks = [asyncio.create_task(add(dispatcher, 1, care=ONCE)) for _ in range(5)]
        await asyncio.sleep(0.01)
        await dispatcher.close()
        got = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 1)
        assert {type(each) for each in got} == {OutcomeUnknown}
        assert not {**dispatcher._groups.shared, **dispatcher._groups.single}
        proxy.open.set()


async def test_callers_with_different_care_do_not_mix(world):
    """Who asks for more or less care than the one before goes in a call of its own, in order."""
    await prepared(world)
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        await world.client.config_resetstat()
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        cares = [None, ONCE, ONCE, None, None, Care(once=False, replicas=0), ONCE]
        got = await asyncio.gather(*(add(dispatcher, 1, care=care) for care in cares))
        await first
    assert got == [1, 2, 3, 4, 5, 6, 7]
    assert await calls(world) == 6


async def test_calls_with_locks_stay_alone(world):
    """What is checked against a lock is no part of a group."""
    await prepared(world)
    async with world.dispatcher() as dispatcher:
        await load(dispatcher, "k")
        first = asyncio.create_task(load(dispatcher, "k"))
        await asyncio.sleep(0)
        locked = dispatcher.script("number.increase", ("k", "lock"), ("", "0", "$.n", "1"), "$.n", ONCE)
        assert not {**dispatcher._groups.shared, **dispatcher._groups.single}
        await first
        assert (await locked)[0] == b"1"


async def test_a_group_that_no_replica_has():
    """A group is done when replicas have it; whoever gave up meanwhile was counted, and the rest get what they got."""
    with redis_stack.start(private=True) as server, redis_stack.start(private=True) as other:
        retry = Retry(NoBackoff(), 30)
        async with (
            opened(server.url) as world,
            world.dispatcher(retry=retry) as dispatcher,
            opened(other.url) as replica,
        ):
            await prepared(world)
            tasks = [asyncio.create_task(add(dispatcher, amount, care=ON_A_REPLICA)) for amount in (1, 10, 100)]
            await counted(world)
            tasks[1].cancel()
            await asyncio.sleep(1.5)  # more than they have to acknowledge
            assert not tasks[0].done()
            assert await world.number("k") == 111
            await replica.client.replicaof("127.0.0.1", str(server.port))
            got = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
            assert (got[0], got[2]) == (1, 111)
            assert await replica.number("k") == 111


async def test_too_few_replicas_are_told_to_each():
    """Each caller of a group that replicas do not have in time gets an error of its own, with the key."""
    with redis_stack.start(private=True) as server:
        async with opened(server.url) as world, world.dispatcher() as dispatcher:
            await world.put("k")
            many = (add(dispatcher, 1, care=Care(once=False, replicas=1)) for _ in range(3))
            got = await asyncio.gather(*many, return_exceptions=True)
            assert [(type(each), each.key) for each in got] == [(NotReplicated, "k")] * 3
            assert len({id(each) for each in got}) == 3
            assert await world.number("k") == 3
