"""`pipeline()`: what is put where, and what becomes of changes that others make to the same places."""

# ruff: noqa: UP045 - old spellings of annotations work too

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from decimal import Decimal
from typing import Any, Optional

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import UsageError
from rapyer.fields import Key


class Inner(AtomicRedisModel):
    """A nested model."""

    n: int = 0
    tags: list[str] = []


class Home(AtomicRedisModel):
    """Containers in containers, and models."""

    n: int = 0
    tags: list[str] = []
    table: dict[str, list[int]] = {}
    rows: list[list[int]] = []
    tables: dict[str, dict[str, int]] = {}
    sets: dict[str, set[int]] = {}
    mixed: list = []
    one: Inner = Inner()
    two: Inner = Inner()
    many: list[Inner] = []


async def _same(model):
    assert model == await type(model).get(model.key)


def _in_place(container, place, value):
    container[place] += value


def _united(container, place, value):
    container[place] |= value


def _again(container, place, _):
    container[place] = container[place]


IN_PLACE = [
    (_in_place, "table", "k", [2], lambda v: v.aappend(9), [1, 2, 9], [1]),
    (_in_place, "rows", 0, [2], lambda v: v.aappend(9), [1, 2, 9], [1]),
    (_in_place, "rows", -1, [2], lambda v: v.aappend(9), [1, 2, 9], [1]),
    (_united, "tables", "k", {"b": 2}, lambda v: v.aset_item("z", 9), {"a": 1, "b": 2, "z": 9}, {"a": 1}),
    (_united, "sets", "k", {2}, lambda v: v.aadd(9), {1, 2, 9}, {1}),
    (_again, "table", "k", None, lambda v: v.aappend(9), [1, 9], [1]),
    (_again, "rows", 0, None, lambda v: v.aappend(9), [1, 9], [1]),
    (_again, "many", 0, None, lambda v: v.n.increase(9), Inner(n=10), Inner(n=1)),
]


@pytest.mark.parametrize("case", IN_PLACE)
async def test_in_place_on_elements(bound, case):
    """An in-place operator on an element adds to what others put there; one assigned to itself is no change."""
    change, field, place, value, meanwhile, wanted, before = case
    home = await Home(**{field: [before] if isinstance(place, int) else {place: before}}).save()
    other = await Home.get(home.key)
    async with home.pipeline():
        change(getattr(home, field), place, value)
        await asyncio.ensure_future(meanwhile(getattr(other, field)[place]))
    got = getattr(await Home.get(home.key), field)[place]
    assert (sorted(got) if isinstance(wanted, list) else got) == wanted
    if change is not _again:
        await _same(home)


async def test_a_model_assigned_to_itself(bound):
    """A nested model assigned to its own field is no change."""
    home = await Home().save()
    other = await Home.get(home.key)
    async with home.pipeline():
        home.one = home.one
        await asyncio.ensure_future(other.one.n.increase(9))
    assert (await Home.get(home.key)).one.n == 9


async def test_in_place_on_an_element_by_many(bound):
    """Fifty blocks at the same time that add to one element: none is lost."""
    home = await Home(rows=[[]], table={"k": []}).save()

    async def add(i):
        mine = await Home.get(home.key)
        async with mine.pipeline():
            mine.rows[0] += [i]
            mine.table["k"] += [i]

    await asyncio.gather(*map(add, range(50)))
    await home.load()
    assert sorted(home.rows[0]) == sorted(home.table["k"]) == list(range(50))


async def test_in_place_keeps_the_element(bound):
    """A variable that holds an element stays the one in the document."""
    home = await Home(table={"k": [1]}).save()
    async with home.pipeline():
        held = home.table["k"]
        home.table["k"] += [2]
        held.append(3)
    assert home.table["k"] == [1, 2, 3]
    await _same(home)


async def test_a_sort_that_fails(bound):
    """What cannot be sorted stays as it was, here and there."""
    home = await Home(mixed=[3, 1, 2, "a", 0]).save()
    async with home.pipeline():
        with pytest.raises(TypeError):
            home.mixed.sort()
    assert home.mixed == [3, 1, 2, "a", 0]
    await _same(home)


def _edited():
    inner = Inner(n=1)
    inner.n = 99
    inner.tags.append("inner")
    return inner


async def _put_in_field(home):
    home.one = _edited()


async def _put_in_list(home):
    home.many.append(_edited())


async def _put_in_new_list(home):
    home.many = [_edited(), _edited()]


async def _put_after_an_operation(home):
    inner = Inner(n=97)
    await inner.n.increase(2)
    inner.tags.append("inner")
    home.one = inner


async def _put_in_a_block_of_its_own(home):
    async with home.pipeline():
        home.one = _edited()


async def _put_by_update(home):
    home.update(one=_edited())


async def _put_by_aupdate(home):
    home.n += 0
    await home.aupdate(one=_edited())


async def _put_below_another(home):
    other = await Home().save()
    other.one = _edited()
    other.one.n += 1
    home.one = other.one


NEW = [
    _put_in_field,
    _put_in_list,
    _put_in_new_list,
    _put_after_an_operation,
    _put_in_a_block_of_its_own,
    _put_by_update,
    _put_by_aupdate,
    _put_below_another,
]


