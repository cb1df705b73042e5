# ruff: noqa: UP006, UP035, PLC0415 - the examples stand here as they are printed
"""Everything the first API reference shows works as printed."""

from typing import Annotated, ClassVar, Dict, List
from uuid import UUID

import pytest

from rapyer import AtomicRedisModel, RedisConfig
from rapyer.errors import KeyNotFound, UsageError
from rapyer.fields import Key, KeyAnnotation
from rapyer.types import RedisDict, RedisInt, RedisList, RedisStr


class Address(AtomicRedisModel):
    """A nested model."""

    city: str = "Paris"


class Person(AtomicRedisModel):
    """The reference's User with a nested model."""

    name: str
    email: str = "j@example.com"
    age: int = 0
    tags: List[str] = []
    settings: Dict[str, str] = {}
    address: Address = Address()


async def test_final_example(bound, stored):
    """The example at the end runs unchanged, top to bottom."""
    from typing import Dict, List

    from rapyer import AtomicRedisModel

    class User(AtomicRedisModel):
        name: str
        email: str
        age: int = 0
        tags: List[str] = []
        settings: Dict[str, str] = {}

    # Create and save
    user = User(name="John", email="john@example.com", age=30)
    await user.save()

    # Retrieve
    retrieved_user = await User.get(user.key)

    # Update atomically
    await user.aupdate(age=31, tags=["python", "redis"])

    # Batch operations
    async with user.pipeline():
        user.age += 1
        user.tags.append("asyncio")
        user.settings["theme"] = "dark"

    # Lock for exclusive access
    async with user.lock("profile_update", save_at_end=True):
        if user.age >= 25:
            user.tags.append("adult")
            user.settings["account_type"] = "premium"

    assert retrieved_user.age == 30
    assert await stored(user.key) == {
        "name": "John",
        "email": "john@example.com",
        "age": 32,
        "tags": ["python", "redis", "asyncio", "adult"],
        "settings": {"theme": "dark", "account_type": "premium"},
    }
    assert user == await User.get(user.key)


def test_pk_is_a_uuid():
    """Without a key field each instance has its own UUID4, which stays."""
    one, other = Person(name="a"), Person(name="a")
    assert UUID(one.pk).version == 4
    assert one.pk == one.pk != other.pk
    assert one.key == f"Person:{one.pk}"


def test_places():
    """A root has no name and the path `$`; a nested model has both."""
    person = Person(name="a")
    assert (person.field_name, person.field_path, person.json_path) == ("", "", "$")
    address = person.address
    assert (address.field_name, address.field_path, address.json_path) == ("address", ".address", "$.address")
    assert address.key == person.key
    assert address.is_inner_model()
    assert not person.is_inner_model()


@pytest.mark.parametrize(
    "annotation",
    [Annotated[str, KeyAnnotation], Annotated[str, KeyAnnotation()], Key[str]],
    ids=["class", "instance", "Key"],
)
async def test_key_annotation(bound, annotation):
    """Every form of the marker makes the field the primary key."""

    class User(AtomicRedisModel):
        username: annotation
        email: str

    user = User(username="john_doe", email="john@example.com")
    assert (user.pk, user.key) == ("john_doe", "User:john_doe")
    await user.save()
    assert (await User.get("User:john_doe")).email == "john@example.com"
    assert (await User.get("john_doe")).pk == "john_doe"


async def test_class_key_initials(bound):
    """Overriding it renames the keys."""

    class User(AtomicRedisModel):
        @classmethod
        def class_key_initials(cls):
            return "USR"

    user = await User().save()
    assert user.key == f"USR:{user.pk}"
    assert await User.afind_keys() == [user.key]
    assert AtomicRedisModel.class_key_initials() == "AtomicRedisModel"


async def test_meta(bound):
    """A nested Meta class binds a client and an expiry; it becomes a RedisConfig."""

    class User(AtomicRedisModel):
        name: str
        age: int

        class Meta:
            redis = bound
            ttl = 3600

    user = await User(name="a", age=1).save()
    assert 3590 < await bound.ttl(user.key) <= 3600
    assert isinstance(User.Meta, RedisConfig)
    assert (User.Meta.redis, User.Meta.ttl) == (bound, 3600)


async def test_meta_as_config(bound):
    """`Meta = RedisConfig(...)` says the same."""

    class User(AtomicRedisModel):
        Meta: ClassVar[RedisConfig] = RedisConfig(redis=bound, ttl=60)

    user = await User().save()
    assert 50 < await bound.ttl(user.key) <= 60


