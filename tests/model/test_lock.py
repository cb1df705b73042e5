"""Locks: exclusive, fenced, saved at the finest paths, and gone without a trace."""

import asyncio
import math
import time
from typing import Any

import pytest

from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound, LockTimeout, UsageError
from rapyer.fields import Key


class Inner(AtomicRedisModel):
    """A nested model."""

    x: int = 0
    y: int = 0


class Doc(AtomicRedisModel):
    """A document."""

    n: int = 0
    s: str = "s"
    items: list[int] = []
    table: dict[str, int] = {"a": 1, "b": 2}
    inner: Inner = Inner()
    inners: dict[str, Inner] = {"k": Inner()}


class Boom(Exception):
    """What a body raises."""


@pytest.fixture
async def clean(bound):
    """Check that no helper key is left."""
    yield bound
    assert await bound.keys("rapyer:*") == []


async def test_loads_under_the_lock(clean):
    """The body sees what Redis holds, in the same instance or in a new one."""
    doc = await Doc().save()
    await (await Doc.get(doc.key)).aupdate(n=5)
    async with doc.lock() as same:
        assert same is doc
        assert doc.n == 5
    async with Doc.lock_from_key(doc.pk) as new:
        assert (new == doc, new is doc, new.key) == (True, False, doc.key)


async def test_saves_what_changed(clean, stored, write):
    """Only what the body changed is written, at the finest paths: others' changes survive."""
    doc = await Doc().save()
    async with doc.lock(save_at_end=True):
        await write(doc.key, "$.s", "theirs")
        await write(doc.key, "$.table.theirs", 9)
        await write(doc.key, "$.inner.y", 8)
        await write(doc.key, "$.inners.k.y", 7)
        await write(doc.key, "$.inners.new", {"x": 1, "y": 1})
        doc.n += 1
        doc.table["a"] = 100
        del doc.table["b"]
        doc.inner.x = 5
        doc.inners["k"].x = 6
        doc.items.append(3)
    assert await stored(doc.key) == {
        "n": 1,
        "s": "theirs",
        "items": [3],
        "table": {"a": 100, "theirs": 9},
        "inner": {"x": 5, "y": 8},
        "inners": {"k": {"x": 6, "y": 7}, "new": {"x": 1, "y": 1}},
    }


async def test_saves_only_if_asked(clean, stored):
    """Without save_at_end nothing is written; with it and no change nothing either."""
    doc = await Doc().save()
    async with doc.lock():
        doc.n = 5
    async with doc.lock(save_at_end=True):
        pass
    assert await stored(doc.key, "$.n") == 0


async def test_saving_sets_the_expiry(clean):
    """The save at the end is a write: it pushes the expiry out; a block that has nothing to save does not."""

    class Short(AtomicRedisModel):
        n: int = 0
        odd: dict[str, int] = {}

        class Meta:
            ttl = 1000

    doc = await Short().save()
    for change, pushed in (({"n": 1}, True), ({}, False), ({"odd": {" \\'\"": 1}}, True), ({"n": 2, "odd": {}}, True)):
        await clean.expire(doc.key, 500)
        async with doc.lock(save_at_end=True):
            for name, value in change.items():
                setattr(doc, name, value)
        left = await clean.ttl(doc.key)
        assert (500 < left <= 1000) == pushed
        assert left > 0


async def test_writes_in_the_body(clean, stored):
    """Every way to write works under the lock, and the save at the end does not undo it."""
    doc = await Doc().save()
    async with doc.lock(save_at_end=True):
        await doc.n.increase(2)
        await doc.aupdate(s="new")
        await doc.items.aappend(1)
        async with doc.pipeline():
            doc.table["a"] += 1
        doc.inner.x = 3
    async with doc.lock():
        await doc.n.increase(2)
        doc.s = "newer"
        await doc.save()
    assert await stored(doc.key) == doc.model_dump()
    assert (doc.n, doc.s, doc.items, doc.table["a"], doc.inner.x) == (4, "newer", [1], 2, 3)


@pytest.mark.parametrize("by_key", [False, True])
async def test_body_raises(clean, stored, by_key):
    """Nothing is saved, the lock is released, and the body's error comes through."""
    doc = await Doc().save()

    async def block():
        lock = Doc.lock_from_key(doc.key, save_at_end=True) if by_key else doc.lock(save_at_end=True)
        async with lock as model:
            model.n = 5
            raise Boom

    with pytest.raises(Boom):
        await block()
    assert await stored(doc.key, "$.n") == 0
    async with doc.lock(timeout=0):
        pass


async def test_missing_document(clean):
    """KeyNotFound, no lock stays, and nothing is created."""
    doc = Doc()
    for lock in (doc.lock(), Doc.lock_from_key("missing")):
        with pytest.raises(KeyNotFound):
            await lock.__aenter__()
    assert await clean.keys() == []


