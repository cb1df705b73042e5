"""Assigning a field gives what Pydantic's own assignment gives: value, type, fields set, and error, word for word."""

from datetime import datetime, timedelta, timezone
from typing import Annotated

import pytest
from annotated_types import Gt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticUndefined, core_schema

from rapyer import AtomicRedisModel
from rapyer.errors import OutOfRange


class Assigned(AtomicRedisModel):
    """Fields of plain kinds, some with constraints."""

    model_config = ConfigDict(str_strip_whitespace=True, str_max_length=20)

    number: int = 0
    small: Annotated[int, Field(ge=0, le=9)] = 0
    exact: Annotated[int, Field(strict=True)] = 0
    text: str = ""
    coded: Annotated[str, Field(pattern="^[a-z]+$")] = "a"
    flag: bool = False
    size: float = 0.0
    data: bytes = b""
    when: datetime | None = None
    span: timedelta = timedelta()
    names: list[str] = []
    counts: dict[str, int] = {}
    sizes: dict[str, float] = {}
    nested: dict[str, list[int]] = {}
    fixed: Annotated[int, Field(frozen=True)] = 0
    hidden: Annotated[int, Field(exclude=True)] = 0
    odd: int = 1
    beside: int = 0

    @field_validator("odd")
    @classmethod
    def _odd(cls, value):
        if value % 2 == 0:
            msg = "even"
            raise ValueError(msg)
        return value

    @field_validator("beside")
    @classmethod
    def _beside(cls, value, info):
        return value + info.data["number"]


GIVEN = [
    0,
    7,
    True,
    "12",
    "  text ",
    "x" * 30,
    2.0,
    2.5,
    float("nan"),
    2**63,
    10**30,
    None,
    b"bytes",
    "2026-01-02T03:04:05Z",
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    timedelta(seconds=3),
    ["a", " b"],
    [1],
    ("a",),
    {"a": 1},
    {"a": "1"},
    {1: 1},
    {"a": "x"},
    "\ud800",
    ...,
]


def outcome(assign):
    """Return what assigning gives, or the errors."""
    try:
        assign()
    except ValidationError as error:
        return error.title, str(error)
    return None


@pytest.mark.parametrize("given", GIVEN, ids=repr)
@pytest.mark.parametrize("name", list(Assigned.model_fields))
def test_same_as_pydantic(name, given):
    """By `model.field = value`, whether it fits or not."""
    model, other = Assigned(), Assigned()
    told = outcome(lambda: other.__pydantic_validator__.validate_assignment(other, name, given))
    assert outcome(lambda: setattr(model, name, given)) == told
    if told is None:
        mine, theirs = model.__dict__[name], other.__dict__[name]
        assert (type(mine), mine) == (type(theirs), theirs)
        assert mine is not given or not isinstance(given, (list, dict))
        assert model.model_fields_set == other.model_fields_set
    else:
        assert (model.__dict__, model.model_fields_set) == (Assigned().__dict__, set())


async def test_what_cannot_be_sent_leaves_the_model_as_it_was(bound):
    """In a block, a value that validates and cannot be written is refused, and what was there stays."""
    model = await Assigned(sizes={"x": 1.5}).save()
    async with model.pipeline() as block:
        sizes = block.sizes
        with pytest.raises(ValidationError):
            block.small = 10
        with pytest.raises(OutOfRange):
            block.sizes = {"a\\b": 0.9715098593399603}  # that RedisJSON reads as another, below such a name
        assert block.sizes is sizes
        assert block.sizes == {"x": 1.5}
        assert block.small == 0
        block.number = 3
    found = await Assigned.get(model.key)
    assert (found.number, found.sizes, found.small) == (model.number, model.sizes, model.small) == (3, {"x": 1.5}, 0)


