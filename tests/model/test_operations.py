"""Awaited operations: each gives the new truth, here and in Redis, wherever the field stands."""

import asyncio
import operator
import random
import struct
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound, OutOfRange, PathNotFound, WrongType
from rapyer.types import RedisDatetime

MOMENT = datetime(2024, 2, 29, 23, 59, 59, 999999, timezone(timedelta(hours=-5)))


class Fields(AtomicRedisModel):
    """One field of each type that has operations."""

    n: int = 10
    f: float = 0.5
    s: str = "ab"
    d: datetime = MOMENT
    items: list[int] = [1, 2, 3]
    table: dict[str, int] = {"a": 1, "b": 2}


class Root(AtomicRedisModel):
    """The same at every place."""

    n: int = 10
    f: float = 0.5
    s: str = "ab"
    d: datetime = MOMENT
    items: list[int] = [1, 2, 3]
    table: dict[str, int] = {"a": 1, "b": 2}
    nested: Fields = Fields()
    many: list[Fields] = [Fields(), Fields()]
    named: dict[str, Fields] = {"k": Fields(), "it's \"\\": Fields()}


PLACES = {
    "top": lambda root: root,
    "nested": lambda root: root.nested,
    "element": lambda root: root.many[1],
    "value": lambda root: root.named["k"],
    "unwritable": lambda root: root.named["it's \"\\"],
}
place = pytest.mark.parametrize("take", PLACES.values(), ids=PLACES)

#: field, operation, what it answers (None: the new truth), the new truth
OPERATIONS = [
    ("n", lambda v: v.increase(), None, 11),
    ("n", lambda v: v.increase(-15), None, -5),
    ("n", lambda v: v.increase(amount=2**53), None, 10 + 2**53),
    ("f", lambda v: v.increase(), None, 1.5),
    ("f", lambda v: v.increase(0.1), None, 0.6),
    ("f", lambda v: v.increase(2), None, 2.5),
    ("s", lambda v: v.aappend('c"\\\n\0é😀'), None, 'abc"\\\n\0é😀'),
    ("s", lambda v: v.aappend(""), None, "ab"),
    ("d", lambda v: v.aadd(timedelta(microseconds=1)), None, MOMENT + timedelta(microseconds=1)),
    ("d", lambda v: v.aadd(-timedelta(days=366)), None, MOMENT - timedelta(days=366)),
    ("items", lambda v: v.aappend(4), None, [1, 2, 3, 4]),
    ("items", lambda v: v.aextend([4, 5]), None, [1, 2, 3, 4, 5]),
    ("items", lambda v: v.aextend([]), None, [1, 2, 3]),
    ("items", lambda v: v.ainsert(0, 0), None, [0, 1, 2, 3]),
    ("items", lambda v: v.ainsert(-1, 9), None, [1, 2, 9, 3]),
    ("items", lambda v: v.ainsert(99, 9), None, [1, 2, 3, 9]),
    ("items", lambda v: v.ainsert(-99, 9), None, [9, 1, 2, 3]),
    ("items", lambda v: v.apop(), 3, [1, 2]),
    ("items", lambda v: v.apop(0), 1, [2, 3]),
    ("items", lambda v: v.apop(-3), 1, [2, 3]),
    ("items", lambda v: v.aremove(2), None, [1, 3]),
    ("items", lambda v: v.aset_item(1, 9), None, [1, 9, 3]),
    ("items", lambda v: v.aset_item(-1, 9), None, [1, 2, 9]),
    ("items", lambda v: v.aclear(), None, []),
    ("table", lambda v: v.aset_item("c", 3), None, {"a": 1, "b": 2, "c": 3}),
    ("table", lambda v: v.adel_item("a"), None, {"b": 2}),
    ("table", lambda v: v.aupdate({"a": 5}, c=6), None, {"a": 5, "b": 2, "c": 6}),
    ("table", lambda v: v.aupdate([("z", 1)]), None, {"a": 1, "b": 2, "z": 1}),
    ("table", lambda v: v.aupdate(), None, {"a": 1, "b": 2}),
    ("table", lambda v: v.apop("a"), 1, {"b": 2}),
    ("table", lambda v: v.apop("x"), None, {"a": 1, "b": 2}),
    ("table", lambda v: v.apop("x", 7), 7, {"a": 1, "b": 2}),
    ("table", lambda v: v.apopitem(), ("b", 2), {"a": 1}),
    ("table", lambda v: v.aclear(), None, {}),
]


