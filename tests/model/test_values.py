"""A Redis value is its Python type."""

import base64
import copy
import json
import math
import pickle
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from pydantic import BaseModel

from rapyer import AtomicRedisModel

MOMENT = datetime(2024, 5, 6, 7, 8, 9, 10, timezone(timedelta(hours=2)))


class Part(AtomicRedisModel):
    """A nested model."""

    x: int = 1
    tags: list[str] = ["t"]


class Plain(BaseModel):
    """A plain nested model."""

    y: int = 2


class Values(AtomicRedisModel):
    """One field of each type."""

    text: str = "abc"
    number: int = 42
    double: float = 2.5
    data: bytes = b"ab"
    moment: datetime = MOMENT
    items: list[int] = [3, 1, 2]
    table: dict[str, list[int]] = {"a": [1], "b": []}
    part: Part = Part()
    plain: Plain = Plain()


PLAIN = {
    "text": "abc",
    "number": 42,
    "double": 2.5,
    "data": b"ab",
    "moment": MOMENT,
    "items": [3, 1, 2],
    "table": {"a": [1], "b": []},
}
each = pytest.mark.parametrize("name", PLAIN)


@each
def test_equal_and_instance(name):
    """It compares equal both ways and is an instance of its type."""
    value, plain = getattr(Values(), name), PLAIN[name]
    assert value == plain
    assert plain == value
    assert not value != plain  # noqa: SIM202 - both operators count
    assert isinstance(value, type(plain))
    assert bool(value)


@each
def test_shown_alike(name):
    """It shows, formats and prints as its type."""
    value, plain = getattr(Values(), name), PLAIN[name]
    assert str(value) == str(plain)
    assert f"{value}" == f"{plain}"
    assert "%s" % (value,) == "%s" % (plain,)  # noqa: UP031 - this operator counts as well
    if name != "moment":
        assert repr(value) == repr(plain)


@pytest.mark.parametrize("name", ["text", "number", "double", "data", "moment"])
def test_hash(name):
    """It finds itself in sets and dicts."""
    value, plain = getattr(Values(), name), PLAIN[name]
    assert hash(value) == hash(plain)
    assert {plain: 1}[value] == 1
    assert value in {plain, None}


@each
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(name, protocol):
    """It pickles as the plain value."""
    again = pickle.loads(pickle.dumps(getattr(Values(), name), protocol))  # noqa: S301 - made here
    assert again == PLAIN[name]
    assert type(again) is type(PLAIN[name])


@each
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, lambda value: value.clone()])
def test_copies_are_plain(name, copier):
    """Copies and clones are plain and of equal content."""
    twin = copier(getattr(Values(), name))
    assert twin == PLAIN[name]
    assert type(twin) is type(PLAIN[name])


def test_clone_is_deep():
    """Nothing inside a clone is linked, and changing it changes no model."""

    class Deep(AtomicRedisModel):
        rows: list[dict[str, list[Part]]] = [{"k": [Part()]}]

    deep = Deep()
    assert deep.rows[0]["k"][0].x == 1
    twin = deep.rows.clone()
    assert [type(twin), type(twin[0]), type(twin[0]["k"])] == [list, dict, list]
    assert not twin[0]["k"][0].is_inner_model()
    twin[0]["k"][0].x = 9
    twin[0]["k"].append(Part())
    assert deep.rows == [{"k": [Part()]}]


def test_deepcopy_of_a_list_is_deep():
    """A deep copy shares nothing with the model."""
    values = Values()
    twin = copy.deepcopy(values.table)
    twin["a"].append(5)
    assert values.table["a"] == [1]
    shallow = copy.copy(values.items)
    shallow.append(1)
    assert values.items == [3, 1, 2]


def test_json():
    """The json module takes it."""
    values = Values()
    for name in ("text", "number", "double", "items", "table"):
        assert json.loads(json.dumps(getattr(values, name))) == PLAIN[name]


