# ruff: noqa: UP007 - old spellings of annotations work too
"""Models in unions, models in several places, and plain models beside linked ones."""

from enum import Enum
from typing import Annotated, Literal, Union

import pytest
from pydantic import BaseModel, Field, RootModel

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError
from rapyer.fields import Key


class Cat(BaseModel):
    """A plain model."""

    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    """A plain model."""

    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Wheel(AtomicRedisModel):
    """A linked model."""

    size: int = 1
    marks: list[int] = []


class Wing(AtomicRedisModel):
    """Another."""

    span: int = 2


class Frozen(BaseModel, frozen=True):
    """A plain model with a hash."""

    x: int = 1


class Word(str, Enum):
    """A key that is text and an Enum."""

    A = "a"


PETS = Annotated[Union[Cat, Dog], Field(discriminator="kind")]


class Zoo(AtomicRedisModel):
    """Unions of models."""

    told: PETS = Cat()
    tried: Union[Cat, Dog] = Dog()
    many: list[PETS] = [Cat(), Dog()]
    part: Union[Wheel, Wing, None] = Wing()
    numbers: RootModel[list[int]] = RootModel[list[int]]([1])


async def test_unions_of_models(bound, stored):
    """Whatever model a union holds is linked, given or by default; it may become the other."""
    zoo = await Zoo().save()
    assert await zoo.told.lives.increase() == 10
    assert await zoo.tried.tricks.aappend("sit") == ["sit"]
    assert await zoo.many[1].tricks.aappend("roll") == ["roll"]
    assert await zoo.part.span.increase() == 3
    await zoo.aupdate(told=Dog(tricks=["x"]), part=Wheel())
    async with zoo.pipeline():
        zoo.told.tricks.append("y")
        zoo.part.size += 1
    assert await Zoo.get(zoo.key) == zoo
    assert await stored(zoo.key, "$.told") == {"kind": "dog", "tricks": ["x", "y"]}
    assert await stored(zoo.key, "$.numbers") == [1]
    await zoo.aupdate(part=None)
    assert (await zoo.load()).part is None


def test_plain_and_linked_are_equal():
    """A plain model equals its linked form, both ways, at any depth, and hashes like it."""

    class Holder(AtomicRedisModel):
        pet: Cat = Cat()
        pets: list[Dog] = [Dog()]
        still: Frozen = Frozen()

    holder = Holder()
    assert holder.pet == Cat()
    assert Cat() == holder.pet
    assert holder.pet != Cat(lives=1)
    assert holder.pets == [Dog()]
    assert holder.pet != Dog()
    assert {holder.still: 1}[Frozen()] == 1


class Car(AtomicRedisModel):
    """Places for the same kind of model."""

    front: Wheel = Wheel()
    rear: Wheel = Wheel()
    spare: list[Wheel] = []
    rows: list[list[int]] = [[1]]
    data: bytes = b"a"
    copy_of: bytes = b"b"


async def test_no_two_places_share(bound):
    """A model or list assigned to a second place is a copy there, once it was touched."""
    car, other = await Car().save(), await Car().save()
    wheel = car.front
    car.rear = car.front
    car.spare = [wheel, wheel]
    other.front = wheel
    assert [car.rear.json_path, car.front.json_path, wheel.json_path] == ["$.rear", "$.front", "$.front"]
    assert [one.json_path for one in car.spare] == ["$.spare[0]", "$.spare[1]"]
    assert (other.front.key, wheel.key) == (other.key, car.key)
    car.rear.size = 5
    car.spare[1].marks.append(1)
    other.front.size = 7
    assert (car.front.size, car.spare[0].marks, car.spare[1].marks) == (1, [], [1])
    car.copy_of = car.data
    assert (car.copy_of.json_path, car.data.json_path) == ("$.copy_of", "$.data")
    car.rows *= 2
    car.rows[1].append(2)
    assert car.rows == [[1], [1, 2]]


class Tyre(Wheel):
    """One of a kind that is part of a model, too."""


class Cart(AtomicRedisModel):
    """Two kinds of which one is the other's parent."""

    wheel: Wheel = Wheel()
    tyre: Tyre = Tyre()


async def test_a_part_whose_parent_class_was_one_before(bound, stored):
    """A part is at its place in its document, and changed there, whichever class was a part first."""
    cart = await Cart().save()
    assert cart.wheel.key == cart.key
    assert (cart.tyre.key, cart.tyre.json_path) == (cart.key, "$.tyre")
    assert await cart.tyre.size.increase(3) == cart.tyre.size
    await cart.tyre.marks.aappend(1)
    assert await stored(cart.key) == cart.model_dump()


async def test_swaps_in_a_pipeline(bound):
    """Values that change places in a block are where they ended up, here and in Redis."""
    car = await Car(front=Wheel(size=1, marks=[1]), rear=Wheel(size=2), spare=[Wheel(size=3), Wheel(size=4)]).save()
    async with car.pipeline():
        car.front, car.rear = car.rear, car.front
        car.front.size += 10
        car.rear.marks.append(5)
        car.spare[0], car.spare[1] = car.spare[1], car.spare[0]
        car.spare[0].size += 100
    expected = Car(front=Wheel(size=12), rear=Wheel(size=1, marks=[1, 5]), spare=[Wheel(size=104), Wheel(size=3)])
    assert car == expected
    assert await Car.get(car.key) == expected


@pytest.mark.parametrize(("kind", "value"), [(int, 5), (Word, Word.A), (bool, True), (str, "x y")])
async def test_keys_that_are_no_text(bound, kind, value):
    """A key field of any type that has a text works."""

    class Keyed(AtomicRedisModel):
        slug: Key[kind]
        n: int = 0

    keyed = await Keyed(slug=value).save()
    assert (await Keyed.get(keyed.key)).slug == value
    assert await keyed.n.increase() == 1


async def test_the_key_stays_in_a_pipeline(bound, stored):
    """Assigning the key field makes another document by save(); inside a block it is refused."""

    class Keyed(AtomicRedisModel):
        slug: Key[str]
        n: int = 0

    keyed = await Keyed(slug="a").save()

    async def assign():
        async with keyed.pipeline():
            keyed.n += 1
            keyed.slug = "b"

    async def update():
        async with keyed.pipeline():
            keyed.update(slug="b")

    for block in (assign, update):
        with pytest.raises(UsageError, match="slug"):
            await block()
    assert (keyed.slug, keyed.n) == ("a", 0)
    keyed.slug = "b"
    await keyed.save()
    assert sorted(await Keyed.afind_keys()) == ["Keyed:a", "Keyed:b"]
