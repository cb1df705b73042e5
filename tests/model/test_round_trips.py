"""How many commands each call of the library sends, counted with MONITOR."""

from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import pytest

import rapyer
from rapyer import AtomicRedisModel

pytestmark = pytest.mark.one_server("MONITOR shows what one is sent")


class Fields(AtomicRedisModel):
    """One field of each type that has operations."""

    n: int = 1
    f: float = 1.0
    s: str = "s"
    d: datetime = datetime(2024, 1, 1, tzinfo=timezone.utc)
    items: list[int] = [1, 2, 3]
    table: dict[str, int] = {"a": 1, "b": 2}


class Counted(Fields):
    """A document."""

    inner: Fields = Fields()
    many: list[Fields] = [Fields()]
    named: dict[str, Fields] = {"k": Fields(), "it's \"\\": Fields()}


class Brief(Counted):
    """A document that expires, and whose reads count."""

    class Meta:
        """The options."""

        ttl = 100
        refresh_ttl = True


@pytest.fixture
def counted(bound, stack):
    """Count the commands that clients send while a block runs; what scripts call is not counted."""

    @asynccontextmanager
    async def count():
        seen = []
        raw = bound.__class__.from_url(stack.url)
        async with raw.monitor() as monitor:
            yield seen
            await bound.echo("end of block")
            async for command in monitor.listen():
                if command["command"].startswith("ECHO end of block"):
                    break
                if command["client_type"] != "lua":
                    seen.append(command["command"].split()[0].upper())
        await raw.aclose()

    return count


kinds = pytest.mark.parametrize("kind", [Counted, Brief])

CALLS = {
    "save": lambda doc: doc.save(),
    "load": lambda doc: doc.load(),
    "get": lambda doc: type(doc).get(doc.key),
    "rapyer.get": lambda doc: rapyer.get(doc.key),
    "aupdate": lambda doc: doc.aupdate(n=5, s="x", items=[1], table={}),
    "nested aupdate": lambda doc: doc.inner.aupdate(n=5, s="x"),
    "duplicate": lambda doc: doc.duplicate(),
    "duplicate_many": lambda doc: doc.duplicate_many(50),
    "delete": lambda doc: doc.delete(),
    "delete_by_key": lambda doc: type(doc).delete_by_key(doc.key),
    "nested save": lambda doc: doc.inner.save(),
    "nested load": lambda doc: doc.many[0].load(),
    "value save": lambda doc: doc.inner.table.save(),
    "value load": lambda doc: doc.many[0].items[1].load(),
}


@kinds
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_one_command(counted, kind, call):
    """A call of a model is one command, with or without ttl."""
    doc = await kind().save()
    async with counted() as seen:
        await call(doc)
    assert seen == ["EVALSHA"]


OPERATIONS = {
    "increase": lambda part: part.n.increase(),
    "increase float": lambda part: part.f.increase(0.1),
    "append text": lambda part: part.s.aappend("x"),
    "move": lambda part: part.d.aadd(timedelta(1)),
    "aappend": lambda part: part.items.aappend(1),
    "aextend": lambda part: part.items.aextend([1, 2]),
    "ainsert": lambda part: part.items.ainsert(0, 1),
    "apop": lambda part: part.items.apop(),
    "aremove": lambda part: part.items.aremove(2),
    "list aset_item": lambda part: part.items.aset_item(0, 1),
    "list aclear": lambda part: part.items.aclear(),
    "aset_item": lambda part: part.table.aset_item("x", 1),
    "adel_item": lambda part: part.table.adel_item("a"),
    "dict aupdate": lambda part: part.table.aupdate(x=1, y=2),
    "dict apop": lambda part: part.table.apop("a"),
    "apopitem": lambda part: part.table.apopitem(),
    "dict aclear": lambda part: part.table.aclear(),
}
PLACES = {
    "top": lambda doc: doc,
    "nested": lambda doc: doc.inner,
    "element": lambda doc: doc.many[0],
    "value": lambda doc: doc.named["k"],
    "unwritable": lambda doc: doc.named["it's \"\\"],
}


@kinds
@pytest.mark.parametrize("take", PLACES.values(), ids=PLACES)
async def test_operations(counted, kind, take):
    """Each operation is one command wherever its field stands."""
    doc = await kind().save()
    for name, operate in OPERATIONS.items():
        async with counted() as seen:
            await operate(take(doc))
        assert (name, seen) == (name, ["EVALSHA"])


@kinds
async def test_pipeline(counted, kind):
    """A block is two commands however much it does; one when it does nothing."""
    doc = await kind().save()
    async with counted() as seen, doc.pipeline():
        for _ in range(50):
            doc.n += 1
            doc.items.append(1)
            doc.table["x"] = 1
            doc.named["it's \"\\"].n += 1
            await doc.inner.n.increase()
            await doc.save()
    assert seen == ["EVALSHA"] * 2
    async with counted() as seen, doc.pipeline():
        pass
    assert seen == ["EVALSHA"]


async def test_pipeline_of_many_models(counted):
    """A block of the module's pipeline is one command."""
    docs = [await Counted().save() for _ in range(5)]
    async with counted() as seen, rapyer.pipeline():
        for doc in docs:
            doc.n += 1
    assert seen == ["EVALSHA"]


@kinds
@pytest.mark.parametrize("by_key", [False, True])
async def test_lock(counted, kind, by_key):
    """A lock that saves, or does not, is two commands."""
    doc = await kind().save()
    for save in (False, True):
        lock = kind.lock_from_key(doc.key, "a", save) if by_key else doc.lock("a", save)
        async with counted() as seen, lock as mine:
            mine.n = 50 + mine.n
            mine.table["z"] = mine.n
        assert seen == ["EVALSHA"] * 2


async def test_finding(counted):
    """A walk is one SCAN for each thousand keys, loading one script for each hundred documents."""
    await Counted().duplicate_many(250)
    async with counted() as seen:
        assert len(await Counted.afind_keys()) == 250
    assert seen == ["SCAN"]
    async with counted() as seen:
        assert len(await Counted.afind()) == 250
    assert seen == ["SCAN", "EVALSHA", "EVALSHA", "EVALSHA"]


async def test_local_work(counted):
    """What is local sends nothing."""
    doc = await Counted().save()
    async with counted() as seen:
        doc.update(n=1)
        doc.n += 1
        doc.items.append(1)
        doc.table["a"] = 1
        assert doc.inner.n.json_path
        assert doc.model_copy()
        assert await doc.duplicate_many(0) == []
        await doc.aupdate()
    assert seen == []
