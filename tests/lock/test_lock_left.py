"""Leaving in unusual ways: whoever leaves, and however, the lock is free at once and nothing is left of the block."""

import asyncio
import gc
import socket
import time
import weakref
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit

import pytest
from connections import client_of
from lock_waiters import enter, queued, start
from lock_worker import Doc
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

import rapyer
import redis_stack
from rapyer import AtomicRedisModel, _keys, _lock
from rapyer.errors import LockLost, LockTimeout, OutcomeUnknown, ServerError, UsageError
from rapyer.fields import Key


class Part(AtomicRedisModel):
    """A document that another one may take in."""

    name: Key[str]
    n: int = 0


class Whole(AtomicRedisModel):
    """One that does."""

    title: str = "default"
    part: Part | None = None


SAVES = pytest.mark.parametrize("saves", [False, True], ids=["release", "save"])


async def free(cls, doc):
    """Check that the lock can be had at once."""
    began = time.monotonic()
    await enter(cls, doc.key, timeout=5)
    assert time.monotonic() - began < 1


@SAVES
@pytest.mark.parametrize("heir", ["cancelled", "out of time", "stays"])
@pytest.mark.parametrize("others", [0, 1, 9])
async def test_holder_and_heir_leave_at_once(clean, doc, other, saves, heir, others):
    """A lock that is on its way to a waiter who leaves, as does the one who sent it, is given back."""
    go = asyncio.Event()

    async def hold():
        async with Doc.lock_from_key(doc.key, save_at_end=saves) as mine:
            mine.n = 1
            await go.wait()

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0.05)
    [waiter] = start(Doc, doc, timeout=0.1 if heir == "out of time" else None)
    rest = start(Doc, doc, others)
    await asyncio.sleep(0.09 if heir == "out of time" else 0.02)
    go.set()
    await asyncio.sleep(0)
    holder.cancel()
    if heir == "cancelled":
        waiter.cancel()
    with suppress(asyncio.CancelledError):
        await holder
    with suppress(asyncio.CancelledError, LockTimeout):
        await waiter
    await asyncio.wait_for(asyncio.gather(*rest), 5)
    await free(other, doc)


@SAVES
async def test_a_block_that_another_task_leaves(clean, doc, saves):
    """The task that entered holds nothing any more: it can write, and take the lock again."""

    async def locked():
        async with doc.lock(save_at_end=saves) as mine:
            yield mine

    async for mine in locked():
        mine.n = 5
        break  # the loop closes the generator, in a task of its own
    for _ in range(100):
        if not await clean.keys("rapyer:*"):
            break
        await asyncio.sleep(0.01)
    await doc.aupdate(n=7)
    await doc.n.increase()
    async with doc.lock(save_at_end=True, timeout=0) as mine:
        mine.n += 1
    assert (await Doc.get(doc.key)).n == 9


async def test_a_stack_that_another_task_closes(clean, doc):
    """So it is where the leaving is refused because it is another task's."""
    stack = AsyncExitStack()
    await stack.enter_async_context(doc.lock())
    with pytest.raises(UsageError, match="another task"):
        await asyncio.create_task(stack.aclose())
    async with doc.lock(timeout=0):
        await doc.n.increase()


async def test_one_block_for_two_tasks(clean, doc):
    """A block is for one task at a time, also while that one waits; whoever is refused disturbs nobody."""
    lock = doc.lock(save_at_end=True)
    inside, go = asyncio.Event(), asyncio.Event()

    async def first():
        async with lock as mine:
            inside.set()
            await go.wait()
            mine.n = 1

    async with doc.lock("before"):
        pass
    holder = asyncio.create_task(enter(Doc, doc.key))
    entering = asyncio.create_task(first())
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="in use"):
        await lock.__aenter__()
    await inside.wait()
    with pytest.raises(UsageError, match="in use"):
        await lock.__aenter__()
    go.set()
    await asyncio.gather(holder, entering)
    assert (await Doc.get(doc.key)).n == 1
    async with lock as mine:  # one after the other is as good as a block of one's own
        mine.n = 2
    assert (await Doc.get(doc.key)).n == 2


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("ends", ["cancelled", "by itself"])
def test_the_program_ends_meanwhile(stack, turns, ends):
    """A lock is given back at the end of a program, too, where every task is cancelled, however far it is."""

    async def main():
        client = client_of(stack.url)
        await rapyer.init_rapyer(client)
        doc = await Doc().save()
        go = asyncio.Event()

        async def hold():
            async with doc.lock():
                await go.wait()

        holder = asyncio.create_task(hold())
        await asyncio.sleep(0.05)
        await client.aclose()
        if ends == "cancelled":
            holder.cancel()
        else:
            go.set()
        for _ in range(turns):
            await asyncio.sleep(0)

    async def left():
        client = client_of(stack.url)
        keys = await client.keys("rapyer:*")
        await client.flushdb()
        await client.aclose()
        return keys

    asyncio.run(main())
    assert asyncio.run(left()) == []