def test_conversion():
    """Plain annotations, in both spellings, become Redis types."""
    person = Person(name="a", tags=["x"], settings={"k": "v"})
    assert type(person.name) is RedisStr
    assert type(person.age) is RedisInt
    assert type(person.tags) is RedisList
    assert type(person.settings) is RedisDict
    assert type(person.tags[0]) is RedisStr
    assert type(person.settings["k"]) is RedisStr


async def test_instance_methods(bound):
    """Save and load return self, delete tells, duplicates have new keys."""
    person = Person(name="a", tags=["x"])
    assert await person.save() is person
    assert await person.load() is person
    copy = await person.duplicate()
    copies = await person.duplicate_many(2)
    assert len({person.key, copy.key, *(one.key for one in copies)}) == 4
    assert all([one.name == "a" and (await Person.get(one.key)).tags == ["x"] for one in [copy, *copies]])
    assert await person.delete() is True
    assert await person.delete() is False


async def test_update_is_local(bound, stored):
    """`update` changes the instance only, `aupdate` both."""
    person = await Person(name="a").save()
    assert person.update(name="b", age=2) is None
    assert (person.name, person.age) == ("b", 2)
    assert (await stored(person.key))["name"] == "a"
    await person.aupdate(name="c")
    assert (person.name, await stored(person.key, "$.name")) == ("c", "c")


async def test_class_methods(bound):
    """Get, delete_by_key and afind_keys go by key."""
    person = await Person(name="a").save()
    assert await Person.afind_keys() == [person.key]
    assert (await Person.get(person.key)).name == "a"
    assert await Person.delete_by_key(person.key) is True
    assert await Person.delete_by_key(person.key) is False
    assert await Person.afind_keys() == []


async def test_key_not_found(bound):
    """Getting or loading what is not there raises, as a KeyError too."""
    with pytest.raises(KeyNotFound, match="Person:nonexistent"):
        await Person.get("Person:nonexistent")
    with pytest.raises(KeyError):
        await Person(name="a").load()


async def test_nested_cannot_be_deleted(bound):
    """Delete is for documents."""
    person = await Person(name="a").save()
    with pytest.raises(UsageError, match="Address"):
        await person.address.delete()


async def test_lock_from_key(bound, stored):
    """The lock yields the loaded instance and saves it at the end, by position as printed."""
    person = await Person(name="a").save()
    async with Person.lock_from_key(person.key, "profile_update", save_at_end=True) as user:
        user.name = "Updated Name"
    assert await stored(person.key, "$.name") == "Updated Name"
    async with Person.lock_from_key(person.key, "profile_update", True) as user:
        user.name = "b"
    assert await stored(person.key, "$.name") == "b"


async def test_lock(bound, stored):
    """The lock yields the instance itself, and saves nothing unless it is told to."""
    person = await Person(name="a").save()
    async with person.lock("settings_update", save_at_end=True) as locked:
        locked.settings = {"theme": "dark"}
    assert locked is person
    assert await stored(person.key, "$.settings") == {"theme": "dark"}
    async with person.lock() as locked:
        locked.settings = {}
    assert await stored(person.key, "$.settings") == {"theme": "dark"}


async def test_pipeline(bound, stored):
    """The pipeline yields the instance itself, and both names work."""
    person = await Person(name="a").save()
    async with person.pipeline() as same:
        person.age += 100
        same.tags.append("New Achievement")
        assert await stored(person.key, "$.age") == 0
    assert same is person
    assert await stored(person.key, "$.age") == 100
    assert await stored(person.key, "$.tags") == ["New Achievement"]


async def test_pipeline_ignores_a_deleted_model(bound):
    """`ignore_if_deleted` leaves a document alone that vanished meanwhile."""
    person = await Person(name="a").save()
    async with person.pipeline(ignore_if_deleted=True):
        person.age += 1
        await bound.delete(person.key)
    assert not await bound.exists(person.key)


def test_blocks_are_context_managers():
    """The three blocks are methods that need no await."""
    person = Person(name="a")
    for block in (person.lock(), person.pipeline(), Person.lock_from_key("1")):
        assert hasattr(block, "__aenter__")


def test_field_linking():
    """Fields know their document."""
    person = Person(name="a")
    assert person.tags.key == person.name.key == person.key
    assert person.tags.json_path == "$.tags"