async def test_updates_too(bound):
    """`aupdate()` takes and refuses the same."""
    model = await Assigned().save()
    await model.aupdate(number="12", text=" x ", names=("a",), counts={"a": "2"})
    assert (model.number, model.text, model.names, model.counts) == (12, "x", ["a"], {"a": 2})
    with pytest.raises(ValidationError, match="less than or equal to 9"):
        await model.aupdate(number=1, small=10)
    with pytest.raises(ValidationError, match="frozen"):
        await model.aupdate(number=1, fixed=1)
    assert (await Assigned.get(model.key)).number == 12


@pytest.mark.parametrize(
    ("name", "give", "wanted"),
    [
        ("names", lambda: (name for name in ["a", "b"]), ["a", "b"]),
        ("names", lambda: (name for name in ["a", 1]), None),
        ("nested", lambda: {"a": iter([1]), "b": iter([2])}, {"a": [1], "b": [2]}),
        ("nested", lambda: {"a": iter([1]), "b": iter(["x"])}, None),
    ],
)
def test_what_can_be_gone_through_only_once(name, give, wanted):
    """A generator is taken or refused by what it gives, at any depth: it is not gone through twice."""
    model = Assigned()
    before = dict(model.__dict__)
    told = outcome(lambda: setattr(model, name, give()))
    assert (told is None) == (wanted is not None)
    assert model.__dict__ == (before if wanted is None else {**before, name: wanted})


class Part(BaseModel):
    """Tells what its validator is asked."""

    number: int = 0

    @field_validator("number")
    @classmethod
    def _number(cls, value):
        ASKED.append(value)
        if value < 0:
            msg = "negative"
            raise ValueError(msg)
        return value


class Beside:
    """Text with what stands beside it, as a type of the user's makes it of what is no JSON."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        """Return a schema whose two ways are not the same."""
        told = core_schema.with_info_plain_validator_function(lambda value, info: f"{value}{info.data['number']}")
        return core_schema.json_or_python_schema(core_schema.str_schema(), told)


class Told(AtomicRedisModel):
    """Fields with code of the user's, wherever it is."""

    number: int = 1
    part: Part = Part()
    beside: Beside = ""
    same: int = Field(default_factory=lambda fields: fields["number"])


ASKED = []


def test_validators_inside_are_asked_once():
    """A nested plain model's own validators see a value once, whether they take it or not."""
    model = Told()
    ASKED.clear()
    model.part = {"number": 3}
    told = outcome(lambda: setattr(model, "part", {"number": -1}))
    assert told is not None
    assert ASKED == [3, -1]


@pytest.mark.parametrize(("name", "given", "wanted"), [("beside", "x", "x1"), ("same", PydanticUndefined, 1)])
def test_what_looks_at_the_other_fields(name, given, wanted):
    """A validator or a factory inside of Pydantic's own schemas is told of the fields beside."""
    model = Told()
    setattr(model, name, given)
    assert getattr(model, name) == wanted


def test_a_model_that_is_rebuilt():
    """What its fields are held to from then on counts at once, more or less than before."""

    class Rebuilt(AtomicRedisModel):
        number: int = 0

    model = Rebuilt()
    model.number = 5
    Rebuilt.model_fields["number"].metadata = [Gt(9)]
    Rebuilt.model_rebuild(force=True)
    with pytest.raises(ValidationError, match="greater than 9"):
        model.number = 6
    assert model.number == 5
    Rebuilt.model_fields["number"].metadata = []
    Rebuilt.model_rebuild(force=True)
    model.number = 6
    assert model.number == 6


def test_a_class_that_pydantic_does_not_assign_to():
    """Where the class's own schema is none of a model, Pydantic's refusal is told."""

    class Chained(AtomicRedisModel):
        number: int = 0

        @classmethod
        def __get_pydantic_core_schema__(cls, source, handler):
            own = super().__get_pydantic_core_schema__(source, handler)
            return core_schema.chain_schema([own, core_schema.any_schema()])

    with pytest.raises(TypeError, match="validate_assignment is not supported"):
        Chained().number = 1
