"""The fields that a document's key is made of: nothing makes them those of another document."""

from datetime import datetime, timedelta, timezone

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import CorruptDocument, UsageError
from rapyer.fields import Key


class User(AtomicRedisModel):
    """Its name is its key."""

    name: Key[str]
    n: int = 0


class Counter(AtomicRedisModel):
    """Its number is its key."""

    number: Key[int]
    n: int = 0


class Rate(AtomicRedisModel):
    """A double as its key."""

    rate: Key[float]


class Day(AtomicRedisModel):
    """A moment as its key."""

    at: Key[datetime]


class Parcel(AtomicRedisModel):
    """A field is the hash tag of its key."""

    shop: str
    n: int = 0

    class Meta:
        """Which field."""

        hash_tag = "shop"


class Crew(AtomicRedisModel):
    """Users in another document."""

    users: list[User] = []
    first: User = User(name="first")


NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
CHANGES = [
    (lambda: User(name="ada"), lambda user: user.name.aappend("X")),
    (lambda: User(name="ada"), lambda user: user.name.save()),
    (lambda: User(name="ada"), lambda user: user.aupdate(name="X")),
    (lambda: Counter(number=1), lambda counter: counter.number.increase()),
    (lambda: Rate(rate=0.5), lambda rate: rate.rate.increase()),
    (lambda: Day(at=NOON), lambda day: day.at.aadd(timedelta(days=1))),
    (lambda: Parcel(shop="a"), lambda order: order.shop.aappend("b")),
]


@pytest.mark.parametrize(("make", "change"), CHANGES)
async def test_no_operation_changes_the_key(bound, make, change):
    """UsageError before anything is sent or recorded, alone and in a block."""
    model = await make().save()
    before = (model.key, model.model_dump(), await bound.execute_command("JSON.GET", model.key))
    with pytest.raises(UsageError, match="is the key of"):
        await change(model)
    async with model.pipeline():
        with pytest.raises(UsageError, match="is the key of"):
            await change(model)
    loaded = await type(model).get(model.key)
    with pytest.raises(UsageError, match="is the key of"):
        await change(loaded)
    assert (model.key, model.model_dump(), await bound.execute_command("JSON.GET", model.key)) == before
    assert loaded == model


async def test_in_another_document_they_are_fields(bound):
    """A model that is part of another has no key: its fields are like all others."""
    crew = await Crew(users=[User(name="a")]).save()
    await crew.users[0].name.aappend("b")
    await crew.first.name.aappend("!")
    async with crew.pipeline():
        await crew.users[0].name.aappend("c")
        crew.first.name += "?"
    assert (crew.users[0].name, crew.first.name) == ("abc", "first!?")
    assert await Crew.get(crew.key) == crew


STRAYS = [
    (User, "User:a", {"name": "b"}),
    (Counter, "Counter:01", {"number": 1}),
    (Parcel, "Parcel:{a}:1", {"shop": "b"}),
    (Parcel, "Parcel:{a}:1", {"shop": ""}),
    (Parcel, "Parcel:1", {"shop": "a"}),
]


@pytest.mark.parametrize(("cls", "key", "content"), STRAYS)
async def test_a_document_under_another_key(bound, write, cls, key, content):
    """A document whose fields make another key than the one it is under is corrupt: what is written would go there."""
    await write(key, "$", content)
    with pytest.raises(CorruptDocument) as caught:
        await cls.get(key)
    assert caught.value.key == key
    assert "those of another key" in str(caught.value.__cause__)
    with pytest.raises(CorruptDocument):
        await cls.afind()
    with pytest.raises(CorruptDocument):
        async with cls.lock_from_key(key):
            pass


async def test_keys_of_all_kinds_come_back(bound):
    """A document with a key of any type is found under its key."""
    for model in (User(name="ü:{}"), Counter(number=-5), Rate(rate=1e22), Day(at=NOON), Parcel(shop="a b")):
        await model.save()
        assert await type(model).get(model.key) == model


class App(AtomicRedisModel):
    """Its prefix begins the other's."""

    name: Key[str]
    n: int = 0

    @classmethod
    def class_key_initials(cls):
        """Return the shorter prefix."""
        return "app"


class Session(AtomicRedisModel):
    """Its prefix is longer."""

    name: Key[str]
    n: int = 0

    @classmethod
    def class_key_initials(cls):
        """Return the longer prefix."""
        return "app:session"


async def test_a_key_that_is_another_class_s(bound, stored):
    """Whatever is done with a document whose key field would make another class's key is refused."""
    session = await Session(name="1", n=5).save()
    app = App(name="session:1", n=9)
    for use in (app.save, app.delete, app.load, lambda: app.aupdate(n=4), app.n.increase):
        with pytest.raises(UsageError, match=r"'app:session:1'.*another class"):
            await use()
    with pytest.raises(UsageError, match="another class"):
        async with app.pipeline():
            pass
    with pytest.raises(UsageError, match="another class"):
        async with app.lock():
            pass
    assert await stored(session.key) == {"name": "1", "n": 5}
    other = await App(name="sessions:1", n=1).save()
    assert (await App.get("sessions:1")).n == other.n == 1


async def test_a_tag_that_fits_no_more(bound):
    """Where the tag stays as the pk does, fields that make another are not saved under it: nobody could read it."""
    parcel = await Parcel(shop="a", n=1).save()
    moved = parcel.model_copy(update={"shop": "b"})
    for model in (moved, Parcel(shop="c")):
        model.n, _ = 7, model.key
        model.shop = "b"
        with pytest.raises(UsageError, match=r"tag.*duplicate\(\)"):
            await model.save()

    async def block(lock):
        async with lock as locked:
            locked.shop, locked.n = "b", 8

    for lock in (parcel.lock(save_at_end=True), Parcel.lock_from_key(parcel.key, save_at_end=True)):
        with pytest.raises(UsageError, match="changed the key"):
            await block(lock)
    async with rapyer.pipeline():
        with pytest.raises(UsageError, match=r"tag.*duplicate\(\)"):
            await moved.save()
    assert [found.model_dump() for found in await Parcel.afind()] == [{"shop": "a", "n": 1}]
    other = await moved.duplicate()
    assert other.key.startswith("Parcel:{b}:")
    assert await Parcel.get(other.key) == other == Parcel(shop="b", n=7)