def ends_while_asking(url, waiters, turns):
    """Run a program that ends while it asks for a lock for the first time."""

    async def main():
        client = client_of(url, socket_timeout=0.5)

        class Own(Doc):
            class Meta:
                redis = client

        tasks = [asyncio.create_task(enter(Own, "Own:1")) for _ in range(waiters)]
        for _ in range(turns):
            await asyncio.sleep(0)
        return tasks

    asyncio.run(main())


@pytest.mark.one_server("the program has no address of a cluster")
@pytest.mark.parametrize("turns", [*range(6), 30])
@pytest.mark.parametrize("waiters", [1, 3])
def test_the_program_ends_while_it_connects(caplog, waiters, turns):
    """What was never asked for is not given back: the end is not put off, and nothing false is told."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        ends_while_asking(f"redis://127.0.0.1:{silent.getsockname()[1]}", waiters, turns)
        assert time.monotonic() - began < 1.5
    assert "given back" not in caplog.text


@pytest.mark.one_server("a cluster has more than one way to fail")
async def test_a_server_that_was_never_there(caplog):
    """Who never reached a server gets the error, at once, and has nothing to give back."""
    client = Redis(host="127.0.0.1", port=redis_stack.free_port(), retry=Retry(NoBackoff(), 1))

    class Own(Doc):
        class Meta:
            redis = client

    entering = [asyncio.create_task(enter(Own, "Own:1", timeout=timeout)) for timeout in (None, 5, None)]
    for outcome in await asyncio.wait_for(asyncio.gather(*entering, return_exceptions=True), 2):
        assert isinstance(outcome, RedisConnectionError)
    assert "given back" not in caplog.text
    await rapyer.teardown_rapyer()
    await client.aclose()


async def begun(stack):
    """What a program has that begins: a client that all models are bound to, and a document."""
    client = client_of(stack.url)
    await rapyer.init_rapyer(client)
    return client, await Doc().save()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 12, 20, 30, 50])
def test_no_question_leaves_a_lock_behind(stack, turns):
    """However far the first question is when the program ends, no lock is left."""

    async def main():
        client, doc = await begun(stack)
        await rapyer.teardown_rapyer()
        Doc.Meta.redis = client
        main.asking = asyncio.create_task(enter(Doc, doc.key))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.aclose()

    async def left():
        client = client_of(stack.url)
        keys = await client.keys("rapyer:*")
        await client.flushdb()
        await client.aclose()
        return keys

    asyncio.run(main())
    Doc.Meta.redis = None
    assert asyncio.run(left()) == []


@pytest.mark.one_server("a cluster has one database")
async def test_the_same_key_in_another_database(stack, bound, doc):
    """Locks are those of a document: one with the same key in another database is another one."""
    url = urlsplit(stack.url)
    if url.scheme != "redis":
        pytest.skip("the number of the database is not the URL's path")
    elsewhere = Redis.from_url(url._replace(path="/1").geturl())

    class Archive(Doc):
        class Meta:
            redis = elsewhere

        @classmethod
        def class_key_initials(cls):
            return Doc.class_key_initials()

    twin = Archive()
    object.__setattr__(twin, "_own_pk", doc.pk)
    await twin.save()
    try:
        async with doc.lock():
            await twin.aupdate(n=7)
            async with rapyer.pipeline():
                twin.n += 1
            async with twin.lock(timeout=0, save_at_end=True):
                twin.n += 1
            await doc.aupdate(n=1)
        assert ((await Archive.get(doc.key)).n, (await Doc.get(doc.key)).n) == (9, 1)
    finally:
        await twin.delete()
        await elsewhere.aclose()


async def test_another_client_of_the_same_database(clean, doc, other):
    """What a task holds goes along with its writes by whatever client, where that is one of the same database."""
    twin = await other.get(doc.key)
    block = doc.lock(lease=60)
    await block.__aenter__()
    with pytest.raises(UsageError, match="already holds"):
        await enter(other, doc.key)
    await clean.delete(*await clean.keys("rapyer:*"))
    for write in (twin, doc):
        with pytest.raises(LockLost):
            await write.aupdate(n=7)
    with pytest.raises(LockLost):
        await block.__aexit__(None, None, None)


class Between:
    """A proxy that asks before it passes on what a connection sends: `ask(number, data)`; False ends it."""

    def __init__(self, url, ask):
        self._port = urlsplit(url).port
        self._ask = ask
        self._count = 0
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.client = Redis.from_url(f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0")
        return self

    async def __aexit__(self, *_):
        await rapyer.teardown_rapyer()
        await self.client.aclose()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _connected(self, reader, writer):
        number, self._count = self._count, self._count + 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, up_writer]

        async def up():
            while data := await reader.read(1 << 16):
                if not await self._ask(number, data):
                    writer.transport.abort()
                    break
                up_writer.write(data)
            up_writer.close()

        async def down():
            while data := await up_reader.read(1 << 16):
                writer.write(data)
            writer.close()

        with suppress(OSError):
            await asyncio.gather(up(), down())


@pytest.fixture
def private():
    """A server of one's own."""
    with redis_stack.start(private=True) as server:
        yield server


