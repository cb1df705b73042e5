"""Waiting for a lock: in order, with one call a section, without polling, and gone without a trace."""

import asyncio
import random
import time
from contextlib import suppress

import pytest
from lock_waiters import counted, enter, queued, start, until
from lock_worker import Doc

import rapyer
from rapyer import _census, _keys, _lock, _wake
from rapyer._group import TURNS
from rapyer._registry import scripts
from rapyer.errors import KeyNotFound, LockLost, LockTimeout, PathNotFound


async def test_order_while_the_subscription_is_made(clean, doc):
    """Who comes at the very moment when waking becomes possible does not pass those who waited for that."""
    entered = []

    async def wait(number):
        # With a lease of its own each has a ticket of its own.
        async with Doc.lock_from_key(doc.key, lease=30 + number / 1000):
            entered.append(number)

    for _ in range(20):
        await rapyer.teardown_rapyer()
        await rapyer.init_rapyer(clean)
        entered.clear()
        async with doc.lock():
            tasks = []
            for number in range(100):
                tasks.append(asyncio.create_task(wait(number)))
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert entered == list(range(100))


@pytest.mark.parametrize("waiters", [200])
async def test_order_in_one_process(clean, doc, waiters):
    """Two hundred waiters enter in the order they came."""
    entered = []

    async def wait(number):
        async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
            entered.append(number)
            mine.n = mine.n + 1

    async with doc.lock():
        tasks = []
        for number in range(waiters):
            tasks.append(asyncio.create_task(wait(number)))
            if random.random() < 0.1:
                await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    assert entered == list(range(waiters))
    assert (await doc.load()).n == waiters


@pytest.mark.parametrize("seed", range(3))
async def test_order_with_cancelled_waiters(clean, doc, other, seed):
    """A third leaves at any moment, some from the head of their group: the others of each process keep their order."""
    rng = random.Random(seed)
    entered = {Doc: [], other: []}

    async def wait(cls, number):
        async with cls.lock_from_key(doc.key, save_at_end=True) as mine:
            entered[cls].append(number)
            mine.n = mine.n + 1
            await asyncio.sleep(0)

    async with doc.lock():
        tasks = []
        for number in range(120):
            tasks.append(asyncio.create_task(wait(rng.choice([Doc, other]), number)))
            if rng.random() < 0.1:
                await asyncio.sleep(0.002)
            if rng.random() < 0.2:
                tasks[rng.randrange(len(tasks))].cancel()
    for task in rng.sample(tasks, 30):
        task.cancel()
        await asyncio.sleep(rng.random() * 0.002)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {type(None), asyncio.CancelledError}
    for numbers in entered.values():
        assert numbers == sorted(numbers)
    assert sum(outcome is None for outcome in outcomes) <= (await doc.load()).n <= sum(map(len, entered.values()))


async def test_one_call_for_each_section(clean, doc, calls, monkeypatch):
    """Handing the lock to a waiter of the same process, with load and save, is one call; a ticket serves a group."""
    monkeypatch.setattr(_census, "AFTER", 60)  # notes are calls, too
    sections = 10 * TURNS

    async def work():
        async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
            mine.n = mine.n + 1

    async with doc.lock():
        tasks = [asyncio.create_task(work()) for _ in range(sections)]
        await queued(clean, doc, 10)
        await calls()
    await asyncio.gather(*tasks)
    assert await calls() == 1 + sections
    assert (await doc.load()).n == sections


async def test_a_woken_waiter_enters_without_a_call(clean, doc, other, calls, monkeypatch):
    """The release of one process is the only call until another one's body runs, with the document as it is."""
    monkeypatch.setattr(_census, "AFTER", 60)  # notes are calls, too
    inside, leave = asyncio.Event(), asyncio.Event()

    async def wait():
        async with other.lock_from_key(doc.key) as mine:
            inside.set()
            await leave.wait()
            return mine.n

    async with doc.lock(save_at_end=True):
        task = asyncio.create_task(wait())
        await queued(clean, doc)
        await calls()
        doc.n = 5
    await inside.wait()
    assert await calls() == 1
    leave.set()
    assert await task == 5


