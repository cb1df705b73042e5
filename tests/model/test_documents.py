"""Documents: save, load, delete, duplicate, update, and by key."""

from typing import Annotated
from uuid import uuid4

import pytest
from pydantic import Field, ValidationError

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import CorruptDocument, KeyNotFound, UsageError, WrongType
from rapyer.fields import Key, KeyAnnotation


class Paper(AtomicRedisModel):
    """A document."""

    name: str = "n"
    score: int = 0
    tags: list[str] = []


class Keyed(AtomicRedisModel):
    """A document whose key is a field."""

    slug: Key[str]
    score: int = 0


class Made(AtomicRedisModel):
    """A document whose key field makes keys."""

    slug: Annotated[str, KeyAnnotation] = Field(default_factory=lambda: uuid4().hex)
    score: int = 0


async def test_save_overwrites(bound, stored, write):
    """Saving writes the whole document and is how a deleted one is made again."""
    doc = await Paper().save()
    await write(doc.key, "$", {"name": "x", "other": 1})
    await doc.save()
    assert await stored(doc.key) == {"name": "n", "score": 0, "tags": []}
    await doc.delete()
    await doc.save()
    assert await bound.exists(doc.key)


async def test_load_takes_everything(bound, write):
    """Loading replaces every field and returns the instance."""
    doc = await Paper(tags=["a"]).save()
    await write(doc.key, "$", {"name": "x", "score": 5, "tags": []})
    doc.score = 9
    assert await doc.load() is doc
    assert doc == Paper(name="x", score=5, tags=[])


async def test_missing(bound):
    """What is not there: KeyNotFound from get and load, False from deletes, and nothing appears."""
    doc = Paper()
    for call in (doc.load(), Paper.get(doc.key), Paper.get("nothing"), doc.aupdate(score=1), doc.score.increase()):
        with pytest.raises(KeyNotFound):
            await call
    assert await doc.delete() is False
    assert await Paper.delete_by_key(doc.key) is False
    assert await bound.keys() == []


async def test_full_key_or_pk(bound):
    """A key may be given in full or as the bare pk; a pk may contain colons."""
    keyed = await Keyed(slug="a:b").save()
    assert (await Keyed.get("Keyed:a:b")).slug == "a:b"
    assert (await Keyed.get("a:b")).key == keyed.key
    assert await Keyed.delete_by_key("a:b") is True


async def test_another_class_is_refused(bound):
    """A class neither reads nor deletes what belongs to another."""
    doc = await Paper().save()
    with pytest.raises(KeyNotFound):
        await Keyed.get(doc.key)
    assert await Keyed.delete_by_key(doc.key) is False
    with pytest.raises(KeyNotFound):
        async with Keyed.lock_from_key(doc.key):
            pass
    assert await bound.keys() == [doc.key.encode()]


async def test_prefix_of_a_prefix(bound):
    """`A` and `A:B` as prefixes: each class sees its own documents only."""

    class Outer(AtomicRedisModel):
        slug: Key[str] = "x"

    class Inner(AtomicRedisModel):
        slug: Key[str] = "y"

        @classmethod
        def class_key_initials(cls):
            return "Outer:Inner"

    await Outer().save()
    inner = await Inner().save()
    assert await Outer.afind_keys() == ["Outer:x"]
    assert await Inner.afind_keys() == ["Outer:Inner:y"]
    with pytest.raises(KeyNotFound):
        await Outer.get(inner.key)
    assert await Outer.delete_by_key(inner.key) is False
    assert type(await rapyer.get(inner.key)) is Inner
    assert [one.slug for one in await Outer.afind()] == ["x"]


async def test_wrong_type_under_the_key(bound):
    """A key that holds no document is WrongType for all, and stays as it is."""
    doc = Paper()
    await bound.set(doc.key, "theirs")
    calls = [
        doc.save(),
        doc.load(),
        Paper.get(doc.key),
        doc.aupdate(score=1),
        doc.delete(),
        Paper.delete_by_key(doc.key),
    ]
    calls += [doc.score.increase(), doc.tags.aappend("x"), doc.tags.load(), doc.tags.save()]
    for call in calls:
        with pytest.raises(WrongType, match="Paper:"):
            await call
    for block in (doc.lock(), doc.pipeline()):
        with pytest.raises(WrongType):
            await block.__aenter__()
    assert await bound.get(doc.key) == b"theirs"
    assert await bound.keys() == [doc.key.encode()]
    assert await Paper.afind_keys() == []


async def test_corrupt(bound, write):
    """A stored document that does not validate is CorruptDocument, caused by Pydantic's error, and no local change."""
    doc = await Paper(score=1).save()
    await write(doc.key, "$.score", "text")
    calls = [doc.load(), Paper.get(doc.key), Paper.afind(), rapyer.get(doc.key)]
    for call in calls:
        with pytest.raises(CorruptDocument, match="Paper:") as error:
            await call
        assert isinstance(error.value.__cause__, ValidationError)
        assert error.value.key == doc.key
    for block in (doc.lock(), Paper.lock_from_key(doc.key), doc.pipeline()):
        with pytest.raises(CorruptDocument):
            await block.__aenter__()
    assert doc.score == 1
    assert await bound.keys() == [doc.key.encode()]


async def test_duplicate(bound, stored):
    """Copies hold the present local values, under new keys, and are independent."""
    doc = await Paper(tags=["a"]).save()
    doc.score = 5
    copies = await doc.duplicate_many(3)
    assert len({copy.key for copy in copies} | {doc.key}) == 4
    for copy in copies:
        assert await stored(copy.key) == {"name": "n", "score": 5, "tags": ["a"]}
    await copies[0].tags.aappend("b")
    assert (doc.tags, copies[1].tags) == (["a"], ["a"])
    assert await stored(doc.key, "$.score") == 0
    assert type(await doc.duplicate()) is Paper