def test_python_operators():
    """Operators outside of pipelines give what Python gives."""
    values = Values()
    assert (values.number + 1, 1 + values.number, -values.number, values.number % 5) == (43, 43, -42, 2)
    assert (values.text + "d", "x" + values.text, values.text[1], values.text.upper()) == ("abcd", "xabc", "b", "ABC")
    assert values.moment + timedelta(1) == MOMENT + timedelta(1)
    assert values.moment - MOMENT == timedelta(0)
    assert (values.data + b"c", values.items + [4], sorted(values.items)) == (b"abc", [3, 1, 2, 4], [1, 2, 3])  # noqa: RUF005
    assert values.table | {"c": [2]} == {"a": [1], "b": [], "c": [2]}
    assert math.sqrt(values.double) == math.sqrt(2.5)
    assert range(values.number)[-1] == 41
    assert values.moment.tzinfo == MOMENT.tzinfo
    assert {**values.table} == PLAIN["table"]
    assert [*values.items] == PLAIN["items"]
    assert dict(values.table) == PLAIN["table"]
    match values.table:
        case {"a": [first]}:
            assert first == 1
        case _:
            pytest.fail("a mapping pattern does not match")


def test_python_in_place_operators():
    """In-place operators outside of pipelines change the local field only, to the right type."""
    values = Values()
    values.number += 1
    values.text += "d"
    values.data += b"c"
    values.double /= 2
    values.moment += timedelta(hours=1)
    values.items += [4]
    values.table |= {"c": [1]}
    assert (values.number, values.text, values.data, values.double) == (43, "abcd", b"abc", 1.25)
    assert values.moment == MOMENT + timedelta(hours=1)
    assert (values.items, values.table) == ([3, 1, 2, 4], {"a": [1], "b": [], "c": [1]})
    assert values.number.json_path == "$.number"


def test_in_place_operators_with_integers_of_a_class_of_their_own():
    """An integer of another field, or of an enumeration, is taken at once, whatever the number: as any integer."""
    # Another process, because nothing but its end would stop what takes for ever.
    code = """
import asyncio, enum
from rapyer import AtomicRedisModel
from rapyer.errors import UsageError

class Level(enum.IntEnum):
    high = 3

class Numbers(AtomicRedisModel):
    here: int = 1
    there: int = 2

async def increase():
    try:
        await numbers.here.increase(numbers.there)
    except UsageError as error:
        assert "bound to no Redis" in str(error), error

numbers = Numbers()
numbers.here += numbers.there
numbers.here *= Level.high
assert numbers.here == 9, numbers
asyncio.run(increase())
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("method", ["items", "values", "copy"])
def test_dict_views(method):
    """Views and copies equal those of a dict."""
    assert list(getattr(Values().table, method)()) == list(getattr(PLAIN["table"], method)())


def test_models_pickle_and_copy():
    """A document keeps its key when pickled or copied, and its content is equal."""
    values = Values()
    assert values.part.tags[0] == "t"
    twins = [pickle.loads(pickle.dumps(values)), copy.copy(values), copy.deepcopy(values)]  # noqa: S301 - made here
    for twin in twins:
        assert twin == values
        assert twin.key == values.key
        assert twin.part.tags.json_path == "$.part.tags"
        assert twin.part.tags.key == values.key
    deep = twins[2]
    deep.part.tags.append("u")
    deep.items.append(4)
    assert (values.part.tags, values.items) == (["t"], [3, 1, 2])


def test_model_copy_is_a_new_document():
    """`model_copy(update=...)` with a new key is how a keyed model is copied by hand."""
    values = Values()
    assert values.model_copy(update={"number": 1}).number == 1
    assert values.model_copy(deep=True) == values


async def test_bytes_that_others_wrote(bound, write):
    """Bytes in the other base64 alphabet are read, grow, and can be read again: no text has letters of both."""
    values = await Values().save()
    await write(values.key, "$.data", base64.b64encode(b"\xff\xfe\xfb\xff").decode())
    assert (await values.load()).data == b"\xff\xfe\xfb\xff"
    async with values.pipeline():
        values.data += b"\xff\xff"
    assert values.data == (await Values.get(values.key)).data == b"\xff\xfe\xfb\xff\xff\xff"
