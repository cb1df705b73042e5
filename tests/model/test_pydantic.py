# ruff: noqa: UP045 - old spellings of annotations work too
"""What Pydantic models can do, models in documents can do too."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Optional, TypeVar

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError
from rapyer.types import RedisDatetime, RedisInt, RedisList, RedisStr

T = TypeVar("T")


class Opaque:
    """A class without a JSON form."""

    def __init__(self, text="x"):
        self.text = text


class Page(AtomicRedisModel, Generic[T]):
    """A generic model."""

    items: list[T] = []
    first: Optional[T] = None


class Node(AtomicRedisModel):
    """A model that holds its own kind."""

    value: int = 0
    children: list["Node"] = []
    left: Optional["Node"] = None


class Timed(BaseModel):
    """A plain mixin."""

    created: datetime = datetime(2024, 1, 1)  # noqa: DTZ001 - without a zone on purpose


def test_constraints():
    """Field constraints hold on construction, assignment and inside containers."""

    class Limited(AtomicRedisModel):
        age: Annotated[int, Field(ge=0, le=10)] = 0
        name: str = Field("a", max_length=3)
        many: list[Annotated[int, Field(gt=0)]] = []

    with pytest.raises(ValidationError):
        Limited(age=11)
    limited = Limited()
    with pytest.raises(ValidationError):
        limited.name = "long"
    with pytest.raises(ValidationError):
        limited.many.append(0)
    assert (limited.age, limited.name, limited.many) == (0, "a", [])


async def test_aliases(bound, stored):
    """Documents hold field names, whatever the alias; construction takes the alias."""

    class Aliased(AtomicRedisModel):
        model_config = ConfigDict(populate_by_name=True)
        name: str = Field(alias="userName")
        score: int = Field(0, validation_alias=AliasChoices("points", "s"), serialization_alias="Score")
        inner: Optional["AliasedInner"] = None

    class AliasedInner(AtomicRedisModel):
        x: int = Field(1, alias="theX")

    Aliased.model_rebuild(_types_namespace={"AliasedInner": AliasedInner})
    model = await Aliased(userName="a", points=2, inner=AliasedInner(theX=3)).save()
    assert await stored(model.key) == {"name": "a", "score": 2, "inner": {"x": 3}}
    assert (model.name.json_path, model.inner.x.json_path) == ("$.name", "$.inner.x")
    await model.aupdate(name="b", inner=AliasedInner(theX=4))
    assert await model.inner.x.increase() == 5
    again = await Aliased.get(model.key)
    assert (again.name, again.score, again.inner.x) == ("b", 2, 5)
    await again.inner.load()
    assert model.model_dump(by_alias=True)["userName"] == "b"


async def test_validators(bound):
    """Validators run on construction, assignment, aupdate and on what is read."""

    class Checked(AtomicRedisModel):
        name: str
        low: int = 0
        high: int = 10

        @field_validator("name")
        @classmethod
        def upper(cls, value):
            return value.upper()

        @model_validator(mode="after")
        def ordered(self):
            assert self.low <= self.high
            return self

    model = await Checked(name="a").save()
    assert type(model.name) is RedisStr
    model.name = "b"
    assert model.name == "B"
    await model.aupdate(name="c")
    assert (await Checked.get(model.key)).name == "C"
    with pytest.raises(ValidationError):
        Checked(name="a", low=11)
    with pytest.raises(ValidationError):
        await model.aupdate(low=11)
    assert model.low == 0
    assert await model.name.aappend("d") == "CD"


async def test_serializers(bound, stored):
    """Serializers decide what is stored; computed fields are not stored."""

    class Shaped(AtomicRedisModel):
        price: int
        secret: str = Field("s", exclude=True)

        @field_serializer("price")
        def as_text(self, value):
            return f"{value} EUR"

        @field_validator("price", mode="before")
        @classmethod
        def from_text(cls, value):
            return int(str(value).removesuffix(" EUR"))

        @computed_field
        @property
        def double(self) -> int:
            return self.price * 2

    model = await Shaped(price=3).save()
    assert await stored(model.key) == {"price": "3 EUR"}
    again = await Shaped.get(model.key)
    assert (again.price, again.double) == (3, 6)
    await again.aupdate(price=4)
    assert await stored(model.key, "$.price") == "4 EUR"
    await again.price.load()
    assert again.price == 4
    await again.aupdate(secret="t")  # noqa: S106 - a field's name
    assert (again.secret, await stored(model.key)) == ("t", {"price": "4 EUR"})


@pytest.mark.filterwarnings("ignore:Field name")  # Pydantic only warns
@pytest.mark.parametrize("name", ["pk", "key", "json_path", "save", "lock", "pipeline", "get", "aupdate", "update"])
def test_reserved_names(name):
    """A field cannot hide what every model has."""
    with pytest.raises((UsageError, NameError, ValueError, TypeError), match=name):
        type("Bad", (AtomicRedisModel,), {"__annotations__": {name: str}, "__module__": __name__})


async def test_generics(bound, stored):
    """A parametrised model converts by its argument and has its own name."""
    page = await Page[str](items=["a"], first="b").save()
    assert type(page.items[0]) is RedisStr
    assert page.key.startswith("Page[str]:")
    await page.items.aappend("c")
    await page.first.aappend("!")
    assert await stored(page.key) == {"items": ["a", "c"], "first": "b!"}
    assert await Page[str].afind_keys() == [page.key]
    numbers = await Page[int](items=[1]).save()
    assert await numbers.items[0].increase() == 2
    with pytest.raises(ValidationError):
        Page[int](items=["x"])
    nested = await Page[Node](items=[Node(value=1)]).save()
    assert await nested.items[0].value.increase() == 2


async def test_inheritance(bound, stored):
    """Fields, Meta and methods are inherited; each class has its own keys."""

    class Animal(AtomicRedisModel):
        name: str = "a"
        tags: list[str] = []

    class Dog(Animal, Timed):
        age: int = 0

        class Meta:
            ttl = 100

    dog = await Dog(name="rex").save()
    assert type(dog.created) is RedisDatetime
    assert dog.key.startswith("Dog:")
    await dog.tags.aappend("x")
    assert (await Dog.get(dog.key)).tags == ["x"]
    assert await Animal.afind_keys() == []
    assert Animal.Meta.ttl is None
    assert (await stored(dog.key))["created"] == "2024-01-01T00:00:00"


async def test_self_reference(bound, stored):
    """A model may hold its own kind."""
    node = await Node(children=[Node(value=1, children=[Node(value=2)])], left=Node(value=3)).save()
    leaf = node.children[0].children[0]
    assert leaf.value.json_path == "$.children[0].children[0].value"
    assert await leaf.value.increase() == 3
    assert await node.left.value.increase() == 4
    assert (await Node.get(node.key)).children[0].children[0].value == 3
    assert await stored(node.key, "$.left.value") == 4


async def test_extra_fields(bound, stored):
    """With extra='allow' unknown fields are stored and come back."""

    class Open(AtomicRedisModel):
        model_config = ConfigDict(extra="allow")
        name: str = "a"

    model = await Open(name="b", more=[1], other={"x": None}).save()
    assert await stored(model.key) == {"name": "b", "more": [1], "other": {"x": None}}
    again = await Open.get(model.key)
    assert (again.more, again.other) == ([1], {"x": None})
    again.more = [2]
    await again.save()
    assert await stored(model.key, "$.more") == [2]
    async with again.pipeline():
        again.more = [3]
        again.new = 1
    assert await stored(model.key) == {"name": "b", "more": [3], "other": {"x": None}, "new": 1}


async def test_frozen(bound, stored):
    """A frozen model saves and loads; assigning and updating are refused."""

    class Still(AtomicRedisModel):
        model_config = ConfigDict(frozen=True)
        x: int = 1

    still = await Still(x=2).save()
    with pytest.raises(ValidationError):
        still.x = 3
    with pytest.raises(ValidationError, match="frozen"):
        still.update(x=3)
    with pytest.raises(ValidationError, match="frozen"):
        await still.aupdate(x=3)
    assert still.x == (await Still.get(still.key)).x == 2
    assert hash(still) == hash(Still(x=2))


async def test_what_is_no_field(bound, stored):
    """Private attributes and class variables are no part of the document."""

    class Mixed(AtomicRedisModel):
        LIMIT: ClassVar[int] = 3
        _cache: Any = PrivateAttr(default=None)
        x: int = 1

        def model_post_init(self, _context):
            self._cache = Opaque()

    model = await Mixed().save()
    assert await stored(model.key) == {"x": 1}
    again = await Mixed.get(model.key)
    assert isinstance(again._cache, Opaque)
    await model.load()
    assert isinstance(model._cache, Opaque)
    model._cache = 5
    assert model._cache == 5


async def test_local_models(bound):
    """Models defined in a function work, together with what they refer to."""

    class Part(AtomicRedisModel):
        n: int = 0

    class Whole(AtomicRedisModel):
        parts: list[Part] = []

    whole = await Whole(parts=[Part()]).save()
    assert type(whole.parts) is RedisList
    assert type(await whole.parts[0].n.increase()) is RedisInt


def test_pydantic_methods():
    """Dumping, copying, comparing and showing are Pydantic's."""
    node = Node(value=1, children=[Node(value=2)])
    assert node.model_dump() == {"value": 1, "children": [{"value": 2, "children": [], "left": None}], "left": None}
    assert Node.model_validate_json(node.model_dump_json()) == node
    assert node.model_copy(update={"value": 5}).value == 5
    assert repr(node).startswith("Node(value=1, children=[Node(")
    assert Node.model_json_schema()["$defs"]["Node"]["properties"]["value"]["type"] == "integer"
    assert node.model_fields_set == {"value", "children"}


