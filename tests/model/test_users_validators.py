"""Validators of the user's and plain models: what they make while a document is read, and what they are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError


class Street(BaseModel):
    """What validators make of text and of dicts."""

    name: str = ""


class Home(BaseModel):
    """A plain model with another in it."""

    street: Street = Street()
    more: list[Street] = []


def _moved(data: Any) -> Any:
    """Make a model of what older programs wrote as text, and of what comes as a dict."""
    if not isinstance(data, dict):
        return data
    street = data.get("street")
    if isinstance(street, str):
        street = Street(name=street)
    if isinstance(street, dict):
        street = Street(**street)
    more = [Street(**item) if isinstance(item, dict) else item for item in data.get("more", [])]
    return {**data, "more": more, **({} if street is None else {"street": street})}


def _named(value: str | dict[str, str]) -> dict[str, str]:
    return value if isinstance(value, dict) else {"name": value}


class Lane(Street):
    """One that no document has in a field of its own."""

    number: int = 0


class Avenue(Street):
    """One that has its place in a union."""

    number: int = 0


class Early(AtomicRedisModel):
    """Validated as a whole before its fields are."""

    street: Street = Street()
    more: list[Street] = []

    _before = model_validator(mode="before")(_moved)


class Around(AtomicRedisModel):
    """Validated by what calls Pydantic."""

    street: Street = Street()
    more: list[Street] = []

    @model_validator(mode="wrap")
    @classmethod
    def _around(cls, data: Any, handler: Any) -> Any:
        return handler(_moved(data))


class Moving(BaseModel):
    """A plain model with a validator of its own."""

    street: Street = Street()
    more: list[Street] = []

    _before = model_validator(mode="before")(_moved)


class Homes(AtomicRedisModel):
    """Plain models, one of them made by a field's validator out of parts that are models."""

    home: Home = Home()
    moving: Moving = Moving()
    all: list[Moving] = []
    streets: list[Street] = []
    anything: Any = None

    @field_validator("home", mode="before")
    @classmethod
    def _home(cls, data: Any) -> Any:
        if isinstance(data, str):
            return Home(street=Street(name=data))
        return Home(street=Street(**data["street"])) if isinstance(data, dict) else data

    @field_validator("streets", mode="before")
    @classmethod
    def _streets(cls, values: Any) -> Any:
        return (Street(**_named(value)) if isinstance(value, (str, dict)) else value for value in values)

    @field_validator("anything", mode="before")
    @classmethod
    def _lane(cls, value: Any) -> Any:
        return Lane(**value) if isinstance(value, dict) else value


@pytest.mark.parametrize("model", [Early, Around])
async def test_validators_that_make_plain_models(bound, stored, write, model):
    """A model whose own validator puts plain models into what is read is saved, read and changed like any other."""
    doc = await model(street={"name": "a"}, more=[{"name": "b"}]).save()
    again = await model.get(doc.key)
    assert (again, again.street.name, again.more[0].name) == (doc, "a", "b")
    await again.more.aappend(Street(name="c"))
    await again.street.aupdate(name="d")
    await again.save()
    assert await stored(doc.key) == {"street": {"name": "d"}, "more": [{"name": "b"}, {"name": "c"}]}
    await write(doc.key, "$.street", "of an older program")
    assert (await model.get(doc.key)).street.name == "of an older program"


async def test_validators_inside(bound, stored):
    """So are plain models with such validators, and what a field's validator makes of text, in an iterator, too."""
    doc = await Homes(home="a", moving={"street": "c"}, streets=["b"]).save()
    again = await Homes.get(doc.key)
    assert again == doc
    await again.all.aappend(Moving(street="d"))
    await again.aupdate(home={"street": {"name": "e"}}, moving=Moving(more=[{"name": "f"}]), anything=Lane(number=7))
    await again.moving.more[0].aupdate(name="g")
    await (await Homes.get(doc.key)).save()
    assert await stored(doc.key) == {
        "home": {"street": {"name": "e"}, "more": []},
        "moving": {"street": {"name": ""}, "more": [{"name": "g"}]},
        "all": [{"street": {"name": "d"}, "more": []}],
        "streets": [{"name": "b"}],
        "anything": {"name": "", "number": 7},
    }