def bound_to(client):
    """Return a class of documents behind this client, all with the same prefix."""

    class Behind(Doc):
        class Meta:
            redis = client
            lock_lease = 1.0

        @classmethod
        def class_key_initials(cls):
            return "Behind"

    return Behind


@pytest.mark.parametrize("losses", [1, 3, 6])
async def test_connections_lost_while_it_is_given_back(private, losses):
    """However often the connection is lost meanwhile, a release is repeated while the lease may run."""
    left = 0

    async def ask(_, data):
        nonlocal left
        lost = left > 0 and b"EVALSHA" in data
        left -= lost
        return not lost

    async with Between(private.url, ask) as between:
        direct = Redis.from_url(private.url)
        cls, other = bound_to(between.client), bound_to(direct)
        doc = await cls().save()
        with suppress(OutcomeUnknown):
            async with doc.lock(lease=30):
                left = losses
        assert left == 0
        await free(other, doc)
        assert await direct.keys("rapyer:*") == []
        await direct.aclose()


async def test_asking_again_too_late(private):
    """A question that arrives after its turn is over leaves no ticket that the lock would come to in vain."""
    flows = asyncio.Event()
    flows.set()

    async def ask(number, _):
        if number == 0:  # its lane; the connection on which it is woken is another
            await flows.wait()
        return True

    async with Between(private.url, ask) as between:
        direct = [Redis.from_url(private.url) for _ in range(2)]
        slow, fast, third = (bound_to(client) for client in (between.client, *direct))
        doc = await fast().save()
        await slow.get(doc.key)
        took = asyncio.Event()

        async def late():
            with suppress(LockLost):
                async with slow.lock_from_key(doc.key):
                    took.set()
                    await asyncio.sleep(5)

        async def next_one():
            async with third.lock_from_key(doc.key):
                await asyncio.sleep(1)

        async with fast.lock_from_key(doc.key):
            waiter = asyncio.create_task(late())
            await queued(direct[0], doc)
            await asyncio.sleep(0.6)
            flows.clear()
            following = asyncio.create_task(next_one())
            await asyncio.sleep(1.0)  # it asks again, which does not get through
        await took.wait()
        await asyncio.sleep(1.15)
        flows.set()
        await asyncio.gather(waiter, following)
        await free(fast, doc)
        assert await direct[0].keys("rapyer:*") == []
        for client in direct:
            await client.aclose()


def test_a_program_that_ends_while_it_asks(stack, recwarn):
    """Those who do not wait open no connection for being woken, however the program ends."""

    async def main():
        client, doc = await begun(stack)
        await client.aclose()
        tasks = [asyncio.create_task(enter(Doc, doc.key, timeout=0)) for _ in range(3)]
        await asyncio.sleep(0)
        return tasks

    for _ in range(3):
        asyncio.run(main())
    assert [str(warning.message) for warning in recwarn if "rapyer" in str(warning.message)] == []


class Refuses(CredentialProvider):
    """Knows no password any more after a while."""

    def __init__(self):
        self.works = True

    async def get_credentials_async(self):
        """Return it, or fail in a way of its own."""
        if not self.works:
            msg = "the vault is closed"
            raise KeyError(msg)
        return ("default", "")

    def get_credentials(self):
        """Say that the other is to be asked."""
        raise NotImplementedError