async def test_a_field_read_through_super(bound, stored):
    """A subclass that reads its field by `super()` first leaves the parent's field with the parent's type."""

    class Base(AtomicRedisModel):
        tags: list[int] = []

    class Wide(Base):
        tags: list[str] = []

        def count(self):
            return len(super().tags)

    wide = await Wide(tags=["x"]).save()
    assert wide.count() == 1
    base = await Base(tags=[1]).save()
    with pytest.raises(ValidationError):
        await base.tags.aappend("oops")
    assert await base.tags.aappend(2) == [1, 2]
    assert await wide.tags.aappend("y") == ["x", "y"]
    assert (await stored(base.key), await stored(wide.key)) == ({"tags": [1, 2]}, {"tags": ["x", "y"]})


@pytest.mark.parametrize("extra", ["ignore", "allow"])
async def test_a_local_field_in_a_pipeline(bound, stored, extra):
    """A field that is not stored may be assigned in a block: nothing is sent for it."""

    class Local(AtomicRedisModel, extra=extra):
        n: int = 0
        note: str = Field("", exclude=True)

    local = await Local().save()
    async with local.pipeline():
        local.note = "here"
        local.n += 1
        local.note += "!"
    assert (local.note, local.n) == ("here!", 1)
    assert await stored(local.key) == {"n": 1}