@place
@pytest.mark.parametrize(("name", "operate", "answer", "truth"), OPERATIONS)
async def test_truth(bound, take, name, operate, answer, truth):
    """Answer, local value and what Redis holds are the new truth; nothing else changes."""
    root = await Root().save()
    result = await operate(getattr(take(root), name))
    pops = answer is not None or (name == "table" and result is None)
    assert result == (answer if pops else truth)
    assert getattr(take(root), name) == truth
    again = await Root.get(root.key)
    assert again == root
    setattr(take(again), name, getattr(Fields(), name))
    assert again == Root()


@place
async def test_truth_includes_what_others_did(bound, take):
    """The local value becomes what Redis holds, not what the local sum would be."""
    root = await Root().save()
    other = take(await Root.get(root.key))
    mine = take(root)
    await other.n.increase(5)
    await other.s.aappend("x")
    await other.items.aappend(9)
    await other.table.aset_item("o", 1)
    assert await mine.n.increase() == 16
    assert await mine.s.aappend("y") == "abxy"
    assert await mine.items.ainsert(0, 0) == [0, 1, 2, 3, 9]
    assert await mine.table.aset_item("m", 2) == {"a": 1, "b": 2, "o": 1, "m": 2}
    assert (mine.n, mine.s, mine.items) == (16, "abxy", [0, 1, 2, 3, 9])


async def test_fifty_at_once(bound):
    """Concurrent callers all count, and no two pop the same element."""
    root = await Root(items=range(50)).save()
    roots = [await Root.get(root.key) for _ in range(50)]
    await asyncio.gather(
        *(one.n.increase() for one in roots),
        *(one.nested.f.increase(0.5) for one in roots),
        *(one.s.aappend("x") for one in roots),
        *(one.many[0].items.aappend(i) for i, one in enumerate(roots)),
        *(one.table.aset_item(str(i), i) for i, one in enumerate(roots)),
    )
    popped = await asyncio.gather(*(one.items.apop() for one in roots))
    await root.load()
    assert (root.n, root.nested.f, root.s) == (60, 25.5, "ab" + "x" * 50)
    assert sorted(root.many[0].items[3:]) == sorted(popped) == list(range(50))
    assert (len(root.table), root.items) == (52, [])


@pytest.mark.parametrize(
    ("start", "amount"), [(2**63 - 1, 1), (-(2**63), -1), (2**62, 2**62), (0, 2**63), (-2, -(2**63) + 1)]
)
async def test_64_bits(bound, stored, start, amount):
    """A result outside signed 64 bits is OutOfRange and writes nothing."""
    root = await Root(n=start).save()
    with pytest.raises(OutOfRange, match=r"\$\.n"):
        await root.n.increase(amount)
    assert (root.n, await stored(root.key, "$.n")) == (start, start)


@pytest.mark.parametrize(
    ("start", "amount"),
    [(2**53, 1), (2**63 - 2, 1), (-(2**63) + 1, -1), (2**63 - 1, -(2**63)), (-(2**63), 2**63 - 1), (10**18, 7)],
)
async def test_exact_integers(bound, stored, start, amount):
    """Every 64-bit integer is exact through save, load and increase."""
    root = await Root(n=start).save()
    assert (await Root.get(root.key)).n == start
    assert await root.n.increase(amount) == start + amount
    assert await stored(root.key, "$.n") == start + amount


