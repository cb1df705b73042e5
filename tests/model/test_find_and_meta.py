# ruff: noqa: PLW0108 - a lambda takes the field anew each time
"""Finding documents, `rapyer.get`, expiry, and the inheritance of `Meta`."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
from connections import database
from pydantic import BaseModel

import rapyer
from rapyer import AtomicRedisModel, RedisConfig
from rapyer.errors import KeyNotFound, UsageError
from rapyer.fields import Key


class Found(AtomicRedisModel):
    """A document."""

    score: int = 0


def named(prefix):
    """Return a class with this prefix."""

    class Named(AtomicRedisModel):
        slug: Key[str] = "a"

        @classmethod
        def class_key_initials(cls):
            return prefix

    return Named


async def test_ten_thousand(bound):
    """Ten thousand documents are found, each once, without KEYS."""
    ones = await Found().duplicate_many(10_000)
    await bound.config_resetstat()
    keys = await Found.afind_keys()
    assert len(keys) == 10_000
    assert set(keys) == {one.key for one in ones}
    assert len(await Found.afind()) == 10_000
    stats = await bound.info("commandstats")
    assert "cmdstat_keys" not in stats
    assert stats["cmdstat_scan"]["calls"] < 100


@pytest.mark.parametrize("prefix", ["a[b]", "a*", "*", "a?c", "a:b", "a\\b", "a^", "[^a]", "{tag}", "é", "a b"])
async def test_glob_characters(bound, prefix):
    """A prefix matches itself only."""
    for decoy in ("ab", "abc", "a", "b", "aXb", "x", "aa"):
        await named(decoy)(slug="z").save()
    one = await named(prefix)().save()
    assert await type(one).afind_keys() == [f"{prefix}:a"]
    assert (await type(one).get(one.key)).slug == "a"
    assert await type(one).delete_by_key("a") is True


async def test_prefix_starts_alike(bound):
    """A prefix does not match a longer one that starts with it."""
    short, long = named("User"), named("UserProfile")
    await short().save()
    await long().save()
    assert await short.afind_keys() == ["User:a"]
    assert await long.afind_keys() == ["UserProfile:a"]


async def test_locks_are_not_found(bound):
    """Helper keys and values of other kinds are no documents."""
    one = await Found().save()
    await bound.set("Found:text", "x")
    async with one.lock("a"), one.lock("b"):
        assert await Found.afind_keys() == [one.key]
        assert [found.key for found in await Found.afind()] == [one.key]


async def test_keys_of_other_programs(bound):
    """A key that is no text cannot be a model's: it is left out, and nothing fails."""
    one = await Found().save()
    await bound.execute_command("JSON.SET", b"Found:\xff", "$", "{}")
    assert await Found.afind_keys() == [one.key]
    assert [found.key for found in await Found.afind()] == [one.key]


async def test_vanishing_documents(bound):
    """What is deleted while documents are found is left out."""
    ones = await Found().duplicate_many(500)
    found, *_ = await asyncio.gather(Found.afind(), *(one.delete() for one in ones))
    assert len(found) <= 500
    assert await Found.afind() == []


async def test_get_by_prefix(bound):
    """`rapyer.get` finds the class; unknown and shared prefixes are UsageErrors."""
    one = await Found(score=3).save()
    again = await rapyer.get(one.key)
    assert (type(again), again.score, again.key) == (Found, 3, one.key)
    with pytest.raises(UsageError, match="NoSuchClass"):
        await rapyer.get("NoSuchClass:1")
    with pytest.raises(KeyNotFound):
        await rapyer.get("Found:nothing")


async def test_shared_prefix(bound):
    """Two classes with one prefix are named in the error; a class defined again replaces the first."""

    class One(AtomicRedisModel):
        slug: Key[str] = "a"

        @classmethod
        def class_key_initials(cls):
            return "Shared"

    class Two(One):
        pass

    await One().save()
    with pytest.raises(UsageError, match=r"One.*Two"):
        await rapyer.get("Shared:a")

    def define():
        class Again(AtomicRedisModel):
            slug: Key[str] = "a"

        return Again

    define()
    second = define()
    await second().save()
    assert type(await rapyer.get("Again:a")) is second


