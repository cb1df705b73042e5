# ruff: noqa: UP045 - old spellings of annotations work too
"""What can be stored, and what is refused at class definition."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum, Flag
from typing import Annotated, Any, Literal, NamedTuple, Optional

import pytest
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
)
from pydantic_core import PydanticSerializationError

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError


class Opaque:
    """A class without a JSON form."""

    def __init__(self, text="x"):
        self.text = text


async def test_any_class_with_a_json_form(bound, stored):
    """A class of one's own is stored as its PlainSerializer says."""
    kind = Annotated[
        Opaque,
        PlainValidator(lambda value: value if isinstance(value, Opaque) else Opaque(value)),
        PlainSerializer(lambda value: value.text),
    ]

    class Owner(AtomicRedisModel):
        one: kind
        many: list[kind] = []

    owner = await Owner(one=Opaque("a"), many=[Opaque("b")]).save()
    assert await stored(owner.key) == {"one": "a", "many": ["b"]}
    await owner.many.aappend(Opaque("c"))
    again = await Owner.get(owner.key)
    assert (again.one.text, [item.text for item in again.many]) == ("a", ["b", "c"])


@pytest.mark.parametrize("arbitrary", [False, True])
@pytest.mark.parametrize(
    "shape", [Opaque, list[Opaque], dict[str, Opaque], Optional[Opaque], type[int], Iterable[int], SecretStr]
)
def test_no_json_form(arbitrary, shape):
    """A type without a JSON form is an error at class definition that names the field and the remedy."""
    with pytest.raises(UsageError, match=r"Bad\.thing.*PlainSerializer"):

        class Bad(AtomicRedisModel):
            model_config = ConfigDict(arbitrary_types_allowed=arbitrary)
            name: str
            thing: shape


async def test_secrets(bound, stored):
    """A secret is stored only by a serializer that says so."""
    kind = Annotated[SecretStr, PlainSerializer(lambda value: value.get_secret_value())]

    class Account(AtomicRedisModel):
        token: kind

    account = await Account(token="x").save()  # noqa: S106 - no secret
    assert await stored(account.key) == {"token": "x"}
    assert (await Account.get(account.key)).token.get_secret_value() == "x"


async def test_config_reaches_elements(bound, stored):
    """The model's options hold for elements too, in whatever way they come in."""

    class Tidy(AtomicRedisModel):
        model_config = ConfigDict(str_strip_whitespace=True, ser_json_timedelta="float")
        names: list[str] = []
        waits: dict[str, timedelta] = {}

    tidy = await Tidy(names=[" a "], waits={"a": timedelta(seconds=1.5)}).save()
    await tidy.names.aappend(" b ")
    async with tidy.pipeline():
        tidy.names.append(" c ")
        tidy.waits["b"] = timedelta(seconds=2.5)
    assert await stored(tidy.key) == {"names": ["a", "b", "c"], "waits": {"a": 1.5, "b": 2.5}}
    assert await Tidy.get(tidy.key) == tidy


def test_config_of_the_stored_form():
    """Options on which the stored form depends cannot be changed."""
    with pytest.raises(UsageError, match="ser_json_bytes"):

        class Hexed(AtomicRedisModel):
            model_config = ConfigDict(ser_json_bytes="hex")

    with pytest.raises(UsageError, match="ser_json_temporal"):

        class Counted(AtomicRedisModel):
            model_config = ConfigDict(ser_json_temporal="milliseconds")


@pytest.mark.parametrize(
    "kind",
    [
        dict[tuple[int, int], str],
        list[dict[frozenset[str], int]],
        Optional[dict[tuple, int]],
        dict[Optional[int], str],
        dict[str | None, str],
    ],
)
def test_keys_that_are_not_read_back(kind):
    """A dict whose keys are written as text that is no such key again is refused at class definition."""
    with pytest.raises(UsageError, match=r"Grid\.cells"):

        class Grid(AtomicRedisModel):
            cells: kind