async def test_document_deleted_in_the_body(clean):
    """Saving at the end then is KeyNotFound; nothing is recreated, the lock is released."""
    doc = await Doc().save()

    async def block():
        async with doc.lock(save_at_end=True):
            doc.n = 1
            await clean.delete(doc.key)

    with pytest.raises(KeyNotFound):
        await block()
    assert await clean.keys() == []


@pytest.mark.parametrize("timeout", [0, 0.2])
async def test_timeout(clean, timeout):
    """A taken lock is a LockTimeout after that long, which is a TimeoutError and names lock and key."""
    doc = await Doc().save()
    other = await Doc.get(doc.key)

    async def wait():
        async with other.lock("act", timeout=timeout):
            pytest.fail("entered")

    async with doc.lock("act"):
        started = time.monotonic()
        with pytest.raises(LockTimeout, match="act") as error:
            await asyncio.create_task(wait())
        assert timeout <= time.monotonic() - started < timeout + 3
    assert isinstance(error.value, TimeoutError)
    assert error.value.key == doc.key
    async with other.lock("act", timeout=timeout):
        pass


async def test_senseless_arguments(clean):
    """A negative timeout or a lease of nothing is refused before anything is sent."""
    doc = await Doc().save()
    leases = (0, -1, 1e-9, 1e14, math.inf, math.nan, "1", True)
    for options in ({"timeout": -1}, {"timeout": math.nan}, *({"lease": lease} for lease in leases)):
        with pytest.raises(UsageError):
            await doc.lock(**options).__aenter__()


async def test_reentry(clean):
    """Entering a lock this task holds is a UsageError instead of a hang; another action is another lock."""
    doc = await Doc().save()
    async with doc.lock("a"):
        for again in (doc.lock("a"), Doc.lock_from_key(doc.key, "a")):
            with pytest.raises(UsageError, match="'a'"):
                await again.__aenter__()
        async with doc.lock("b"):
            await doc.n.increase()
    async with doc.lock("a"):
        pass
    assert doc.n == 1


async def test_actions_and_documents_are_independent(clean):
    """Different actions, and different documents, do not exclude each other."""
    one, two = await Doc().save(), await Doc().save()

    async def take(doc, action):
        async with doc.lock(action, timeout=0):
            pass

    async with one.lock("a"):
        await asyncio.create_task(take(one, "b"))
        await asyncio.create_task(take(two, "a"))


async def test_the_key_stays(clean):
    """Changing the key field under a lock that saves is refused; nothing is written, the lock is released."""

    class Keyed(AtomicRedisModel):
        slug: Key[str]
        n: int = 0

    keyed = await Keyed(slug="a").save()

    async def block():
        async with keyed.lock(save_at_end=True):
            keyed.n = 5
            keyed.slug = "b"

    with pytest.raises(UsageError, match="key"):
        await block()
    assert await Keyed.afind() == [Keyed(slug="a")]


async def test_fifty_tasks(clean):
    """Fifty tasks that read, wait and write lose nothing, and never overlap."""
    doc = await Doc().save()
    inside = 0

    async def work(i):
        nonlocal inside
        async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
            inside += 1
            assert inside == 1
            seen = mine.n
            await asyncio.sleep(0.001)
            mine.n = seen + 1
            mine.items.append(i)
            inside -= 1

    await asyncio.gather(*map(work, range(50)))
    await doc.load()
    assert (doc.n, sorted(doc.items)) == (50, list(range(50)))


