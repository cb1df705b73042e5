# ruff: noqa: UP006, UP007, UP035, UP045 - old spellings of annotations are what is tested
"""Annotations become Redis types; what is stored is JSON and comes back as it was."""

import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Dict, List, Literal, NewType, Optional, TypeVar, Union

import pytest
from pydantic import AwareDatetime, BaseModel, Field, ImportString, PastDatetime, ValidationError
from typing_extensions import TypeAliasType

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError
from rapyer.types import RedisBytes, RedisDatetime, RedisDict, RedisFloat, RedisInt, RedisList, RedisSet, RedisStr

NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, timezone.utc)
ONE_ID = uuid.UUID("12345678-1234-4234-8234-123456789abc")


class Colour(Enum):
    """Plain values."""

    RED = "red"


class Plain(BaseModel):
    """A model of Pydantic's own."""

    x: int = 1
    tags: list[str] = []


class Inner(AtomicRedisModel):
    """A nested model."""

    x: int = 1


T = TypeVar("T")
K = TypeVar("K")
UserId = NewType("UserId", int)
Many = TypeAliasType("Many", list[T], type_params=(T,))
Phantom = TypeAliasType("Phantom", int, type_params=(T,))
Same = TypeAliasType("Same", T, type_params=(T,))
Turned = TypeAliasType("Turned", dict[K, T], type_params=(T, K))

CASES = [
    (UserId, 1, RedisInt, 1),
    (Optional[UserId], 1, RedisInt, 1),
    (Many[int], [1], RedisList, [1]),
    (Phantom[str], 1, RedisInt, 1),
    (Same[int], 1, RedisInt, 1),
    (Turned[int, str], {"a": 1}, RedisDict, {"a": 1}),
    (AwareDatetime, NOON, RedisDatetime, "2024-02-29T12:00:00.123456Z"),
    (PastDatetime, NOON, RedisDatetime, "2024-02-29T12:00:00.123456Z"),
    (str, "é", RedisStr, "é"),
    (int, 2**53 + 1, RedisInt, 2**53 + 1),
    (int, -(2**63), RedisInt, -(2**63)),
    (float, 0.1, RedisFloat, 0.1),
    (float, 3.0, RedisFloat, 3.0),
    (bytes, b"\xff\x00", RedisBytes, "_wA="),
    (datetime, NOON, RedisDatetime, "2024-02-29T12:00:00.123456Z"),
    (list[int], [1, 2], RedisList, [1, 2]),
    (List[str], ["a"], RedisList, ["a"]),
    (list, [1, "a", None], RedisList, [1, "a", None]),
    (dict[str, int], {"a": 1}, RedisDict, {"a": 1}),
    (Dict[str, str], {"a": "b"}, RedisDict, {"a": "b"}),
    (dict, {"a": [1]}, RedisDict, {"a": [1]}),
    (RedisStr, "x", RedisStr, "x"),
    (RedisInt, 5, RedisInt, 5),
    (RedisList[int], [1], RedisList, [1]),
    (RedisDict[int], {"a": 1}, RedisDict, {"a": 1}),
    (Optional[int], 3, RedisInt, 3),
    (Optional[int], None, type(None), None),
    (str | None, "a", RedisStr, "a"),
    (Optional[List[int]], [1], RedisList, [1]),
    (Annotated[int, Field(gt=0)], 3, RedisInt, 3),
    (bool, True, bool, True),
    (Colour, Colour.RED, Colour, "red"),
    (uuid.UUID, ONE_ID, uuid.UUID, str(ONE_ID)),
    (Decimal, Decimal("1.10"), Decimal, "1.10"),
    (date, date(2024, 2, 29), date, "2024-02-29"),
    (time, time(1, 2, 3), time, "01:02:03"),
    (timedelta, timedelta(hours=1), timedelta, "PT1H"),
    (Literal["a", 1], "a", str, "a"),
    (tuple[int, str], (1, "a"), tuple, [1, "a"]),
    (set[int], {1}, RedisSet, [1]),
    (frozenset[int], frozenset({1}), RedisSet, [1]),
    (Union[int, str], "a", str, "a"),
    (Any, {"k": [1]}, dict, {"k": [1]}),
    (dict[int, str], {1: "a"}, dict, {"1": "a"}),
    (Inner, Inner(x=2), Inner, {"x": 2}),
    (Optional[Inner], None, type(None), None),
]


@pytest.mark.parametrize(("annotation", "value", "kind", "json"), CASES, ids=[str(case[0]) for case in CASES])
async def test_table(bound, stored, annotation, value, kind, json):
    """Each annotation has its type, its stored form, and comes back equal."""

    class Table(AtomicRedisModel):
        field: annotation

    model = Table(field=value)
    assert type(model.field) is kind
    assert model.field == value
    await model.save()
    assert await stored(model.key, "$.field") == json
    again = await Table.get(model.key)
    assert type(again.field) is kind
    assert again.field == value


