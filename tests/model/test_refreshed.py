"""Refreshing a model that Redis holds as it is: it becomes what is read from there, though both are written alike."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, computed_field, field_serializer

from rapyer import AtomicRedisModel


class Plain(AtomicRedisModel):
    """Types that JSON has, and an identifier."""

    name: str = "x"
    count: int | None = 3
    share: float = 0.5
    known: bool = True
    tags: list[str] = ["a", "b"]
    numbers: dict[str, list[int]] = {"n": [1, 2]}
    identifier: UUID = Field(default_factory=uuid4)

    @computed_field
    @property
    def double(self) -> int:
        """Not stored."""
        return 2 * (self.count or 0)

    @cached_property
    def shout(self) -> str:
        """Kept in the instance's dictionary."""
        return self.name.upper()


class Rounded(AtomicRedisModel):
    """Written with less than it holds."""

    price: Annotated[float, PlainSerializer(lambda value: round(value, 1))] = 1.26


class Shortened(AtomicRedisModel):
    """The same by the model's own serializer."""

    name: str = "long name"

    @field_serializer("name")
    def short(self, value: str) -> str:
        """Write the first letter."""
        return value[:1]


class Hidden(AtomicRedisModel):
    """One field is not stored."""

    name: str = "x"
    note: str = Field("default", exclude=True)


class Stamped(AtomicRedisModel):
    """Reading changes a value."""

    name: Annotated[str, BeforeValidator(lambda value: f"{value}!")] = "x"


class Lowered(AtomicRedisModel):
    """Reading changes every text."""

    model_config = ConfigDict(str_to_lower=True)
    name: str = "LOUD"  # nobody validates a default


class Zone(tzinfo):
    """A time zone of one's own."""

    def utcoffset(self, _: Any) -> timedelta:
        """One hour."""
        return timedelta(hours=1)

    def dst(self, _: Any) -> None:
        """Nothing is known."""


class Unchecked(AtomicRedisModel):
    """Defaults of another type than their field: nobody validates them."""

    share: float = 1
    small: float | None = 0


class Kind(str, Enum):
    """Texts that are more than texts."""

    A = "a"


class Members(AtomicRedisModel):
    """Defaults that are written as what they are not."""

    kind: str = Kind.A
    kinds: list[str] = [Kind.A]
    literal: Literal["a", "b"] = Kind.A


class Ordinary(AtomicRedisModel):
    """Values that have no operations, and change in place."""

    by_number: dict[int, int] = {1: 1}
    grid: dict[str, list[int]] = {"n": [1]}
    share: float = 0.5


class Dated(AtomicRedisModel):
    """What is read back has another time zone."""

    at: datetime = datetime(2026, 1, 1, tzinfo=Zone())


class Exact(AtomicRedisModel):
    """Text in JSON."""

    price: Decimal = Decimal("1.50")


class Part(BaseModel):
    """Nested."""

    name: str = "part"
    size: int = 1


class Whole(AtomicRedisModel):
    """What is nested remembers which fields were given."""

    part: Part = Part()
    parts: list[Part] = [Part(size=2)]


class Open(AtomicRedisModel):
    """More fields than are declared."""

    model_config = ConfigDict(extra="allow")
    name: str = "x"


def content(model: BaseModel) -> Any:
    """Return all there is in a model, types and given fields included."""
    return (
        {name: described(value) for name, value in model.__dict__.items()},
        model.__pydantic_fields_set__,
        {name: described(value) for name, value in (model.__pydantic_extra__ or {}).items()},
    )


def described(value: Any) -> Any:
    """Return a value with the types in it, links aside."""
    if isinstance(value, BaseModel):
        return content(value)
    if isinstance(value, list):
        return [described(item) for item in value]
    if isinstance(value, dict):
        return {name: described(item) for name, item in value.items()}
    plain = value.clone() if hasattr(value, "clone") else value
    return type(plain), repr(plain), type(getattr(plain, "tzinfo", None))


async def by_load(model):
    """Refresh by `load()`."""
    await model.load()


async def by_pipeline(model):
    """Refresh by entering a pipeline."""
    async with model.pipeline():
        pass