async def test_duplicate_numbers(bound):
    """Zero gives an empty list; a negative or no integer is refused before anything is written."""
    doc = Paper()
    assert await doc.duplicate_many(0) == []
    for bad in (-1, 1.0, "2", None, True):
        with pytest.raises(UsageError, match="duplicate_many"):
            await doc.duplicate_many(bad)
    assert await bound.keys() == []


async def test_duplicate_of_keyed(bound, stored):
    """The key field's default_factory makes the copies' keys; without one it is refused, also for a taken key."""
    made = await Made(score=3).save()
    copies = await made.duplicate_many(2)
    assert len({made.slug, *(copy.slug for copy in copies)}) == 3
    for copy in copies:
        assert await stored(f"Made:{copy.slug}") == {"slug": copy.slug, "score": 3}
    with pytest.raises(UsageError, match="default_factory"):
        await Keyed(slug="a").duplicate()

    class Clash(AtomicRedisModel):
        slug: Key[str] = Field(default_factory=lambda: "same")

    await Clash(slug="other").duplicate()
    before = await bound.dbsize()
    with pytest.raises(UsageError, match="taken"):
        await Clash(slug="other").duplicate()
    assert await bound.dbsize() == before


async def test_duplicate_is_all_or_none(bound):
    """One taken key among several: no copy is written."""
    keys = iter(["one", "taken", "two"])

    class Numbered(AtomicRedisModel):
        slug: Key[str] = Field(default_factory=lambda: next(keys))

    await Numbered(slug="taken").save()
    with pytest.raises(UsageError, match="taken"):
        await Numbered(slug="x").duplicate_many(3)
    assert await Numbered.afind_keys() == ["Numbered:taken"]


def test_update_validates_first():
    """One bad value of three: no field changes; an unknown field is a UsageError."""
    doc = Paper()
    with pytest.raises(ValidationError):
        doc.update(name="new", score="no number", tags=["x"])
    with pytest.raises(UsageError, match="nmae"):
        doc.update(nmae="new", score=1)
    assert doc == Paper()
    doc.update(name="new", tags=["x"])
    assert doc == Paper(name="new", tags=["x"])
    doc.update()


async def test_aupdate(bound, stored, write):
    """Given fields only are written; others in Redis stay; local values follow."""
    doc = await Paper().save()
    await write(doc.key, "$.name", "theirs")
    tags = doc.tags
    assert await doc.aupdate(score=2, tags=["x"]) is None
    assert await stored(doc.key) == {"name": "theirs", "score": 2, "tags": ["x"]}
    assert (doc.score, tags, doc.tags is tags) == (2, ["x"], True)
    await doc.aupdate()


async def test_aupdate_validates_first(bound, stored):
    """One bad value of three, or an unknown field: nothing changes, here or there."""
    doc = await Paper().save()
    with pytest.raises(ValidationError):
        await doc.aupdate(name="new", score="no number", tags=["x"])
    with pytest.raises(UsageError, match="nmae"):
        await doc.aupdate(nmae="new", score=1)
    assert doc == Paper()
    assert await stored(doc.key) == Paper().model_dump()


async def test_aupdate_of_a_deleted_document(bound):
    """KeyNotFound; nothing is recreated and nothing changes locally."""
    doc = await Paper().save()
    await Paper.delete_by_key(doc.key)
    with pytest.raises(KeyNotFound):
        await doc.aupdate(score=5, tags=["x"])
    assert doc == Paper()
    assert not await bound.exists(doc.key)


async def test_aupdate_of_the_key(bound, stored):
    """The key field cannot be updated in place."""
    keyed = await Keyed(slug="a").save()
    with pytest.raises(UsageError, match="slug"):
        await keyed.aupdate(slug="b", score=1)
    assert await stored(keyed.key) == {"slug": "a", "score": 0}


async def test_lost_updates(bound, stored):
    """Two instances that change different fields lose nothing."""
    doc = await Paper().save()
    other = await Paper.get(doc.key)
    await doc.aupdate(name="mine")
    await other.aupdate(score=7)
    async with doc.pipeline():
        doc.tags.append("p")
    async with other.lock(save_at_end=True):
        other.score = 8
    assert await stored(doc.key) == {"name": "mine", "score": 8, "tags": ["p"]}


async def test_the_key_is_the_documents_whenever_it_is_asked_for(bound, stored):
    """Validators of the model's own may ask for it before the model knows whose content it is made of."""

    class Curious(AtomicRedisModel):
        n: int = 0

        def model_post_init(self, _context):
            assert self.key.endswith(self.pk)

    made = await Curious().save()
    read = await Curious.get(made.key)
    async with Curious.lock_from_key(made.key, save_at_end=True) as locked:
        locked.n += 1
    copies = await read.duplicate_many(2)
    assert [read.key, locked.key] == [made.key] * 2
    assert await read.n.increase() == 2
    assert await stored(made.key) == {"n": 2}
    assert {copy.key for copy in copies} | {made.key} == set(await Curious.afind_keys())
    assert {model.key for model in await Curious.afind()} == set(await Curious.afind_keys())
    copies[0].__setstate__(made.__getstate__())
    assert (copies[0].key, copies[0].pk) == (made.key, made.pk)


def test_a_pk_of_the_users_own_makes_the_key():
    """A class may say itself what its pk is: the key follows it."""

    class Named(AtomicRedisModel):
        name: str

        @property
        def pk(self):
            return self.name

    model = Named(name="a")
    assert model.key == "Named:a"
    model.name = "b"
    assert model.key == "Named:b"