async def test_base_without_a_prefix(bound):
    """A class that cannot tell its prefix, an abstract base, is no other class's concern; its children are found."""
    asked = []

    class Tenant(AtomicRedisModel):
        slug: Key[str] = "a"

        @classmethod
        def class_key_initials(cls):
            asked.append(cls)
            return cls.PREFIX

    class Customer(Tenant):
        PREFIX: ClassVar[str] = "Found:C"

    one, other, odd = await Found().save(), await Customer().save(), await Customer(slug="x:y").save()
    assert (await Found.get(one.key)).key == (await rapyer.get(one.key)).key == one.key
    assert type(await rapyer.get("Found:C:a")) is type(await rapyer.get(odd.key)) is Customer
    assert await Found.afind_keys() == [one.key]
    with pytest.raises(KeyNotFound):
        await Found.get(other.key)
    assert await Found.delete_by_key(odd.key) is False
    assert await Found.delete_by_key(one.key) is True
    with pytest.raises(AttributeError):
        await Tenant.get("a")
    asked.clear()
    with pytest.raises(KeyNotFound):
        await Found.get(one.key)
    assert asked == []  # hundreds of classes are not gone through for a key that can only be one's own


async def test_every_write_sets_the_expiry(bound):
    """With a ttl each write starts it anew; reads do not."""

    class Brief(AtomicRedisModel):
        n: int = 0
        f: float = 0
        s: str = ""
        tags: list[int] = []
        table: dict[str, int] = {}

        class Meta:
            ttl = 100

    one = await Brief().save()

    async def lock_and_save():
        async with one.lock(save_at_end=True):
            one.n += 1

    async def pipeline():
        async with one.pipeline():
            one.n += 1

    writes = [
        lambda: one.save(),
        lambda: one.aupdate(n=1),
        lambda: one.n.increase(),
        lambda: one.n.save(),
        lambda: one.f.increase(1),
        lambda: one.s.aappend("x"),
        lambda: one.tags.aappend(1),
        lambda: one.tags.apop(),
        lambda: one.tags.aextend([3]),
        lambda: one.tags.ainsert(0, 1),
        lambda: one.tags.aset_item(0, 2),
        lambda: one.tags.aremove(2),
        lambda: one.tags.aclear(),
        lambda: one.table.aset_item("a", 1),
        lambda: one.table.aupdate(b=1),
        lambda: one.table.adel_item("a"),
        lambda: one.table.apop("b"),
        lambda: one.table.aset_item("\\'\"", 1),
        lambda: one.table.apopitem(),
        lambda: one.table.aclear(),
        lock_and_save,
        pipeline,
    ]
    for call in writes:
        await bound.pexpire(one.key, 5000)
        await call()
        assert 99_000 < await bound.pttl(one.key) <= 100_000
    copy = await one.duplicate()
    assert 99_000 < await bound.pttl(copy.key) <= 100_000
    await bound.pexpire(one.key, 5000)
    for read in (one.load, one.n.load, lambda: Brief.get(one.key), Brief.afind):
        await read()
        assert await bound.pttl(one.key) <= 5000


async def test_reads_refresh_if_asked(bound):
    """With refresh_ttl reads push the expiry out too."""

    class Kept(AtomicRedisModel):
        n: int = 0

        class Meta:
            ttl = 100
            refresh_ttl = True

    one = await Kept().save()

    async def lock():
        async with one.lock():
            pass

    for read in (one.load, one.n.load, lambda: Kept.get(one.key), Kept.afind, lambda: rapyer.get(one.key), lock):
        await bound.pexpire(one.key, 5000)
        await read()
        assert await bound.pttl(one.key) > 99_000


