"""Locks when the server, the connection or the caller fails: never two holders that can write, never a hang."""

import asyncio
import threading
import time

import pytest
from connections import client_of
from lock_waiters import enter, queued, until
from lock_worker import Doc
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

import rapyer
import redis_stack
from rapyer import _keys, _lock, _queue
from rapyer.errors import LockLost, LockTimeout, OutcomeUnknown, RapyerError, ServerError, UsageError


@pytest.fixture
async def private():
    """A server of one's own, which keeps nothing, and its client."""
    with redis_stack.start(private=True) as server:
        client = Redis.from_url(server.url)
        await rapyer.init_rapyer(client)
        yield server, client
        await rapyer.teardown_rapyer()
        await client.aclose()


@pytest.mark.parametrize("saves", [False, True])
async def test_a_server_that_forgets(private, saves):
    """Restarted without its data while a lock is held and waited for: nobody saves on top of another's lock."""
    server, client = private
    doc = await Doc().save()
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def hold():
        async with Doc.lock_from_key(doc.key, save_at_end=saves, lease=60) as mine:
            inside.set()
            await go_on.wait()
            mine.n = 100

    async def wait():
        async with Doc.lock_from_key(doc.key, timeout=20) as mine:
            return mine.n

    holder = asyncio.create_task(hold())
    await inside.wait()
    waiters = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0.2)
    await asyncio.to_thread(server.restart)
    fresh = Redis.from_url(server.url)
    await fresh.execute_command("JSON.SET", doc.key, "$", doc.model_dump_json())
    new = asyncio.create_task(wait())
    assert await asyncio.wait_for(new, 10) == 0
    go_on.set()
    with pytest.raises((LockLost, OutcomeUnknown, RedisConnectionError)):
        await holder
    for outcome in await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), 30):
        assert outcome == 0 or isinstance(outcome, (RapyerError, RedisConnectionError, OSError))
    assert (await Doc.get(doc.key)).n == 0
    assert await fresh.keys("rapyer:*") == []
    await fresh.aclose()
    del client


async def test_no_server_at_all(private):
    """Who asks, waits or saves when the server is gone for good gets a connection error, in seconds."""
    server, _ = private
    doc = await Doc().save()

    async def hold():
        async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
            mine.n = 1
            await asyncio.to_thread(server.kill)

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0.05)
    began = time.monotonic()
    waiters = [asyncio.create_task(doc.lock().__aenter__()) for _ in range(12)]
    outcomes = await asyncio.wait_for(asyncio.gather(holder, *waiters, return_exceptions=True), 20)
    assert all(isinstance(outcome, (ConnectionError, RedisConnectionError)) for outcome in outcomes)
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_lock_that_cannot_be_renewed(private, stopped):
    """After a lease without an answer it may be another's: the body is cancelled, and who waits here gets an error."""
    server, _ = private
    doc = await Doc().save()
    began = time.monotonic()

    async def block():
        async with doc.lock(lease=1):
            await asyncio.to_thread(server.pause if stopped else server.kill)
            await asyncio.sleep(30)

    holder = asyncio.create_task(block())
    await asyncio.sleep(0.1)
    waiter = asyncio.create_task(Doc.lock_from_key(doc.key, lease=1).__aenter__())
    with pytest.raises(LockLost):
        await asyncio.wait_for(holder, 20)
    assert time.monotonic() - began < 6
    if stopped:
        await asyncio.to_thread(server.resume)
        await asyncio.wait_for(waiter, 20)
    else:
        with pytest.raises((ConnectionError, RedisConnectionError, RedisTimeoutError)):
            await asyncio.wait_for(waiter, 20)


@pytest.mark.one_server("the memory of one server is filled")
async def test_a_full_server(clean, doc, other):
    """Locks are renewed, given back and handed on where nothing can be written; what was changed is not saved."""

    async def hold():
        async with doc.lock(save_at_end=True, lease=3):
            inside.set()
            await asyncio.sleep(1.5)
            assert await clean.pttl(_keys.lock_key(doc.key, "default")) > 2000
            doc.n = 5

    inside = asyncio.Event()
    holder = asyncio.create_task(hold())
    await inside.wait()
    waiter = asyncio.create_task(other.lock_from_key(doc.key, timeout=10).__aenter__())
    await queued(clean, doc)
    await clean.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(ServerError, match="maxmemory"):
            await holder
        assert (await waiter).n == 0
        await doc.delete()
    finally:
        await clean.config_set("maxmemory", 0)
    await clean.delete(_keys.lock_key(doc.key, "default"))