async def by_lock(model):
    """Refresh by entering a lock."""
    async with model.lock(save_at_end=True):
        pass


EACH_WAY = pytest.mark.parametrize("refresh", [by_load, by_pipeline, by_lock])


@EACH_WAY
@pytest.mark.parametrize(
    "model",
    [
        Plain(),
        Plain(name='é " \\', count=None, share=-0.0, tags=[], numbers={}),
        Rounded(),
        Shortened(),
        Hidden(note="mine"),
        Stamped(),
        Lowered(),
        Dated(),
        Members(),
        Ordinary(),
        Exact(),
        Whole(),
        Open(more=[1, {"a": 2}]),
    ],
    ids=lambda model: type(model).__name__,
)
async def test_what_is_read_is_what_counts(bound, model, refresh):
    """A refreshed model holds what a new one would that is read from Redis: values, types, which fields were given."""
    model = model.model_copy(deep=True)
    await model.save()
    await refresh(model)
    assert content(model) == content(await type(model).get(model.key))


@EACH_WAY
async def test_defaults_that_nobody_validates(bound, refresh):
    """A default of another type that is written alike is equal to what is read, and is given as the field's type."""
    model = await Unchecked().save()
    await refresh(model)
    assert model == await Unchecked.get(model.key)
    assert isinstance(model.share, float)


@EACH_WAY
@pytest.mark.parametrize("name", ["tags", "name"])
async def test_what_is_of_a_wrong_type_is_read_anew(bound, name, refresh):
    """A value that got into the model past its validation, and looks alike in JSON, is replaced by a right one."""
    model = await Plain().save()
    model.__dict__[name] = {"tags": ("a", "b"), "name": b"x"}[name]
    await refresh(model)
    assert content(model) == content(await Plain.get(model.key))


@EACH_WAY
async def test_what_was_worked_out_is_forgotten(bound, refresh):
    """A cached property is worked out anew after a refresh, as it always was."""
    model = await Plain().save()
    assert model.shout == "X"
    await refresh(model)
    assert "shout" not in model.__dict__


@EACH_WAY
async def test_values_that_are_held_stay_in_the_model(bound, refresh):
    """A variable on a value of the model works on after a refresh that changed nothing."""
    model = await Plain().save()
    tags, numbers, count = model.tags, model.numbers["n"], model.count
    await refresh(model)
    await tags.aappend("c")
    assert model.tags is tags
    assert model.numbers["n"] is numbers
    assert await count.increase() == 4
    assert model.count == 4


@EACH_WAY
async def test_a_shallow_copy_is_by_itself(bound, refresh):
    """After a refresh a shallow copy shares no list or dict with the model it was made of."""
    model = await Plain().save()
    tags, numbers = model.tags, model.numbers
    copy = model.model_copy()
    await refresh(copy)
    tags.append("z")
    numbers["z"] = [1]
    assert copy.tags == ["a", "b"]
    assert copy.numbers == {"n": [1, 2]}


@EACH_WAY
async def test_nested_values_of_a_shallow_copy(bound, refresh):
    """After a refresh a shallow copy shares nothing that lies deeper, either, touched or not."""
    model = await Ordinary().save()
    inner, plain = model.grid["n"], model.by_number
    copy = model.model_copy()
    assert len(copy.grid) == 1
    await refresh(copy)
    inner.append(99)
    plain[7] = 7
    assert copy.grid == {"n": [1]}
    assert copy.by_number == {1: 1}


@EACH_WAY
async def test_ordinary_values_that_are_held(bound, refresh):
    """A value without operations that was taken before a refresh is the model's no more."""
    model = await Ordinary().save()
    held = model.by_number
    await refresh(model)
    held[5] = 5
    assert model.by_number == {1: 1}


@EACH_WAY
async def test_what_a_copy_was_given_unchecked(bound, refresh):
    """A number of another type, given to a copy past its validation, is one of the field's type after a refresh."""
    model = (await Ordinary().save()).model_copy(update={"share": Decimal("1.5")})
    await model.save()
    await refresh(model)
    model.share += 0.5
    assert model.share == 2.0