async def test_a_provider_of_passwords_that_fails(private):
    """Whatever it raises on the connection for being woken, the waiter gets it, and nobody hangs."""
    provider = Refuses()
    direct = Redis.from_url(private.url)
    client = Redis.from_url(private.url, credential_provider=provider, retry=Retry(NoBackoff(), 0))
    await direct.config_set("requirepass", "")
    cls, other = bound_to(client), bound_to(direct)
    doc = await cls().save()
    async with other.lock_from_key(doc.key):
        provider.works = False
        with pytest.raises(KeyError, match="vault"):
            await asyncio.wait_for(asyncio.create_task(enter(cls, doc.key)), 5)
    await rapyer.teardown_rapyer()
    assert await direct.keys("rapyer:*") == []
    await client.aclose()
    await direct.aclose()


async def test_a_provider_of_passwords_that_fails_when_it_is_asked_again(private):
    """Nor does a waiter hang that asks on a new connection as the lease it knew of ends, while it is listening."""
    provider = Refuses()
    direct = Redis.from_url(private.url)
    client = Redis.from_url(private.url, credential_provider=provider, retry=Retry(NoBackoff(), 0))
    cls = bound_to(client)
    doc = await cls().save()
    lock_key = _keys.lock_key(doc.key, "default")
    await direct.hset(lock_key, "owner", "another")
    await direct.pexpire(lock_key, 500)
    waiter = asyncio.create_task(enter(cls, doc.key))
    await queued(direct, doc)
    provider.works = False
    await direct.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(KeyError, match="vault"):
        await asyncio.wait_for(waiter, 5)
    await rapyer.teardown_rapyer()
    await client.aclose()
    await direct.aclose()


async def test_a_provider_of_passwords_that_fails_when_a_lock_is_given_back(private, caplog):
    """The lock ends with its lease, which is told like any other failure, and no task ends with an error unheard."""
    provider, faults = Refuses(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    direct = Redis.from_url(private.url)
    client = Redis.from_url(private.url, credential_provider=provider, retry=Retry(NoBackoff(), 0))
    doc = await bound_to(client)().save()

    async def section():
        async with doc.lock(lease=0.6):
            provider.works = False
            await direct.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.3)  # it cannot be renewed either

    with pytest.raises(KeyError, match="vault"):
        await section()
    gc.collect()
    assert "lock_not_returned" in [record.rapyer["event"] for record in caplog.records if record.name == "rapyer"]
    assert faults == []
    await rapyer.teardown_rapyer()
    await client.aclose()
    await direct.aclose()


@pytest.mark.parametrize("size", [1, 2_000_000])
async def test_a_ticket_that_could_not_be_taken_out(private, size, caplog):
    """Who leaves while Redis cannot be reached is given the lock later, and passes it on at once, not after a lease.

    The log tells of the place in the queue, and of no lock: this process holds none.
    """
    provider = Refuses()
    direct = Redis.from_url(private.url)
    client = Redis.from_url(private.url, credential_provider=provider, retry=Retry(NoBackoff(), 0))
    cls, other = bound_to(client), bound_to(direct)
    doc = await cls(data=b"x" * size).save()
    queue_key = _keys.queue_key(doc.key, "default")
    async with other.lock_from_key(doc.key, lease=30):
        leaving = start(cls, doc, 2, lease=30) + start(cls, doc, lease=31)
        await queued(direct, doc, 2)
        provider.works = False
        await direct.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        assert await direct.llen(queue_key) == 2
        told = [record.rapyer["event"] for record in caplog.records if record.name == "rapyer"]
        assert told.count("ticket_left") == 2
        assert "lock_not_returned" not in told
        provider.works = True
    assert (await asyncio.wait_for(enter(other, doc.key), 5)).key == doc.key
    assert await direct.keys("rapyer:*") == []
    assert not _lock.queues(client)._scripts.overdue
    await rapyer.teardown_rapyer()
    await client.aclose()
    await direct.aclose()


def test_waiters_are_counted_as_the_program_ends(stack, caplog):
    """The note of how many wait, which is sent after a while, may fall due at any moment, the very last included."""
    loop = asyncio.new_event_loop()

    async def main():
        client = client_of(stack.url)
        await rapyer.init_rapyer(client)
        doc = await Doc().save()
        async with doc.lock() as mine:
            census, lock_key = _lock.queues(client)._census, _keys.lock_key(mine.key, "default")
            census._noted[lock_key] = 1
        await rapyer.teardown_rapyer()
        await client.aclose()
        loop.call_soon(census._look, lock_key)

    loop.run_until_complete(main())
    loop.close()
    gc.collect()
    assert [record.message for record in caplog.records if "destroyed" in record.message] == []


class Lasting(Doc):
    """A class of documents that is bound to a client by hand."""