class Either(AtomicRedisModel):
    """A model or its subclass, the model first."""

    one: Street | Avenue = Street()
    many: list[Street | Avenue] = []
    seen: Annotated[Street | Avenue | None, BeforeValidator(lambda value: value)] = None


async def test_a_subclass_in_a_union(bound, stored):
    """An instance of a subclass is what it is, though the union has its base in front, and nothing of it is lost."""
    avenue = Avenue(name="a", number=7)
    doc = await Either(one=avenue, many=[avenue, Street(name="b")], seen=avenue).save()
    await doc.many.aappend(Avenue(name="c", number=8))
    doc.one = avenue
    await doc.save()
    text = {"name": "a", "number": 7}
    assert await stored(doc.key) == {
        "one": text,
        "many": [text, {"name": "b"}, {"name": "c", "number": 8}],
        "seen": text,
    }
    assert (await Either.get(doc.key)).seen == avenue


class Meter(BaseModel):
    """A choice of a union, with numbers."""

    kind: Literal["meter"] = "meter"
    count: int = 1
    share: float = 0.5
    more: list[int] = [1]


class Gauge(Meter):
    """Another, with more."""

    kind: Literal["gauge"] = "gauge"
    level: int = 2


class Panel(AtomicRedisModel):
    """What they are in, in many ways."""

    either: Meter | Street = Meter()
    by_kind: Annotated[Meter | Gauge, Field(discriminator="kind")] = Gauge()
    several: list[Meter | Street] = [Meter()]
    named: dict[str, Gauge | str] = {"a": Gauge()}
    name: str = ""


def _look(panel: Panel) -> list[Any]:
    each = [panel.either, panel.by_kind, panel.several[0], panel.named["a"]]
    return [number for meter in each for number in (meter.count, meter.share, meter.more[0])]


async def test_numbers_that_were_looked_at_in_a_union(bound, stored):
    """A choice of a union whose numbers were read, and are linked since, is written like any other, by every way."""
    panel = await Panel().save()
    before = await stored(panel.key)
    numbers = _look(panel)
    await panel.save()
    assert await stored(panel.key) == before
    assert numbers[0] is panel.either.count
    assert await numbers[0].increase() == 2
    async with panel.lock(save_at_end=True):
        _look(panel)
        panel.either.share += 1
        panel.several[0].count += 1
        panel.name = "a"
    async with panel.pipeline():
        _look(panel)
        panel.by_kind.level += 1
        panel.named["a"].share = 2.5
    _look(panel)
    await panel.aupdate(by_kind=panel.by_kind, several=panel.several)
    await panel.several.aset_item(0, panel.several[0])
    await panel.several.aappend(panel.either)
    await panel.named.aset_item("b", panel.named["a"])
    await panel.several.save()
    await panel.duplicate()
    assert _look(await Panel.get(panel.key)) == [2, 1.5, 1, 1, 0.5, 1, 2, 0.5, 1, 1, 2.5, 1]
    assert (await stored(panel.key))["by_kind"]["level"] == 3


class Reader(BaseModel, from_attributes=True):
    """Takes any object that has a name."""

    name: str = ""


class LongReader(Reader):
    """What has a text as well."""

    text: str


class Wrapped(AtomicRedisModel):
    """Choices that are not in sight at once, and one that reads whatever has its attributes."""

    far: int | Street | Annotated[Avenue, AfterValidator(lambda value: value)] = 0
    nested: int | Street | Annotated[Avenue | None, Field()] = 0
    reading: Annotated[Reader | LongReader | None, Field(union_mode="left_to_right")] = None