async def test_nobody_polls(clean, doc, other, calls):
    """While the lock is held nothing is sent by those who wait, in any process, once they are counted."""
    async with doc.lock():
        tasks = start(Doc, doc, 20) + start(other, doc, 20)
        await counted(clean, doc, 40)
        await calls()
        await asyncio.sleep(_census.AFTER + 0.5)
        assert await calls() == 0
    await asyncio.gather(*tasks)


async def test_turns_are_bounded(clean, doc, other):
    """A process whose waiters never end gives way to another one's ticket after those that were there before it."""
    stop, sections = False, 0

    async def work():
        nonlocal sections
        while not stop:
            async with Doc.lock_from_key(doc.key):
                sections += 1

    async def wait():
        async with other.lock_from_key(doc.key):
            return sections

    async def has_a_ticket():
        tickets = await clean.lrange(_keys.queue_key(doc.key, "default"), 0, -1)
        return waiting.done() or any(station in ticket for ticket in tickets)

    station = _station_of(other)
    tasks = [asyncio.create_task(work()) for _ in range(2 * TURNS)]
    for _ in range(5):
        waiting = asyncio.create_task(wait())
        await until(has_a_ticket, wanted=True)
        before = sections
        # Who works, and who stood in line: two groups, and one more that began meanwhile.
        assert await waiting - before <= 3 * TURNS
    stop = True
    await asyncio.gather(*tasks)


def _station_of(cls):
    return _lock.queues(cls.Meta.redis)._station.encode()


# -- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_timeout_leaves_nothing(clean, doc, other, foreign):
    """The ticket is taken out before the error is seen; those who go on waiting are served."""
    async with doc.lock():
        first = start(other, doc)  # its process can be woken from now on
        await queued(clean, doc)
    await asyncio.gather(*first)
    async with doc.lock():
        task = asyncio.create_task(enter(other if foreign else Doc, doc.key, timeout=2 if foreign else 0.5))
        await queued(clean, doc, 0 if not foreign else 1)
        with pytest.raises(LockTimeout):
            await task
        assert await clean.keys("rapyer:*queue*") == []
        goes_on = start(other, doc)
        await queued(clean, doc)
    await asyncio.gather(*goes_on)


async def test_timeout_zero_does_not_wait(clean, doc):
    """Not behind waiters of its own process either; and a free lock is taken."""
    async with doc.lock():
        tasks = start(Doc, doc, 3)
        await asyncio.sleep(0.05)
        with pytest.raises(LockTimeout):
            await asyncio.create_task(enter(Doc, doc.key, timeout=0))
    await asyncio.gather(*tasks)
    await enter(Doc, doc.key, timeout=0)


async def test_the_turn_of_one_whose_time_was_up(clean, doc):
    """While the server is slow a waiter gives up: its turn is the next one's, whose lock is renewed like any other."""
    await clean.execute_command("CLIENT", "PAUSE", "1000", "ALL")

    async def hold():
        async with Doc.lock_from_key(doc.key, lease=1, save_at_end=True) as mine:
            await asyncio.sleep(3)
            mine.n = 1

    first = asyncio.create_task(enter(Doc, doc.key, timeout=0.05, lease=1))
    second = asyncio.create_task(hold())
    with pytest.raises(LockTimeout):
        await first
    await second
    assert (await doc.load()).n == 1


async def test_nonsense_on_the_channel(clean, doc):
    """Messages that nobody of this package sent change nothing."""
    async with doc.lock():
        tasks = start(Doc, doc, 20)
        await queued(clean, doc, 2)
        [channel] = await clean.execute_command("PUBSUB", "SHARDCHANNELS")
        for message in (b"", b"\n", b"\xff\n\n", b"a\nb\nc", b"x" * 100_000):
            await clean.execute_command("SPUBLISH", channel, message)
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_cancelled_while_waiting_at_any_moment(clean, doc, other, foreign, turns):
    """After any number of turns of the loop: once the cancelled task is done there is no ticket, and no lock later."""
    cls = other if foreign else Doc
    async with doc.lock():
        [task] = start(cls, doc)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await clean.keys("rapyer:*queue*") == []
    assert await clean.keys("rapyer:*") == []