async def test_cancelled_waiter(clean):
    """Cancelling waiters, at any moment, leaves nothing behind, and the lock goes on."""
    doc = await Doc().save()

    async def wait():
        async with Doc.lock_from_key(doc.key):
            await asyncio.sleep(10)

    async with doc.lock():
        waiters = [asyncio.create_task(wait()) for _ in range(20)]
        for waiter in waiters:
            await asyncio.sleep(0.002)
            waiter.cancel()
        results = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    async with doc.lock(timeout=0.5):
        pass


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_any_moment(clean, turns):
    """Cancelling after any number of turns of the loop leaves no lock behind, and nothing half written."""
    doc = await Doc().save()

    async def work():
        async with doc.lock(save_at_end=True):
            doc.n += 1
            await asyncio.sleep(0)
            doc.table["a"] += 1

    task = asyncio.create_task(work())
    for _ in range(turns * 3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with doc.lock(timeout=1):
        assert doc.n == doc.table["a"] - 1


async def test_cancelled_holder(clean, stored):
    """Cancelling a holder releases the lock and saves nothing."""
    doc = await Doc().save()
    inside = asyncio.Event()

    async def hold():
        async with Doc.lock_from_key(doc.key, save_at_end=True) as mine:
            mine.n = 5
            inside.set()
            await asyncio.sleep(10)

    task = asyncio.create_task(hold())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await stored(doc.key, "$.n") == 0
    async with doc.lock(timeout=0):
        pass


# -- what the block already wrote or read is not saved again ---------------------------------------------------------


async def _atomic(doc):
    await doc.n.increase()
    await doc.items.aappend(1)
    await doc.table.aset_item("a", 5)
    await doc.inner.x.increase()


async def _update(doc):
    await doc.aupdate(n=1, items=[1], table={"a": 5, "b": 2})
    await doc.inner.aupdate(x=1)


async def _pipeline(doc):
    async with doc.pipeline():
        doc.n += 1
        doc.items.append(1)
        doc.table["a"] = 5
        doc.inner.x += 1


async def _save(doc):
    doc.n, doc.items, doc.table["a"], doc.inner.x = 1, [1], 5, 1
    await doc.save()


async def _save_values(doc):
    doc.n, doc.items, doc.table["a"], doc.inner.x = 1, [1], 5, 1
    await doc.n.save()
    await doc.items.save()
    await doc.table.save()
    await doc.inner.save()


async def _others(doc):
    other = await Doc.get(doc.key)
    await other.n.increase()
    await other.items.aappend(2)
    await other.table.aset_item("c", 3)
    await other.inner.x.increase()


@pytest.mark.parametrize("write", [_atomic, _update, _pipeline, _save, _save_values])
async def test_what_was_written_in_the_block_is_not_saved_again(clean, write):
    """So what others did to it after that survives; what the body changed besides is saved."""
    doc = await Doc().save()
    async with doc.lock(save_at_end=True):
        await write(doc)
        await asyncio.create_task(_others(doc))
        doc.s = "mine"
        doc.inner.y = 9
    found = await Doc.get(doc.key)
    assert (found.n, found.items, found.table, found.s) == (2, [1, 2], {"a": 5, "b": 2, "c": 3}, "mine")
    assert (found.inner.x, found.inner.y) == (2, 9)


@pytest.mark.parametrize("nested", [False, True])
async def test_what_was_read_in_the_block_is_not_saved(clean, nested):
    """A load inside the block, or another lock of the same document, brings what others did, and leaves it theirs."""
    doc = await Doc().save()
    async with doc.lock(save_at_end=True):
        await asyncio.create_task(_others(doc))
        if nested:
            async with doc.lock("other"):
                pass
        else:
            await doc.load()
        await asyncio.create_task(_others(doc))
        await doc.inner.load()
        await doc.n.load()
        await asyncio.create_task(_others(doc))
        doc.s = "mine"
    found = await Doc.get(doc.key)
    assert (found.n, found.items, found.inner.x, found.s) == (3, [2, 2, 2], 3, "mine")


async def test_what_was_written_in_the_block_and_changed_again_is_saved(clean):
    """Assignments after the write are changes as ever, also when they bring back what was there at first."""
    doc = await Doc().save()
    async with doc.lock(save_at_end=True):
        doc.inner.y = 4
        await doc.n.increase(5)
        await doc.inner.x.increase(5)
        await doc.aupdate(items=[1])
        doc.n = 0
        doc.inner.x = 7
        doc.items = []
    found = await Doc.get(doc.key)
    assert (found.n, found.items, found.inner) == (0, [], Inner(x=7, y=4))


async def test_elements_written_in_the_block(clean):
    """An operation on an element is not saved again; a list that was changed besides is saved whole."""

    class Rows(AtomicRedisModel):
        rows: list[Inner] = [Inner(), Inner()]
        more: list[Inner] = [Inner()]

    doc = await Rows().save()
    async with doc.lock(save_at_end=True):
        await doc.rows[1].x.increase()
        doc.more.append(Inner(y=1))
        await doc.more[0].x.increase()
        other = await Rows.get(doc.key)
        await other.rows[1].x.increase()
    found = await Rows.get(doc.key)
    assert found.rows == [Inner(), Inner(x=2)]
    assert found.more == [Inner(x=1), Inner(y=1)]


@pytest.mark.parametrize(
    ("change", "saved"),
    [
        (lambda doc: setattr(doc, "inner", Inner(x=1)), {"inner": {"x": 1, "y": 0}}),
        (lambda doc: setattr(doc.inner, "y", 2), {"inner": {"x": 0, "y": 2}}),
        (lambda doc: doc.table.pop("a"), {"table": {"b": 2}}),
        (lambda doc: setattr(doc, "table", {"c": 3}), {"table": {"c": 3}}),
        (lambda doc: setattr(doc.inners["k"], "x", 3), {"inners": {"k": {"x": 3, "y": 0}}}),
    ],
    ids=["model", "in a model", "pop", "dict", "in a model in a dict"],
)
async def test_members_that_the_document_lacks(clean, change, saved):
    """What a document of an older class has no member for is saved, too, with all that is in it."""
    await clean.json().set("Doc:1", "$", {"n": 1})
    async with Doc.lock_from_key("1", save_at_end=True) as doc:
        doc.n += 1
        change(doc)
    assert await clean.json().get("Doc:1") == {"n": 2, **saved}
    assert await Doc.get("1") == doc


@pytest.mark.parametrize("reads", ["load", "pipeline", "lock"])
async def test_members_that_the_document_lacks_after_a_read(clean, reads):
    """What a read in the block finds missing is missing still."""
    await clean.json().set("Doc:1", "$", {"n": 1})
    async with Doc.lock_from_key("1", save_at_end=True) as doc:
        if reads == "load":
            await doc.load()
        elif reads == "pipeline":
            async with doc.pipeline():
                doc.n += 1
        else:
            async with doc.lock("inner", save_at_end=True):
                doc.n += 1
        doc.inner.y = 2
        doc.table["c"] = 3
    stored = await clean.json().get("Doc:1")
    assert (stored["inner"], stored["table"]["c"]) == ({"x": 0, "y": 2}, 3)
    assert await Doc.get("1") == doc


async def test_a_save_beside_what_cannot_be_saved(clean):
    """A part is saved in the block, though something else in the document could not be just then."""

    class Odd(AtomicRedisModel):
        tags: list[str] = []
        meta: Any = None

    odd = await Odd().save()
    async with odd.lock(save_at_end=True):
        odd.meta = object()
        odd.tags.append("a")
        await odd.tags.save()
        odd.meta = 1
    assert await clean.json().get(odd.key) == {"tags": ["a"], "meta": 1}


async def test_a_member_written_in_the_block(clean):
    """What a write in the block gave the document is there for what is saved at its end."""
    await clean.json().set("Doc:1", "$", {"n": 1})
    async with Doc.lock_from_key("1", save_at_end=True) as doc:
        await doc.inner.save()
        doc.inner.y = 2
        await clean.json().set("Doc:1", "$.inner.x", 7)
    assert await clean.json().get("Doc:1") == {"n": 1, "inner": {"x": 7, "y": 2}}


@pytest.mark.parametrize("save", [True, False])
async def test_a_part_that_is_gone(clean, save):
    """A lock on a part that the document has no more is refused, and given back: its changes would be nobody's."""
    doc = await Doc(inners={"k": Inner(), "l": Inner()}).save()
    part = doc.inners["k"]
    await (await Doc.get(doc.key)).inners.apop("k")
    with pytest.raises(UsageError, match="no longer in its dict"):
        async with part.lock(save_at_end=save):
            pytest.fail("entered")
    async with doc.lock(timeout=0):
        pass


class Counts(AtomicRedisModel):
    """What several write at the same time."""

    a: int = 0
    b: int = 0
    xs: list[int] = []


@pytest.mark.parametrize("part", [False, True])
async def test_a_change_while_another_write_is_on_its_way(clean, part):
    """What is changed after a write was sent, and before its answer came, is not taken for written."""
    counts = await Counts().save()
    async with counts.lock(save_at_end=True) as mine:
        mine.a = 1
        writing = asyncio.ensure_future(mine.a.save() if part else mine.save())
        await asyncio.sleep(0)
        mine.a, mine.b = 3, 2
        await writing
    assert await clean.json().get(counts.key) == {"a": 3, "b": 2, "xs": []}


async def test_a_change_while_another_block_saves(clean):
    """Nor is it where another block, under another lock, is about to end."""
    counts = await Counts().save()
    inside = asyncio.Event()

    async def first():
        async with counts.lock("first", save_at_end=True):
            await inside.wait()
            counts.a = 1

    ending = asyncio.create_task(first())
    await asyncio.sleep(0.05)
    async with counts.lock("second", save_at_end=True):
        inside.set()
        while not ending.done():
            await asyncio.sleep(0)
            counts.b = min(counts.b + 1, 3)
    assert await clean.json().get(counts.key) == {"a": 1, "b": 3, "xs": []}


@pytest.mark.parametrize("way", ["block", "save", "part", "update"])
async def test_a_block_that_begins_while_another_write_is_on_its_way(clean, way):
    """It read the document before that write, so it does not put back what it read."""
    counts = await Counts().save()
    left = asyncio.Event()

    async def second():
        async with counts.lock("second", save_at_end=True):
            await left.wait()

    async with counts.lock("first", save_at_end=way == "block"):
        beginning = asyncio.create_task(second())
        counts.a = 5
        await asyncio.sleep(0)  # it asks for its lock, and for the document
        if way == "save":
            await counts.save()
        elif way == "part":
            await counts.a.save()
        elif way == "update":
            await counts.aupdate(a=5)
    left.set()
    await beginning
    assert await clean.json().get(counts.key, "$.a") == [5]