@pytest.mark.parametrize("what", ["timeout", "cancel", "cancel a holder", "cancel behind another"])
async def test_a_silent_server(private, what):
    """It holds nobody whose time is up or who is cancelled, and what they asked for is taken back when it answers."""
    server, client = private
    doc = await Doc().save()
    inside = asyncio.Event()

    async def hold():
        async with Doc.lock_from_key(doc.key):
            inside.set()
            await asyncio.sleep(30)

    if what in {"cancel a holder", "cancel behind another"}:
        holder = asyncio.create_task(hold())
        await inside.wait()
    server.pause()
    began = time.monotonic()
    try:
        if what == "cancel a holder":
            task = holder
        else:
            task = asyncio.create_task(enter(Doc, doc.key, timeout=0.3 if what == "timeout" else None))
        await asyncio.sleep(0.3)
        if what != "timeout":
            task.cancel()
        with pytest.raises(LockTimeout if what == "timeout" else asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert time.monotonic() - began < _queue.PATIENCE + 1.5
    finally:
        server.resume()
    if what == "cancel behind another":
        holder.cancel()
    await asyncio.wait_for(enter(Doc, doc.key), 20)
    await until(lambda: client.keys("rapyer:*"), [])


async def test_a_lost_lock_ends_the_body(clean, doc):
    """When renewal finds the lock gone the body is cancelled and the block raises LockLost; others go on meanwhile."""

    async def block():
        async with doc.lock(lease=0.3):
            await clean.delete(_keys.lock_key(doc.key, "default"))
            await asyncio.sleep(5)
            pytest.fail("it went on")

    async def stubborn(done):
        async with Doc.lock_from_key(doc.key, lease=0.3):
            await clean.delete(_keys.lock_key(doc.key, "default"))
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                await done.wait()  # a body that does not let itself be stopped

    with pytest.raises(LockLost):
        await block()
    done = asyncio.Event()
    holder = asyncio.create_task(stubborn(done))
    await asyncio.sleep(0.05)
    for _ in range(3):
        async with doc.lock(timeout=2):
            pass
    done.set()
    with pytest.raises(LockLost):
        await holder


@pytest.mark.parametrize("changes", [True, False])
async def test_a_loss_is_a_loss_when_the_lock_comes_back(clean, doc, changes):
    """A body that goes on when it is told saves nothing, even if the server has the lock again: LockLost."""
    lock_key = _keys.lock_key(doc.key, "default")

    async def stubborn():
        async with doc.lock(save_at_end=True, lease=0.3):
            doc.n += changes
            await clean.persist(lock_key)
            await clean.rename(lock_key, f"{lock_key}:aside")
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                await clean.rename(f"{lock_key}:aside", lock_key)

    task = asyncio.create_task(stubborn())
    with pytest.raises(LockLost):
        await asyncio.wait_for(task, 5)
    assert getattr(task, "cancelling", int)() == 0
    assert (await Doc.get(doc.key)).n == 0
    async with doc.lock(timeout=1):
        pass


WRITES = {
    "aupdate": lambda doc: doc.aupdate(n=7),
    "save": lambda doc: doc.save(),
    "increase": lambda doc: doc.n.increase(7),
    "delete": lambda doc: doc.delete(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_no_write_after_a_loss_that_the_server_knows_nothing_of(clean, doc, write):
    """A body that was told of its loss writes nothing in its clean-up, even if the server has the lock still."""
    lock_key = _keys.lock_key(doc.key, "default")
    refused = None

    async def section():
        nonlocal refused
        async with doc.lock(lease=0.3):
            doc.n += 1
            await clean.persist(lock_key)
            await clean.rename(lock_key, f"{lock_key}:aside")
            try:
                await asyncio.sleep(5)
            finally:
                await clean.rename(f"{lock_key}:aside", lock_key)
                try:
                    await write(doc)
                except LockLost as error:
                    refused = error

    with pytest.raises(LockLost):
        await asyncio.wait_for(asyncio.create_task(section()), 5)
    assert refused is not None
    assert refused.key == doc.key
    assert (await Doc.get(doc.key)).n == 0
    async with doc.lock(timeout=1):
        pass


async def test_a_cancellation_is_not_taken_for_a_loss(clean, doc):
    """Somebody else's cancel stays a CancelledError."""
    inside = asyncio.Event()

    async def block():
        async with doc.lock(lease=0.3):
            inside.set()
            await asyncio.sleep(5)

    task = asyncio.create_task(block())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_renewal_ends_with_the_last_lock(clean, doc, calls):
    """It goes on while a lock is held and not a moment longer."""
    async with doc.lock(lease=0.9):
        await calls()
        began = time.monotonic()
        await asyncio.sleep(2.5)
        count, thirds = await calls(), (time.monotonic() - began) / 0.3
        assert thirds - 3 <= count <= thirds + 1
    await calls()
    await asyncio.sleep(1)
    assert await calls() == 0


async def test_leases_that_are_never_asked_for_again(clean, doc):
    """Of leases that are computed, each another one, next to nothing is kept; locks that are held are renewed."""
    async with doc.lock("held", lease=0.6) as mine:
        for number in range(1000):
            async with doc.lock(lease=1000 + number / 1000):
                pass
        assert len(_lock.queues(clean).renewals._cohorts) < 200
        await asyncio.sleep(0.9)
        await mine.aupdate(n=1)


@pytest.mark.one_server("each primary is asked by itself")
async def test_many_locks_are_renewed_together(clean, calls):
    """A thousand locks cost two calls a third of a lease."""
    docs = await Doc().duplicate_many(1000)
    leave = asyncio.Event()
    count = 0

    async def hold(one):
        nonlocal count
        async with one.lock(lease=1.5):
            count += 1
            await leave.wait()

    holding = [asyncio.create_task(hold(one)) for one in docs]
    while count < 1000:  # noqa: ASYNC110 - it is counted
        await asyncio.sleep(0.01)
    await calls()
    began, renewals = time.monotonic(), 0
    while renewals < 8:
        await asyncio.sleep(0.1)
        renewals += await calls()
    thirds = (time.monotonic() - began) / 0.5
    assert renewals <= 2 * (thirds + 1)
    assert thirds < 12
    assert await clean.exists(*(_keys.lock_key(one.key, "default") for one in docs)) == 1000
    leave.set()
    await asyncio.gather(*holding)


async def test_a_bad_key_costs_its_own_lock_alone(clean, doc):
    """What is no lock any more is lost; all others that are renewed with it are kept."""
    other = await Doc().save()

    async def hold(one):
        async with one.lock(lease=0.6, save_at_end=True):
            await asyncio.sleep(2)
            one.n = 1

    lost, kept = (asyncio.create_task(hold(one)) for one in (doc, other))
    await asyncio.sleep(0.1)
    await clean.set(_keys.lock_key(doc.key, "default"), "text")
    with pytest.raises(LockLost):
        await lost
    await clean.delete(_keys.lock_key(doc.key, "default"))
    await kept
    assert ((await Doc.get(doc.key)).n, (await Doc.get(other.key)).n) == (0, 1)


async def test_a_bad_key_is_lost_for_writes_and_saves(clean, doc):
    """Nothing is written on top of it, and who asks for the lock is told what is wrong."""

    async def block(saves):
        async with doc.lock(save_at_end=saves):
            await clean.set(_keys.lock_key(doc.key, "default"), "text")
            with pytest.raises(LockLost):
                await doc.n.increase()
            doc.s = "mine"

    for saves in (False, True):
        with pytest.raises(LockLost):
            await block(saves)
        with pytest.raises(ServerError, match="WRONGTYPE"):
            await doc.lock().__aenter__()
        await clean.delete(_keys.lock_key(doc.key, "default"))
    assert (await Doc.get(doc.key)).s == "s"


async def test_a_killed_connection_while_locks_change_hands(clean, doc):
    """Errors are clear, the locks of those who met one are given back, and no update is lost."""
    done, going_on = 0, asyncio.Event()

    async def work():
        nonlocal done
        for _ in range(10):
            try:
                async with Doc.lock_from_key(doc.key, save_at_end=True, lease=1) as mine:
                    mine.n = mine.n + 1
            except (OutcomeUnknown, RedisConnectionError):
                continue
            done += 1
            going_on.set()

    async def cut():
        while True:
            await going_on.wait()  # on a busy machine a pause alone would be shorter than connecting takes
            going_on.clear()
            await asyncio.sleep(0.02)
            await clean.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    cutting = asyncio.create_task(cut())
    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(10))), 60)
    cutting.cancel()
    await doc.load()
    assert done <= doc.n <= 100
    assert done > 10
    await asyncio.sleep(1.1)