class Level(Flag):
    """Integers that JSON gives back as text where they are keys."""

    LOW = 1
    HIGH = 2


class OneOrOne(Enum):
    """Two values that are one text."""

    NUMBER = 1
    TEXT = "1"


class Picky(Enum):
    """Raises what is no ValueError when it is asked for a value that it has not."""

    ONE = 1

    @classmethod
    def _missing_(cls, value):
        return {"uno": cls.ONE}[value]


class Spot(NamedTuple):
    """A tuple with names."""

    x: int = 0


@dataclass(frozen=True)
class Cell:
    """Something that can be hashed."""

    x: int = 0


KINDS = [Literal[1, 2], Literal["a", 1], Level, OneOrOne, Picky, Spot, Cell, Cell | str, Level | int]


@pytest.mark.parametrize("keys", KINDS)
def test_kinds_of_keys_that_are_not_read_back(keys):
    """So are keys of literals, flags, enumerations, named tuples and dataclasses, also one kind among several."""
    with pytest.raises(UsageError, match=r"Grid\.cells"):

        class Grid(AtomicRedisModel):
            cells: dict[keys, int]

    with pytest.raises(UsageError, match=r"Values\.cells"):

        class Values(AtomicRedisModel):
            model_config = ConfigDict(use_enum_values=True)
            cells: dict[keys, int]


@pytest.mark.parametrize("shape", [dict[timedelta, int], list[dict[timedelta, int]], Optional[dict[timedelta, int]]])
def test_keys_that_an_option_makes_numbers(shape):
    """So are spans of time that the model's options have written as numbers; as text they may be keys."""

    class Spans(AtomicRedisModel):
        waits: shape

    with pytest.raises(UsageError, match=r"Counted\.waits"):

        class Counted(AtomicRedisModel):
            model_config = ConfigDict(ser_json_timedelta="float")
            waits: shape


async def test_keys_of_any_kind(bound, stored, client):
    """Keys that may be anything are text, and keys of several kinds come back as they are; others are refused."""
    when = date(2026, 1, 1)

    class Board(AtomicRedisModel):
        bare: dict = {}
        named: dict[Any, int] = {}
        inner: list[dict] = []
        several: dict[int | str, int] = {}
        moments: dict[date | int, str] = {}
        local: dict[Any, int] = Field(default={}, exclude=True)

    given = {
        "bare": {"1": 1},
        "named": {"a": 1},
        "inner": [{"b": 2}],
        "several": {"1": 1},
        "moments": {when: "", 1: "x"},
    }
    board = await Board(**given, local={1: 1}).save()
    again = await Board.get(board.key)
    assert again.model_dump() == {**given}
    before = await stored(board.key)
    for name, value in {
        "bare": {1: 1},
        "named": {(1, 2): 1},
        "inner": [{None: 1}],
        "several": {1: 1, "1": 2},
    }.items():
        with pytest.raises(ValidationError):
            Board(**{name: value})
        with pytest.raises(ValidationError):
            setattr(board, name, value)
        with pytest.raises(ValidationError):
            await board.aupdate(**{name: value})
    with pytest.raises(ValidationError):
        await board.inner.aappend({1: 1})
    async with board.pipeline():
        with pytest.raises(ValidationError):
            board.named = {1: 1}
    assert await stored(board.key) == before
    board.named[1] = 1
    with pytest.raises(PydanticSerializationError):
        await board.save()
    with pytest.raises(PydanticSerializationError):
        await board.duplicate()
    assert await stored(board.key) == before
    assert len(await client.keys("*")) == 1


class Planet(Enum):
    """Values that JSON gives back as others."""

    EARTH = (5.976e24, 6.37814e6)
    NOWHERE = "nowhere"


class Raw(Enum):
    """Bytes are text in JSON."""

    A = b"a"


class Colour(Enum):
    """Pydantic's literals find the text, not the member."""

    RED = "red"