@pytest.mark.one_server("the documents are in slots of their own")
@pytest.mark.parametrize("put", NEW)
async def test_a_new_model_put_in(bound, put):
    """What a block does to a new model before it puts it in stands where it was put, and nowhere else."""
    home = await Home(n=1, tags=["root"]).save()
    async with rapyer.pipeline():
        await put(home)
    found = await Home.get(home.key)
    assert (found.n, found.tags) == (1, ["root"])
    inner = found.many[-1] if found.many else found.one
    assert (inner.n, inner.tags) == (100 if put is _put_below_another else 99, ["inner"])
    await _same(home)


@pytest.mark.one_server("the documents are in slots of their own")
async def test_a_saved_model_put_in(bound):
    """A model that the block saves as a document is copied in: both get what is theirs."""
    home = await Home().save()
    async with rapyer.pipeline():
        inner = Inner(n=1)
        inner.n = 2
        await inner.save()
        home.one = inner
        inner.n = 3
    assert (home.one.n, (await Inner.get(inner.key)).n) == (2, 3)
    await _same(home)


class Named(AtomicRedisModel):
    """A model whose fields say which document it is."""

    name: Key[str]
    n: int = 0


class Group(AtomicRedisModel):
    """What such models are put into."""

    best: Optional[Named] = None


@pytest.mark.one_server("the documents are in slots of their own")
async def test_a_changed_document_put_in(bound):
    """What was done to a document by its key is not lost when it is put into another model."""
    await Named(name="ada").save()
    group = await Group().save()
    async with rapyer.pipeline():
        named = Named(name="ada")
        await named.n.increase(5)
        group.best = named
    assert ((await Named.get("ada")).n, group.best.n) == (5, 5)
    await _same(group)


async def test_a_new_document_is_changed_and_saved(bound):
    """What a block does to a model before it saves it is in what it saves."""
    async with rapyer.pipeline():
        home = Home(n=1)
        home.n = 5
        home.tags.append("x")
        await home.save()
        home.n += 1
    assert (home.n, home.tags) == (6, ["x"])
    await _same(home)


async def test_changes_before_a_save(bound):
    """A save writes all, whatever was recorded before it: also to a document that is gone."""
    home = await Home().save()
    async with home.pipeline():
        home.n += 1
        await home.delete()
        await home.save()
        home.tags.append("a")
    assert (home.n, home.tags) == (1, ["a"])
    await _same(home)


async def test_no_field_is_deleted(bound):
    """`del` of a field is refused inside a block, which could not carry it out."""
    home = await Home(n=1).save()
    async with home.pipeline():
        with pytest.raises(UsageError, match="'n'"):
            del home.n
    assert home.n == 1


@dataclass
class Point:
    """A plain value that changes in place."""

    x: int = 0
    seen: list[int] = dataclass_field(default_factory=list)


class Odd(AtomicRedisModel):
    """Fields whose values change in place and have no operations."""

    model_config = {"extra": "allow"}

    pair: tuple[Inner, list[int]] = (Inner(), [1])
    point: Point = Point()
    queue: deque[list[int]] = deque([[1]])
    order: OrderedDict[str, list[int]] = OrderedDict({"a": [1], "b": [2]})
    numbers: dict[int, list[int]] = {1: [1]}
    free: Any = {"a": [1]}


async def test_a_body_that_raises(bound):
    """Whatever changed in place is as it was on entry, in the same objects."""
    odd = await Odd(more=[1]).save()

    async def block():
        async with odd.pipeline():
            inner, numbers = odd.pair
            inner.n = 9
            numbers.append(2)
            odd.point.x = 5
            odd.point.seen.append(1)
            odd.queue[0].append(2)
            odd.queue.appendleft([])
            odd.order["a"].append(2)
            odd.order.move_to_end("a")
            odd.numbers[1].append(2)
            odd.free["a"].append(2)
            odd.more.append(2)
            raise KeyError

    with pytest.raises(KeyError):
        await block()
    assert odd == Odd(more=[1])
    assert list(odd.order) == ["a", "b"]
    await _same(odd)


async def test_popped_and_put_in_again(bound):
    """A model that was popped is a copy: it can be changed, and be put in again."""
    home = await Home(many=[Inner(n=1), Inner(n=2)]).save()
    async with home.pipeline():
        one = home.many.pop(0)
        one.n += 10
        one.tags.append("x")
        home.many.append(one)
        one.n += 1
    assert home.many == [Inner(n=2), Inner(n=12, tags=["x"])]
    await _same(home)


class Loose(AtomicRedisModel):
    """Values that JSON text makes another type of than assigning does."""

    at: datetime | str = "never"
    price: Decimal | str = "free"


@pytest.mark.usefixtures("bound")
async def test_a_block_leaves_what_a_reader_would_have():
    """After the block a field is what is read from Redis, also where Pydantic reads text as another type."""
    model = Loose()
    await model.save()
    async with model.pipeline():
        model.at = "2020-01-01T00:00:00"
        model.price = "1.50"
    read = await Loose.get(model.key)
    assert (model.at, model.price) == (read.at, read.price)
