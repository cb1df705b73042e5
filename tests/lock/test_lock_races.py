"""Waiters that come, leave and are served at the same moment: nobody hangs, nobody is passed, no turn is lost."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from lock_waiters import enter, queued, start, until
from lock_worker import Doc

import rapyer
from rapyer import _keys, _lock
from rapyer._registry import scripts
from rapyer.errors import KeyNotFound, LockLost, LockTimeout


async def test_who_comes_when_the_others_fail(clean, doc, other):
    """Waiters whose document is gone get KeyNotFound; one who comes before they have left does not share their fate."""
    holder = other.lock_from_key(doc.key)
    await holder.__aenter__()
    [failing] = start(Doc, doc)
    await queued(clean, doc)
    await doc.delete()
    [group] = _lock.queues(clean)._groups[_keys.lock_key(doc.key, "default")]
    turn = group.waiters[0].turn

    async def come():
        while not turn.done():  # noqa: ASYNC110 - the very turn of the loop counts
            await asyncio.sleep(0)
        return await enter(Doc, doc.key, timeout=5)

    coming = asyncio.create_task(come())
    await holder.__aexit__(None, None, None)
    for task in (failing, coming):
        with pytest.raises(KeyNotFound):
            await task


async def test_documents_that_come_and_go(clean, other):
    """Stored, locked and deleted by two processes at once: everybody gets the lock or KeyNotFound."""
    end = time.monotonic() + 2

    async def work(cls, number):
        while time.monotonic() < end:
            made = cls()
            object.__setattr__(made, "_own_pk", str(number))
            await made.save()
            try:
                async with cls.lock_from_key(made.key) as mine:
                    await asyncio.sleep(0)
                    await mine.delete()
            except KeyNotFound:
                pass

    tasks = [work(cls, number) for _ in range(3) for number in range(20) for cls in (Doc, other)]
    await asyncio.wait_for(asyncio.gather(*tasks), 20)


@pytest.mark.parametrize("_again", range(3))
async def test_a_turn_that_comes_when_the_time_is_up(clean, doc, other, _again):
    """Who joins then has the lock at once: the turn of those who are leaving is passed on, not dropped."""
    loop = asyncio.get_running_loop()
    inside, leave = asyncio.Event(), asyncio.Event()

    async def hold():
        async with other.lock_from_key(doc.key, lease=8):
            inside.set()
            await leave.wait()

    holder = asyncio.create_task(hold())
    await inside.wait()
    began = loop.time()
    [leaves] = start(Doc, doc, timeout=0.5)
    await queued(clean, doc)

    async def come():
        await asyncio.sleep(began + 0.4995 - loop.time())
        return await enter(Doc, doc.key)

    comes = asyncio.create_task(come())
    await asyncio.sleep(began + 0.3 - loop.time())
    leave.set()
    await asyncio.sleep(0)  # the release is written
    time.sleep(0.4)  # noqa: ASYNC251 - a busy turn of the loop: the message and both timers come in the next one
    left = time.monotonic()
    with suppress(LockTimeout):
        await leaves
    await holder
    await comes
    assert time.monotonic() - left < 4


async def test_order_when_the_first_of_all_is_cancelled(clean, doc):
    """The one that asked for its group leaves before the answer: the others keep their order."""
    for _ in range(10):
        await rapyer.teardown_rapyer()
        await rapyer.init_rapyer(clean)
        await clean.hset(_keys.lock_key(doc.key, "default"), "owner", "another")
        await clean.pexpire(_keys.lock_key(doc.key, "default"), 300)
        order = []

        async def wait(number, order=order):
            async with Doc.lock_from_key(doc.key):
                order.append(number)

        tasks = [asyncio.create_task(wait(number)) for number in range(12)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == sorted(order)


# -- a lock that is given twice to one who asked once -----------------------------------------------------------------


def keys_of(doc):
    """Return the keys that the scripts of `lock/` take."""
    return [doc.key, _keys.lock_key(doc.key, "default"), _keys.queue_key(doc.key, "default")]


@pytest.mark.parametrize("end", ["save", "leave", "write", "renewal"])
async def test_asking_that_comes_late(clean, doc, other, end):
    """The lock is given anew to a token whose lease had ended: its old section can neither write nor renew nor save."""
    keys = keys_of(doc)
    go_on, entered = asyncio.Event(), asyncio.Event()

    async def section():
        async with doc.lock(save_at_end=end == "save", lease=0.6 if end == "renewal" else 30):
            entered.set()
            await go_on.wait()
            if end == "write":
                await doc.aupdate(n=1)
            doc.n += 1

    task = asyncio.create_task(section())
    await entered.wait()
    token, fence = await clean.hmget(keys[1], "owner", "fence")
    await clean.delete(keys[1])  # its lease ends
    async with other.lock_from_key(doc.key, save_at_end=True, timeout=0) as mine:
        mine.n += 100
    # A connection that was lost sends the asking again.
    arguments = (token, "30000", "", "", "rapyer:wake:x", "")
    _, (_, anew, _) = await clean.evalsha(scripts()["lock.acquire"].sha, 3, *keys, *arguments)
    assert int(anew) > int(fence)
    if end != "renewal":
        go_on.set()
    with pytest.raises(LockLost):
        await asyncio.wait_for(task, 5)
    assert (await Doc.get(doc.key)).n == 100
    async with Doc.lock_from_key(doc.key, timeout=5):
        pass


async def test_a_message_that_comes_late(clean, doc, other):
    """A turn that ended before its waiter heard of it: two may be in their bodies, and the late one cannot save."""
    keys = keys_of(doc)
    go_on, entered = asyncio.Event(), asyncio.Event()

    async def section():
        async with other.lock_from_key(doc.key, save_at_end=True, lease=6) as mine:
            entered.set()
            await go_on.wait()
            mine.n += 1

    await clean.hset(keys[1], mapping={"owner": "first", "fence": "1"})
    await clean.pexpire(keys[1], 800)
    task = asyncio.create_task(section())
    await queued(clean, doc)
    [ticket] = await clean.lrange(keys[2], 0, -1)
    channel = ticket.split(b"\n")[1]
    # The first one gives back; as this is said to be the waiter's own channel, its message comes in the answer: here.
    arguments = ("first", "", "", channel)
    _, (token, fence, text) = await clean.evalsha(scripts()["lock.release"].sha, 3, *keys, *arguments)
    await clean.delete(keys[1])
    async with doc.lock(save_at_end=True):
        doc.n += 100
        await queued(clean, doc)  # the waiter has asked again
        await clean.execute_command("SPUBLISH", channel, b"\n".join((token, fence, text)))
        await asyncio.wait_for(entered.wait(), 5)
    go_on.set()
    with pytest.raises(LockLost):
        await task
    assert (await Doc.get(doc.key)).n == 100


async def test_asking_once_more_takes_nothing_from_the_holder(clean, doc, other):
    """A save that goes on, since the server lost its script, is not overtaken by the end of a question asked twice."""
    leave = asyncio.Event()

    async def aside():
        async with other.lock_from_key(doc.key, "aside"):
            await leave.wait()

    holder = asyncio.create_task(aside())
    await until(lambda: clean.exists(_keys.lock_key(doc.key, "aside")), 1)
    waiting = asyncio.create_task(Doc.lock_from_key(doc.key, "aside").__aenter__())  # so wake-ups are listened for
    await until(lambda: clean.llen(_keys.queue_key(doc.key, "aside")), 1)
    await clean.script_flush()
    for name in ("lock.acquire", "lock.release"):
        await clean.script_load(scripts()[name].source)

    async def work():
        async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
            mine.n += 1

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    queues = _lock.queues(clean)
    [group] = queues._groups[_keys.lock_key(doc.key, "default")]
    queues._ask_later(group)  # as when a message may be lost
    await working
    assert await doc.n.load() == 1
    waiting.cancel()
    leave.set()
    await asyncio.gather(waiting, holder, return_exceptions=True)


def test_waiting_without_hiredis():
    """Who waits is woken where hiredis is missing and the client says nothing of the protocol, too."""
    environment = {**os.environ, "RAPYER_TEST_HIREDIS": "0", "RAPYER_TEST_PROTOCOL": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "when_the_others_fail"]
    subprocess.run(command, env=environment, check=True)