async def test_without_the_right_to_subscribe(clean, doc, stack):
    """A user that may not subscribe gets the server's own error when it has to wait, and nothing is left of it."""
    await clean.execute_command("ACL", "SETUSER", "mute", "on", "nopass", "allkeys", "allcommands", "resetchannels")
    client = client_of(stack.url.replace("://", "://mute:x@"))

    class Mute(Doc):
        class Meta:
            redis = client

        @classmethod
        def class_key_initials(cls):
            return Doc.class_key_initials()

    async with Mute.lock_from_key(doc.key):
        pass
    async with doc.lock():
        with pytest.raises(ServerError, match="rapyer:wake:"):
            await asyncio.create_task(Mute.lock_from_key(doc.key).__aenter__())
        with pytest.raises(LockTimeout):
            await asyncio.create_task(Mute.lock_from_key(doc.key, timeout=0).__aenter__())
    await client.aclose()
    await clean.execute_command("ACL", "DELUSER", "mute")


async def test_a_teardown_while_somebody_waits(client):
    """Who waits gets an error instead of waiting for ever."""
    await rapyer.init_rapyer(client)
    doc = await Doc().save()
    await client.hset(_keys.lock_key(doc.key, "default"), "owner", "another")
    waiter = asyncio.create_task(doc.lock().__aenter__())
    await asyncio.sleep(0.2)
    await rapyer.teardown_rapyer()
    with pytest.raises((RedisConnectionError, UsageError)):
        await asyncio.wait_for(waiter, 5)