@pytest.mark.parametrize("seed", range(8))
async def test_cancelled_while_the_lock_is_on_its_way(clean, doc, other, seed):
    """Cancelling around the moment the lock is handed over leaves no lock, and all others get their turn."""
    rng = random.Random(seed)
    for _ in range(6):
        tasks = [task for _ in range(6) for task in start(rng.choice([Doc, other]), doc, 2, save_at_end=True)]
        cancelled = rng.sample(tasks, 6)
        for task in cancelled:
            await asyncio.sleep(rng.random() * 0.002)
            task.cancel()
        done, late = await asyncio.wait(tasks, timeout=5)
        assert late == set()
        assert {type(task.exception()) for task in done if not task.cancelled()} == {type(None)}
        assert await clean.keys("rapyer:*") == []


async def test_the_body_fails_while_others_wait(clean, doc, other):
    """The lock goes on to the next at once."""
    tasks = []

    async def block():
        async with doc.lock(save_at_end=True):
            tasks.extend(start(Doc, doc, 2) + start(other, doc, 2))
            await queued(clean, doc)
            doc.n = 5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()
    assert [mine.n for mine in await asyncio.wait_for(asyncio.gather(*tasks), 2)] == [0] * 4


async def test_the_save_fails_while_others_wait(clean, doc, other):
    """The error comes through, nothing is written, and the lock goes on to the next at once."""
    tasks = []

    async def block():
        async with doc.lock(save_at_end=True):
            tasks.extend(start(Doc, doc, 2) + start(other, doc, 2))
            await queued(clean, doc)
            doc.n = 5
            doc.inner.x = 5
            await clean.execute_command("JSON.DEL", doc.key, "$.inner")

    with pytest.raises(PathNotFound):
        await block()
    assert [mine.n for mine in await asyncio.wait_for(asyncio.gather(*tasks), 2)] == [0] * 4


async def test_the_document_goes_while_others_wait(clean, doc, other):
    """All of them get KeyNotFound at once, and nothing is left."""
    tasks = []
    with suppress(KeyNotFound):
        async with doc.lock(save_at_end=True):
            tasks = start(Doc, doc, 10) + start(other, doc, 10)
            await queued(clean, doc, 3)
            await doc.delete()
            doc.n = 1
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 2)
    assert {type(result) for result in results} == {KeyNotFound}
    assert len(set(map(id, results))) == 20


async def test_a_large_document_is_handed_over(clean, doc, other):
    """Larger than what goes through the subscription."""
    async with doc.lock(save_at_end=True):
        [task] = start(other, doc)
        await queued(clean, doc)
        doc.s = "x" * (1 << 21)
    assert len((await task).s) == 1 << 21


async def test_different_terms_do_not_share_a_ticket(clean, doc):
    """Waiters with another lease have their own: a lock is held with the lease it was asked for."""
    key = _keys.lock_key(doc.key, "default")
    left = []

    async def wait(lease):
        async with Doc.lock_from_key(doc.key, lease=lease):
            left.append((lease, await clean.pttl(key) / 1000))

    async with doc.lock():
        tasks = [asyncio.create_task(wait(lease)) for lease in (5, 50, 5, 500)]
        await queued(clean, doc, 4)
    await asyncio.gather(*tasks)
    assert [lease for lease, _ in left] == [5, 50, 5, 500]
    assert all(0.9 * lease < rest <= lease for lease, rest in left)


