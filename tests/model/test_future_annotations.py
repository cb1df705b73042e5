# ruff: noqa: UP045 - old spellings of annotations work too
"""Annotations that are text, as `from __future__ import annotations` makes them, work in modules and functions."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Generic, Optional, TypeVar

from pydantic import BaseModel, Field

from rapyer import AtomicRedisModel
from rapyer.fields import Key, KeyAnnotation
from rapyer.types import RedisDatetime, RedisDict, RedisInt, RedisList, RedisStr

T = TypeVar("T")


class FutureUser(AtomicRedisModel):
    """Refers to what comes later."""

    username: Annotated[str, KeyAnnotation]
    age: Annotated[int, Field(ge=0)] = 0
    tags: list[str] = []
    home: FutureAddress | None = None
    friends: list[FutureUser] = []
    seen: dict[str, dt.datetime] = {}


class FutureAddress(AtomicRedisModel):
    """Comes later."""

    city: str = "Paris"
    plain: FuturePlain = Field(default_factory=lambda: FuturePlain())  # noqa: PLW0108 - defined later


class FuturePlain(BaseModel):
    """A plain model that comes later still."""

    x: int = 1


class FuturePage(AtomicRedisModel, Generic[T]):
    """A generic model."""

    items: list[T] = []


async def test_module(bound, stored):
    """Models of a module refer to each other and to themselves."""
    user = FutureUser(
        username="a",
        home=FutureAddress(),
        friends=[FutureUser(username="b", tags=["x"])],
        seen={"now": dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)},
    )
    await user.save()
    assert user.key == "FutureUser:a"
    assert type(user.age) is RedisInt
    assert type(user.tags) is RedisList
    assert type(user.seen) is RedisDict
    assert type(user.seen["now"]) is RedisDatetime
    assert user.home.plain.x.json_path == "$.home.plain.x"
    assert await user.home.plain.x.increase() == 2
    await user.friends[0].tags.aappend("y")
    assert await stored(user.key, "$.friends[0].tags") == ["x", "y"]
    assert await FutureUser.get("a") == user


async def test_function(bound):
    """Models of a function work when what they refer to is there already."""

    class Local(AtomicRedisModel):
        name: Key[str]
        scores: dict[str, int] = {}
        maybe: Optional[int] = None

    local = await Local(name="n", scores={"a": 1}, maybe=1).save()
    assert local.key == "Local:n"
    assert await local.scores["a"].increase() == 2
    assert await local.maybe.increase() == 2


async def test_generic(bound):
    """Generic models work."""
    page = await FuturePage[str](items=["a"]).save()
    assert type(page.items[0]) is RedisStr
    assert (await FuturePage[str].get(page.key)).items == ["a"]