async def test_doubles_bit_for_bit(bound):
    """Doubles come back bit for bit through save, operations, lists and dicts."""
    rng = random.Random(7)
    doubles = [struct.unpack("<d", rng.randbytes(8))[0] for _ in range(2000)]
    doubles = [d for d in doubles if d - d == 0]
    doubles += [
        0.1 + 0.2,
        5e-324,
        1.7976931348623157e308,
        2.2250738585072014e-308,
        -0.0,
        1 / 3,
        1e23,
        123456789012345.67,
    ]

    class Doubles(AtomicRedisModel):
        f: float = 0.0
        many: list[float] = []
        named: dict[str, float] = {}
        free: Any = None

    one = await Doubles(many=doubles, free=doubles).save()
    await one.named.aupdate({str(i): d for i, d in enumerate(doubles)})
    again = await Doubles.get(one.key)
    expected = [d.hex() for d in doubles]
    for found in (again.many, again.free, again.named.values()):
        assert [d.hex() for d in found] == expected
    for double in doubles[:300]:
        await one.aupdate(f=double)
        assert (await one.f.load()).hex() == double.hex()
        if abs(double) < 1e308:
            assert (await one.f.increase(1 / 3)).hex() == (double + 1 / 3).hex()
        await one.many.aset_item(0, double)
        assert one.many[0].hex() == double.hex()


async def test_double_overflow(bound, stored):
    """A result that is not finite is OutOfRange; an amount that is not is refused before it is sent."""
    root = await Root(f=1.7e308).save()
    for amount in (1.7e308, float("inf"), float("nan")):
        with pytest.raises(OutOfRange):
            await root.f.increase(amount)
    assert await stored(root.key, "$.f") == 1.7e308


async def test_an_integer_where_a_double_is_due(bound, write):
    """A float whose default or stored text is an integer counts as a double."""

    class Balance(AtomicRedisModel):
        f: float = 0

    one = await Balance().save()
    assert await one.f.increase(0.25) == 0.25
    await write(one.key, "$.f", 3)
    assert await one.f.increase(0.5) == 3.5


async def test_years(bound, stored):
    """A moment outside the years 1 to 9999 is OutOfRange and writes nothing."""
    root = await Root(d=datetime(9999, 12, 31, tzinfo=timezone.utc)).save()
    with pytest.raises(OutOfRange):
        await root.d.aadd(timedelta(days=1))
    assert await stored(root.key, "$.d") == "9999-12-31T00:00:00Z"


@pytest.mark.parametrize(
    "move",
    [
        lambda root: operator.iadd(root.d, timedelta(days=2)),
        lambda root: operator.isub(root.d, timedelta(days=-2)),
        lambda root: operator.isub(root.d, timedelta.min),
    ],
    ids=["+=", "-=", "-= the longest"],
)
async def test_years_in_a_block(bound, stored, move):
    """In a block, too, such a moment is OutOfRange, which names the years; in no document it is Python's error."""
    root = await Root(d=datetime(9999, 12, 31, tzinfo=timezone.utc)).save()
    async with root.pipeline():
        with pytest.raises(OutOfRange, match="9999"):
            await root.d.aadd(timedelta(days=2))
        with pytest.raises(OutOfRange, match="9999"):
            move(root)
    assert await stored(root.key, "$.d") == "9999-12-31T00:00:00Z"
    moment = RedisDatetime(9999, 12, 31)
    with pytest.raises(OverflowError):
        moment += timedelta(days=2)


class Visit(BaseModel):
    """A plain model."""

    when: datetime = datetime(9999, 12, 31, tzinfo=timezone.utc)


class Visits(AtomicRedisModel):
    """Has some."""

    n: int = 0
    all: list[Visit] = [Visit()]


@pytest.mark.parametrize("inside", [False, True])
async def test_years_in_no_document(bound, inside):
    """Of a plain model that was taken out of its document it is Python's error, in a block and outside."""
    visits = await Visits().save()
    async with rapyer.pipeline() if inside else nullcontext():
        visit = visits.all.pop()
        with pytest.raises(OverflowError):
            visit.when += timedelta(days=2)