def test_loops_in_threads(stack):
    """Waiters in several event loops of one process, with one client, take turns like processes."""
    shared = client_of(stack.url)

    class Shared(Doc):
        class Meta:
            redis = shared

    async def prepare():
        doc = await Shared().save()
        await rapyer.teardown_rapyer()
        return doc.key

    key = asyncio.run(prepare())
    errors = []

    async def work():
        for _ in range(10):
            async with Shared.lock_from_key(key, save_at_end=True) as mine:
                mine.n = mine.n + 1

    async def many():
        await asyncio.gather(*(work() for _ in range(5)))
        await rapyer.teardown_rapyer()

    def run():
        try:
            asyncio.run(many())
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    async def look():
        doc = await Shared.get(key)
        async with client_of(stack.url) as fresh:
            left = await fresh.keys("rapyer:*")
        await doc.delete()
        await rapyer.teardown_rapyer()
        return doc.n, left

    assert errors == []
    assert asyncio.run(look()) == (150, [])


# -- the fencing number ----------------------------------------------------------------------------------------------


async def test_the_fencing_number(clean, doc):
    """It is there while the block runs, grows from one to the next, and is the one the server knows."""
    numbers = []
    for index in range(20):
        block = Doc.lock_from_key(doc.key) if index % 2 else doc.lock()
        with pytest.raises(UsageError, match="fenc"):
            block.fence  # noqa: B018
        async with block:
            numbers.append(block.fence)
            assert int(await clean.hget(_keys.lock_key(doc.key, "default"), "fence")) == block.fence
            assert str(block.fence) in repr(block)
        with pytest.raises(UsageError):
            block.fence  # noqa: B018
        if index % 5 == 0:
            await clean.delete(_keys.lock_key(doc.key, "default"))
    assert numbers == sorted(set(numbers))


async def test_a_block_is_entered_by_one_at_a_time(clean, doc):
    """The same block twice at once is a UsageError; one after the other it is two locks."""
    block = doc.lock()
    for _ in range(2):
        async with block:
            with pytest.raises(UsageError, match="lock"):
                await asyncio.create_task(block.__aenter__())