def test_a_client_that_goes_away_after_a_block(stack):
    """Tasks that were started in a block, and go on, keep no client whose lock was held in it."""

    async def main():
        Lasting.Meta.redis = client = client_of(stack.url)
        doc = await Lasting().save()
        async with doc.lock():
            lasting = asyncio.create_task(asyncio.sleep(60))
            await doc.n.increase()
        await doc.delete()
        await client.aclose()
        Lasting.Meta.redis = None
        gone = weakref.ref(client)
        del client, doc
        for _ in range(100):
            gc.collect()
            if gone() is None:
                break
            await asyncio.sleep(0.01)
        lasting.cancel()
        return gone() is None

    assert asyncio.run(main())


async def test_blocks_that_other_tasks_leave_again_and_again(bound, doc):
    """Nothing of them is kept by the task that enters."""
    for _ in range(5):
        block = doc.pipeline()
        await block.__aenter__()
        doc.n += 1
        await asyncio.create_task(block.__aexit__(None, None, None))
    block = doc.pipeline()
    await block.__aenter__()
    assert block._recording.outer is None
    await block.__aexit__(None, None, None)
    assert (await Doc.get(doc.key)).n == 5


SLOW = """local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
local stop = now() + 300000
while now() < stop do end"""


async def test_a_server_that_is_busy_meanwhile():
    """A release that a busy server refused is sent again, and so is the withdrawal of a waiter."""
    with redis_stack.start(private=True, args=["--busy-reply-threshold", "50"]) as server:
        client, other = Redis.from_url(server.url), Redis.from_url(server.url)
        cls = bound_to(client)
        doc = await cls().save()

        async def busy():
            task = asyncio.create_task(other.eval(SLOW, 0))
            await asyncio.sleep(0.15)
            return task

        block = doc.lock(lease=30)
        await block.__aenter__()
        slow = await busy()
        with pytest.raises(ServerError):
            await block.__aexit__(None, None, None)
        await slow
        await free(cls, doc)
        async with doc.lock(lease=30):
            [waiter] = start(cls, doc)
            await queued(client, doc)
            slow = await busy()
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
            await slow
        await free(cls, doc)
        assert await client.keys("rapyer:*") == []
        await rapyer.teardown_rapyer()
        await client.aclose()
        await other.aclose()


@pytest.mark.parametrize("turns", range(4, 13))
async def test_torn_down_while_it_subscribes(stack, turns):
    """However far the connection for being woken is, the end of everything does not wait for the lock."""
    client = client_of(stack.url)
    cls = bound_to(client)
    doc = await cls().save()
    block = doc.lock(lease=20)
    await block.__aenter__()
    [waiter] = start(cls, doc)
    for _ in range(turns):
        await asyncio.sleep(0)
    began = time.monotonic()
    await rapyer.teardown_rapyer()
    assert time.monotonic() - began < 3
    with suppress(RedisConnectionError, ServerError):  # nothing is left that could give it back
        await block.__aexit__(None, None, None)
    await asyncio.gather(waiter, return_exceptions=True)
    await rapyer.teardown_rapyer()
    await client.flushdb()
    await client.aclose()


async def test_a_server_that_is_busy_when_somebody_waits():
    """Who waits while the server answers nobody waits on: nothing is wrong with being woken later."""
    with redis_stack.start(private=True, args=["--busy-reply-threshold", "50"]) as server:
        client, other = Redis.from_url(server.url), Redis.from_url(server.url)
        cls = bound_to(client)
        doc = await cls().save()
        async with doc.lock(lease=30):
            [waiter] = start(cls, doc)
            await queued(client, doc)
            slow = asyncio.create_task(other.eval(SLOW, 0))
            await asyncio.sleep(0.1)
            [listening] = _lock.queues(client)._wakes._wakes.values()
            listening._connection._writer.transport.abort()
            await slow
            await asyncio.sleep(0.1)
        await asyncio.wait_for(waiter, 5)
        await rapyer.teardown_rapyer()
        await client.aclose()
        await other.aclose()


@SAVES
async def test_a_model_that_becomes_a_part_while_it_waits(clean, saves):
    """The block is refused, since the lock is another document's: what the model is a part of is as it was."""
    await Part(name="a").save()
    whole, part = await Whole(title="mine").save(), Part(name="a")

    async def wait():
        async with part.lock(save_at_end=saves):
            part.n += 1

    async with Part.lock_from_key("a"):
        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
        whole.part = part
        assert whole.part is part
    with pytest.raises(UsageError, match="another document"):
        await waiter
    assert (whole.title, whole.part, part.n) == ("mine", part, 0)
    assert (await Part.get("a")).n == 0
    await free(Part, await Part.get("a"))