async def test_python_errors(bound, stored):
    """Missing elements are Python's errors, and change nothing."""
    root = await Root().save()
    cases = [
        (root.items.apop(3), IndexError),
        (root.items.apop(-4), IndexError),
        (root.items.aset_item(3, 1), IndexError),
        (root.items.aset_item(-4, 1), IndexError),
        (root.items.aremove(99), ValueError),
        (root.table.adel_item("x"), KeyError),
        (root.items.aappend("x"), ValidationError),
        (root.table.aset_item("x", "x"), ValidationError),
        (root.table.aset_item(1, 1), TypeError),
        (root.n.increase(1.5), TypeError),
        (root.s.aappend(1), TypeError),
    ]
    for call, error in cases:
        with pytest.raises(error):
            await call
    assert root == Root()
    assert await stored(root.key) == root.model_dump(mode="json")


async def test_empty(bound):
    """Popping from an empty list gives None, from an empty dict KeyError."""
    root = await Root(items=[], table={}).save()
    assert await root.items.apop() is None
    assert await root.items.apop(5) is None
    with pytest.raises(KeyError):
        await root.table.apopitem()
    await root.items.aclear()
    await root.table.aclear()
    assert (root.items, root.table) == ([], {})


@place
async def test_document_gone(bound, take):
    """Every operation on a deleted document is KeyNotFound and recreates nothing."""
    root = await Root().save()
    await bound.delete(root.key)
    for name, operate, *_ in OPERATIONS:
        with pytest.raises(KeyNotFound):
            await operate(getattr(take(root), name))
    assert root == Root()
    assert await bound.keys() == []


@place
async def test_place_gone_or_changed(bound, take, write):
    """A field that is gone is PathNotFound, one of another kind WrongType; neither changes anything."""
    root = await Root().save()
    part = take(root)
    for error, left in ((WrongType, dict.fromkeys(Fields.model_fields, True)), (PathNotFound, {})):
        await write(root.key, "$", left | {"nested": left, "many": [{}, left], "named": {"k": left, "it's \"\\": left}})
        before = await bound.execute_command("JSON.GET", root.key)
        for name, operate, *_ in OPERATIONS:
            with pytest.raises(error):
                await operate(getattr(part, name))
        assert await bound.execute_command("JSON.GET", root.key) == before


@pytest.mark.parametrize("index", [10**20, 2**63, -(10**20)])
async def test_an_index_far_outside(bound, stored, index):
    """However far outside the list an index is, an element goes to the nearest end, here and in Redis."""
    fields = await Fields().save()
    assert await fields.items.ainsert(index, 9) == ([9, 1, 2, 3] if index < 0 else [1, 2, 3, 9])
    assert (await stored(fields.key))["items"] == fields.items


@pytest.mark.parametrize("amount", [10**400, -(10**400), float("inf"), float("nan")])
async def test_an_amount_that_is_no_double(bound, stored, amount):
    """Of an integer that no double holds a double refuses to be increased, as of what is not finite."""
    fields = await Fields().save()
    with pytest.raises(OutOfRange):
        await fields.f.increase(amount)
    assert (await stored(fields.key))["f"] == fields.f == 0.5


class Standing:
    """Stands for another value, as far as that is there."""

    def __init__(self, *values):
        self.values = list(values)

    __class__ = property(lambda self: type(self.values[0]))

    def __le__(self, other):
        return self.values[0] <= other

    def __ge__(self, other):
        return self.values[0] >= other

    def __str__(self):
        return str(self.values[0])


async def test_what_stands_for_an_integer(bound):
    """An amount that only says that it is an integer is refused at once, and not with those that wait beside it."""
    root = await Root().save()
    amount = Standing(5)
    calls = [asyncio.ensure_future(root.n.increase(each)) for each in (1, 2, amount, 3)]
    await asyncio.sleep(0)
    amount.values.clear()
    got = await asyncio.gather(*calls, return_exceptions=True)
    assert [got[0], got[1], type(got[2]), got[3]] == [11, 13, TypeError, 16]