async def test_no_ttl(bound):
    """Without a ttl a document stays; a fraction of a second is kept to the millisecond."""
    assert await bound.pttl((await Found().save()).key) == -1

    class Short(AtomicRedisModel):
        class Meta:
            ttl = 0.5

    assert 0 < await bound.pttl((await Short().save()).key) <= 500


async def test_init_ttl(client):
    """The ttl of init_rapyer is for models without their own."""

    class Own(AtomicRedisModel):
        class Meta:
            ttl = 10

    await rapyer.init_rapyer(client, ttl=50)
    try:
        with pytest.raises(UsageError, match=r"ttl.*-1"):
            await rapyer.init_rapyer(object(), ttl=-1)  # refused before anything is asked or bound
        assert AtomicRedisModel.Meta.redis is client
        assert 40 < await client.ttl((await Found().save()).key) <= 50
        assert 0 < await client.ttl((await Own().save()).key) <= 10
    finally:
        await rapyer.teardown_rapyer()


def test_meta_inheritance():
    """Options that are not given come from the parent, also when it is changed later."""

    class Parent(AtomicRedisModel):
        class Meta:
            ttl = 10
            lock_lease = 5

    class Child(Parent):
        class Meta:
            ttl = 20

    class Grandchild(Child):
        pass

    assert (Child.Meta.ttl, Child.Meta.lock_lease, Grandchild.Meta.ttl) == (20, 5, 20)
    Parent.Meta.lock_lease = 7
    assert (Child.Meta.lock_lease, Grandchild.Meta.lock_lease) == (7, 7)
    client = object()
    Parent.Meta.redis = client
    assert Grandchild.Meta.redis is client
    assert AtomicRedisModel.Meta.redis is None
    assert isinstance(Grandchild.Meta, RedisConfig)


def test_meta_as_type_checkers_want_it():
    """`class Meta(Parent.Meta)` says the same as `class Meta`: only its own options are its own."""

    class Parent(AtomicRedisModel):
        class Meta:
            ttl = 60
            lock_lease = 5

    class Child(Parent):
        class Meta(Parent.Meta):
            lock_lease = 7

    assert (Child.Meta.ttl, Child.Meta.lock_lease) == (60, 7)
    assert Child.Meta.own_options() == {"lock_lease": 7}
    Parent.Meta.ttl = 61
    assert Child.Meta.ttl == 61


def test_bases_of_meta():
    """What a `Meta` is made from counts, whether it is a class of its own or another model's `Meta`."""

    class Common:
        ttl = 50
        lock_lease = 7.0

    class Parent(AtomicRedisModel):
        class Meta(Common):
            lock_lease = 8.0

    class Child(Parent):
        class Meta(Parent.Meta):
            refresh_ttl = True

    class Cousin(AtomicRedisModel):
        class Meta(Child.Meta):
            ttl = 60

    def options(cls):
        return cls.Meta.ttl, cls.Meta.lock_lease, cls.Meta.refresh_ttl

    assert options(Parent) == (50, 8.0, False)
    assert options(Child) == (50, 8.0, True)
    assert options(Cousin) == (60, 8.0, True)
    Parent.Meta.ttl, Child.Meta.refresh_ttl = 70, False
    assert (options(Child), options(Cousin)) == ((70, 8.0, False), (60, 8.0, False))

    class Typo:
        tll = 1

    with pytest.raises(UsageError, match=r"Misled\.Meta: unknown Meta option 'tll'"):

        class Misled(AtomicRedisModel):
            class Meta(Typo):
                pass