class Lenient(Enum):
    """Finds its members in what JSON gives back, too."""

    EARTH = (5.976e24, 6.37814e6)

    @classmethod
    def _missing_(cls, value):
        return next((member for member in cls if member.value == tuple(value)), None)


@pytest.mark.parametrize("shape", [Planet, Raw, Literal[b"a"], Literal[Colour.RED], list[Planet], Planet | None])
def test_what_json_does_not_give_back(shape):
    """Enumerations and literals with values that nobody could read again are refused like what has no JSON form."""
    with pytest.raises(UsageError, match=r"Bad\.thing.*PlainSerializer"):

        class Bad(AtomicRedisModel):
            thing: shape


class Sized(Enum):
    """Finds its members by their names."""

    EARTH = (5.976e24, 6.37814e6)

    @classmethod
    def _missing_(cls, value):
        return cls.__members__.get(value) if isinstance(value, str) else None


def _by_name(value):
    return Planet[value] if isinstance(value, str) else value


class Atlas(AtomicRedisModel):
    """Says for itself how its planets are written and read, around what may be nothing, or several."""

    maybe: Planet | None = None
    several: list[Planet] = []
    after: Annotated[
        Planet,
        AfterValidator(lambda planet: planet),
        BeforeValidator(_by_name),
        PlainSerializer(lambda planet: planet.name),
    ] = Planet.EARTH
    sized: Annotated[Sized, PlainSerializer(lambda planet: planet.name)] = Sized.EARTH
    colour: Annotated[Literal[Colour.RED] | None, BeforeValidator(lambda value: value and Colour(value))] = None

    @field_validator("maybe", mode="before")
    @classmethod
    def _one(cls, value):
        return _by_name(value)

    @field_validator("several", mode="before")
    @classmethod
    def _each(cls, values):
        return [_by_name(value) for value in values]

    @field_serializer("maybe", "several")
    def _names(self, value):
        return [each.name for each in value] if isinstance(value, list) else value and value.name


async def test_who_says_how_is_believed(bound, stored):
    """Validators and serializers of the user's around an enumeration or a literal count wherever they are."""
    atlas = await Atlas(maybe=Planet.EARTH, several=[Planet.EARTH, Planet.NOWHERE], colour=Colour.RED).save()
    assert await stored(atlas.key) == {
        "maybe": "EARTH",
        "several": ["EARTH", "NOWHERE"],
        "after": "EARTH",
        "sized": "EARTH",
        "colour": "red",
    }
    assert await Atlas.get(atlas.key) == atlas


class Twice(str, Enum):
    """Two names for one member."""

    LOW = "l"
    BOTTOM = "l"  # noqa: PIE796 - the second name
    HIGH = "h"


async def test_keys_with_two_names(bound):
    """An enumeration some of whose members have several names, as signals do, may be the keys of a dict."""

    class Grid(AtomicRedisModel):
        cells: dict[Twice, int] = {}

    grid = await Grid(cells={Twice.BOTTOM: 1, Twice.HIGH: 2}).save()
    assert (await Grid.get(grid.key)).cells == {Twice.LOW: 1, Twice.HIGH: 2}


async def test_enumerations_that_come_back(bound, stored):
    """Whatever finds the member in the JSON text will do; other values of members are as good as text."""

    class Mixed(Enum):
        TEXT = "a"
        NUMBER = 1
        DOUBLE = 0.5
        NOTHING = None

    class Word(str, Enum):
        A = "a"

    named = Annotated[
        Planet,
        BeforeValidator(lambda value: Planet[value] if isinstance(value, str) else value),
        PlainSerializer(lambda value: value.name),
    ]

    class Good(AtomicRedisModel):
        mixed: list[Mixed] = list(Mixed)
        lenient: Lenient = Lenient.EARTH
        by_name: named = Planet.EARTH
        literal: Literal["b", 1, Word.A] | None = Word.A

    good = await Good().save()
    assert (await stored(good.key))["by_name"] == "EARTH"
    assert await Good.get(good.key) == good