async def test_waiting_for_a_lease_without_end(clean, doc):
    """The longest leases there are change nothing about waiting."""
    async with doc.lock(lease=9e13):
        tasks = start(Doc, doc, 2, lease=8e13)
        await queued(clean, doc)
        with pytest.raises(LockTimeout):
            await asyncio.create_task(enter(Doc, doc.key, timeout=0.1))
    await asyncio.gather(*tasks)


# -- what gets lost --------------------------------------------------------------------------------------------------


async def test_a_lost_message(clean, doc, other):
    """A waiter that was given the lock and never told finds out when the lease that it knew of ends."""
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold():
        async with doc.lock(lease=3):
            inside.set()
            await leave.wait()

    holder = asyncio.create_task(hold())
    await inside.wait()
    asked = time.monotonic()
    [task] = start(other, doc, lease=5)
    await queued(clean, doc)
    keys = [doc.key, _keys.lock_key(doc.key, "default"), _keys.queue_key(doc.key, "default")]
    [ticket] = await clean.lrange(keys[2], 0, -1)
    token, channel = await clean.hget(keys[1], "owner"), ticket.split(b"\n")[1]
    # Who gives this channel as its own is told in the answer: here that is not the waiter.
    sha = scripts()["lock.release"].sha
    _, (given, _, _) = await clean.evalsha(sha, 3, *keys, token, "", "", channel)
    assert ticket.startswith(given)
    await task
    assert 1.5 < time.monotonic() - asked < 6
    with pytest.raises(LockLost):
        await holder


@pytest.mark.parametrize("others_first", [False, True])
async def test_a_lost_subscription(clean, doc, other, others_first):
    """When the connection that wakes is cut, it is opened again and everybody who waits asks at once."""
    async with doc.lock():
        tasks = start(other, doc, 12) if others_first else start(Doc, doc, 12)
        await queued(clean, doc, 2 if others_first else 1)
        await clean.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    began = time.monotonic()
    await asyncio.gather(*tasks)
    assert time.monotonic() - began < 10


async def test_the_subscription_is_cut_again_and_again(clean, doc, other):
    """Nobody hangs, nobody is in twice, and nothing is lost."""
    inside, going_on = 0, asyncio.Event()

    async def work(cls):
        nonlocal inside
        for _ in range(10):
            async with cls.lock_from_key(doc.key, save_at_end=True) as mine:
                inside += 1
                assert inside == 1
                mine.n = mine.n + 1
                await asyncio.sleep(0.001)
                inside -= 1
            going_on.set()

    async def cut():
        while True:
            await going_on.wait()  # on a busy machine a pause alone would be shorter than connecting takes
            going_on.clear()
            await asyncio.sleep(0.02)
            await clean.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    cutting = asyncio.create_task(cut())
    await asyncio.gather(*(work(cls) for cls in (Doc, other) for _ in range(10)))
    cutting.cancel()
    assert (await doc.load()).n == 200


async def test_the_subscription_goes_with_the_last_waiter(clean, doc, monkeypatch):
    """It is opened for waiters, closed when there were none for a while, and opened again."""
    monkeypatch.setattr(_wake, "IDLE", 0.1)

    async def channels():
        return len(await clean.execute_command("PUBSUB", "SHARDCHANNELS"))

    await enter(Doc, doc.key)
    assert await channels() == 0
    for _ in range(2):
        async with doc.lock():
            tasks = start(Doc, doc, 2 * TURNS)
            await queued(clean, doc, 2)
            await asyncio.sleep(0.3)
            assert await channels() == 1
        await asyncio.gather(*tasks)
        await until(channels, 0)


async def test_waiters_that_come_while_the_subscription_goes(clean, doc, monkeypatch):
    """Whoever comes at that very moment is served as ever."""
    monkeypatch.setattr(_wake, "IDLE", 0.003)
    for _ in range(100):
        async with doc.lock():
            tasks = start(Doc, doc, TURNS)
            await asyncio.sleep(random.random() * 0.004)
        await asyncio.gather(*tasks)
        await asyncio.sleep(random.random() * 0.008)