def test_meta_of_several_parents():
    """An option comes from the first parent that was given it, in Python's order, models and mixins alike."""

    class Mixin:
        class Meta:
            lock_lease = 4.0
            refresh_ttl = True

    class Brief(AtomicRedisModel):
        class Meta:
            ttl = 5

    class Leased(AtomicRedisModel):
        class Meta:
            ttl = 6
            lock_lease = 3.0

    class Both(Brief, Leased, Mixin):
        pass

    class Below(Both):
        pass

    for cls in (Both, Below):
        assert (cls.Meta.ttl, cls.Meta.lock_lease, cls.Meta.refresh_ttl) == (5, 3.0, True)
    Leased.Meta.ttl, Leased.Meta.lock_lease = 9, 2.0
    assert (Below.Meta.ttl, Below.Meta.lock_lease) == (5, 2.0)
    Below.Meta.ttl = None
    assert (Both.Meta.ttl, Below.Meta.ttl) == (5, None)

    class Plain(BaseModel):
        n: int = 0

        class Meta:
            table = "of another library"

    class Holder(AtomicRedisModel):
        inner: Plain = Plain()  # a nested model's options do not count

    assert Holder().inner == Plain()
    with pytest.raises(UsageError, match=r"Plain\.Meta: unknown Meta option 'table'"):

        class Heir(Plain, AtomicRedisModel):
            pass


async def test_no_client_of_its_own(bound):
    """`redis = None` means the parent's client, when the class is defined and later."""

    class Bare(AtomicRedisModel):
        n: int = 0

        class Meta:
            redis = None
            ttl = 50

    one = await Bare().save()
    Bare.Meta.redis = object()
    Bare.Meta.redis = None
    assert Bare.Meta.redis is bound
    assert await one.n.increase() == 1
    AtomicRedisModel.Meta.redis = None
    assert Bare.Meta.redis is None


def test_options_and_threads():
    """Models may be defined and let go while other threads bind: each has the options that are in force in the end."""

    class Parent(AtomicRedisModel):
        pass

    stop, errors = threading.Event(), []

    def define():
        kept = []
        try:
            while not stop.is_set():
                kept += [RedisConfig(Parent.Meta) for _ in range(20)]
                kept = kept[-200:]
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)
        return kept

    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(define) for _ in range(2)]
        try:
            for number in range(1, 60):
                Parent.Meta.lock_lease = number
        finally:
            stop.set()
        leases = {config.lock_lease for future in made for config in future.result()}
    assert (errors, leases) == ([], {59})


def test_options_in_a_forked_child():
    """A child that is forked while threads define models can define some itself."""
    code = """
import os, threading
from rapyer import RedisConfig

def define():
    while True:
        RedisConfig(parent)

parent = RedisConfig()
for _ in range(2):
    threading.Thread(target=define, daemon=True).start()
for _ in range(10):
    child = os.fork()
    if not child:
        RedisConfig(parent, ttl=1)
        os._exit(0)
    os.waitpid(child, 0)
os._exit(0)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_unknown_options():
    """An unknown option or a senseless value is an error at class definition that lists or says what is right."""
    with pytest.raises(UsageError, match=r"tll.*lock_lease.*redis.*ttl"):

        class Typo(AtomicRedisModel):
            class Meta:
                tll = 1

    with pytest.raises(UsageError, match="ttl"):

        class Negative(AtomicRedisModel):
            class Meta:
                ttl = -1

    with pytest.raises(UsageError, match="unknown"):
        Found.Meta.tll = 1


@pytest.mark.one_server("a cluster has one database")
async def test_own_client(stack, client):
    """A model with its own client stays with it when others are bound."""
    other = client.__class__.from_url(database(stack.url, 1))

    class Elsewhere(AtomicRedisModel):
        n: int = 0

        class Meta:
            redis = other

    class Holder(AtomicRedisModel):
        inner: Elsewhere = Elsewhere()

    await rapyer.init_rapyer(client)
    try:
        one = await Elsewhere().save()
        assert await other.exists(one.key)
        assert not await client.exists(one.key)
        holder = await Holder().save()
        assert await holder.inner.n.increase() == 1
        assert await client.exists(holder.key)
        Elsewhere.Meta.redis = client
        with pytest.raises(KeyNotFound):
            await one.load()
    finally:
        await other.flushdb()
        await other.aclose()
        await rapyer.teardown_rapyer()