async def test_elements_are_converted(bound):
    """Elements, at every depth, are Redis types too."""

    class Deep(AtomicRedisModel):
        rows: list[dict[str, list[int]]]
        people: dict[str, Inner]
        maybe: list[Optional[int]]

    deep = await Deep(rows=[{"a": [1]}], people={"p": Inner()}, maybe=[None, 1]).save()
    deep = await Deep.get(deep.key)
    assert type(deep.rows[0]) is RedisDict
    assert type(deep.rows[0]["a"]) is RedisList
    assert type(deep.rows[0]["a"][0]) is RedisInt
    assert type(deep.people["p"].x) is RedisInt
    assert [type(item) for item in deep.maybe] == [type(None), RedisInt]


async def test_plain_pydantic_models(bound, stored):
    """A plain Pydantic model is linked inside a document and stays an instance of its class."""

    class Holder(AtomicRedisModel):
        one: Plain = Plain()
        many: List[Plain] = []
        named: Dict[str, Plain] = {}

    holder = Holder(one=Plain(x=3), many=[Plain(x=4)], named={"k": Plain(x=5, tags=["t"])})
    await holder.save()
    assert isinstance(holder.one, Plain)
    assert holder.one.x.json_path == "$.one.x"
    await holder.one.x.increase()
    await holder.many[0].x.increase()
    await holder.named["k"].tags.aappend("u")
    assert await stored(holder.key) == {
        "one": {"x": 4, "tags": []},
        "many": [{"x": 5, "tags": []}],
        "named": {"k": {"x": 5, "tags": ["t", "u"]}},
    }
    again = await Holder.get(holder.key)
    assert isinstance(again.many[0], Plain)
    assert again == holder


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
async def test_not_finite(bound, value):
    """What JSON has no number for is refused by validation, assigned or given."""

    class Number(AtomicRedisModel):
        f: float = 0.0
        many: list[float] = []

    with pytest.raises(ValidationError):
        Number(f=value)
    number = await Number().save()
    with pytest.raises(ValidationError):
        number.f = value
    with pytest.raises(ValidationError):
        await number.aupdate(f=value)
    with pytest.raises(ValidationError):
        await number.many.aappend(value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
async def test_integers_outside_64_bits(bound, value):
    """They are refused by validation, at every depth."""

    class Number(AtomicRedisModel):
        n: int = 0
        many: list[int] = []
        named: dict[str, Optional[int]] = {}
        limited: Annotated[int, Field(ge=0)] = 0

    for given in ({"n": value}, {"many": [value]}, {"named": {"a": value}}, {"limited": value}):
        with pytest.raises(ValidationError):
            Number(**given)
    number = await Number().save()
    with pytest.raises(ValidationError):
        number.many.append(value)


async def test_numbers_no_one_declared(bound, stored):
    """Below `Any` a number that cannot be stored fails before anything is written."""

    class Free(AtomicRedisModel):
        any: Any = None
        bare: list = []

    free = await Free(any=1).save()
    for bad in (2**63, float("nan"), [float("inf")]):
        free.any = bad
        with pytest.raises(ValueError, match="stored"):
            await free.save()
    assert await stored(free.key) == {"any": 1, "bare": []}


async def test_empties(bound, stored):
    """Empty containers and null stay apart, at every depth."""

    class Empties(AtomicRedisModel):
        field: Any

    value = {"a": [], "b": {}, "c": None, "d": [[], {}, None, [{}], {"x": []}], "": ""}
    model = await Empties(field=value).save()
    assert await stored(model.key, "$.field") == value
    assert (await Empties.get(model.key)).field == value


async def test_plain_models_below_plain_models(bound, stored):
    """Plain models are linked at every depth, also where they are defaults that nobody validated."""

    class Middle(BaseModel):
        one: Plain = Plain()
        many: List[Plain] = [Plain()]
        maybe: Union[Plain, str, None] = None

    class Top(AtomicRedisModel):
        middle: Middle = Middle()
        given: Optional[Middle] = None
        made: List[Plain] = Field(default_factory=lambda: [Plain(x=9)])

    given = Middle(one=Plain(x=7), maybe=Plain(x=8))
    top = await Top(given=given).save()
    assert await top.middle.one.x.increase() == 2
    assert await top.middle.many[0].x.increase() == 2
    assert await top.given.one.x.increase() == 8
    assert await top.made[0].x.increase() == 10
    assert await stored(top.key) == top.model_dump()
    assert (await Top.get(top.key)).given.maybe.x == 8
    assert given.one.x == 7


def test_defaults_are_not_shared():
    """Instances share no default."""
    one, other = Plain(), Plain()

    class Holder(AtomicRedisModel):
        tags: list[str] = []
        inner: Inner = Inner()

    a, b = Holder(), Holder()
    a.tags.append("x")
    a.inner.x = 5
    assert (b.tags, b.inner.x, Holder().tags, Holder().inner.x) == ([], 1, [], 1)
    assert one.tags is not other.tags


def test_text_that_names_code():
    """A type that imports what its text names is refused: what is read from Redis runs nothing."""
    with pytest.raises(UsageError, match="ImportString"):

        class Runs(AtomicRedisModel):
            what: ImportString = "math.pi"

    with pytest.raises(UsageError, match="ImportString"):

        class RunsToo(AtomicRedisModel):
            what: list[ImportString[Any]] = []