async def test_a_subclass_behind_something(bound, stored):
    """So it is behind a validator, in a union of its own, and where the base would take it for an object to read."""
    avenue, reader = Avenue(name="a", number=7), LongReader(name="b", text="c")
    doc = await Wrapped(far=avenue, nested=avenue, reading=reader).save()
    await doc.aupdate(far=avenue, reading=reader)
    text = {"name": "a", "number": 7}
    assert await stored(doc.key) == {"far": text, "nested": text, "reading": {"name": "b", "text": "c"}}


class Tagged(BaseModel):
    """A plain model whose validators count, and look beside them."""

    limit: int = 3
    tags: set[str] = set()
    fixed: frozenset[str] = frozenset()
    days: set[datetime] = set()

    @field_validator("tags")
    @classmethod
    def _prefixed(cls, value: Any) -> Any:
        return {f"x-{tag}" for tag in value}

    @field_validator("days")
    @classmethod
    def _few(cls, value: Any, info: ValidationInfo) -> Any:
        assert len(value) <= info.data["limit"]
        return value


class Shelf(AtomicRedisModel):
    """What it is in."""

    one: Tagged = Tagged()
    all: list[Tagged] = []


async def test_sets_of_a_plain_model_are_valid_already(bound, stored):
    """Plain text and numbers in sets are not validated a second time; other sets are, and told of the fields beside."""
    east = timezone(timedelta(hours=2))
    tagged = Tagged(tags={"a"}, fixed=frozenset("b"), days={datetime(2020, 1, 1, 2, tzinfo=east)})
    shelf = await Shelf(one=tagged).save()
    await shelf.all.aappend(tagged)
    text = {"limit": 3, "tags": ["x-a"], "fixed": ["b"], "days": ["2020-01-01T00:00:00Z"]}
    assert await stored(shelf.key) == {"one": text, "all": [text]}
    await shelf.one.tags.aadd("c")
    assert isinstance(shelf.one.fixed, set)


def _within(street: Street, info: ValidationInfo) -> Street:
    if len(street.name) > info.data["limit"]:
        msg = "too long"
        raise ValueError(msg)
    return street


class Road(AtomicRedisModel):
    """Elements that are judged by what stands beside their list."""

    limit: int = 3
    streets: list[Annotated[Street, AfterValidator(_within)]] = []


async def test_elements_that_look_at_other_fields(bound, stored):
    """A list that is saved by itself is judged as in its model."""
    road = await Road(streets=[Street(name="a")]).save()
    road.streets[0].name = "abc"
    await road.streets.save()
    road.streets[0].name = "abcd"
    with pytest.raises(ValidationError, match="too long"):
        await road.streets.save()
    assert (await stored(road.key))["streets"] == [{"name": "abc"}]


@dataclass
class Knot:
    """Something that may hold itself."""

    inside: Any = None


class Tied(AtomicRedisModel):
    """What it is in."""

    knot: Knot = Knot()


async def test_what_is_in_itself(bound):
    """A dataclass around a list that is in itself is refused when it is written, and looked through once."""
    loop: list[Any] = []
    loop.append(loop)
    tied = Tied(knot=Knot(loop))
    with pytest.raises(PydanticSerializationError):
        await tied.save()
    shared: list[Any] = []
    for _ in range(100):
        shared = [shared, shared]
    Tied(knot=Knot(shared))


def test_a_default_that_json_would_change_inside():
    """The default of a plain model's field is refused at class definition like a field's own."""
    odd = datetime(2020, 1, 1, tzinfo=timezone(timedelta(seconds=1)))

    class Stamped(BaseModel):
        at: datetime = datetime(2020, 1, 1)  # noqa: DTZ001 - what is stored has no zone

    with pytest.raises(UsageError, match=r"the default of Bad\.stamped"):

        class Bad(AtomicRedisModel):
            stamped: Stamped = Stamped(at=odd)
