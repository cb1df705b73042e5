"""Awaited operations on elements of a list that changes here while they run: the answer goes where the element is."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError


class Item(AtomicRedisModel):
    """An element."""

    n: int = 0


class Lists(AtomicRedisModel):
    """Lists of everything that has operations."""

    ints: list[int] = [1, 2, 3]
    doubles: list[float] = [1.0, 2.0, 3.0]
    words: list[str] = ["a", "b", "c"]
    moments: list[datetime] = [datetime(2024, 1, day, tzinfo=timezone.utc) for day in (1, 2, 3)]
    rows: list[list[int]] = [[1], [2], [3]]
    items: list[Item] = [Item(n=1), Item(n=2), Item(n=3)]


OPERATIONS = [
    ("ints", lambda v: v.increase(10), 11),
    ("doubles", lambda v: v.increase(10.0), 11.0),
    ("words", lambda v: v.aappend("!"), "a!"),
    ("moments", lambda v: v.aadd(timedelta(days=30)), datetime(2024, 1, 31, tzinfo=timezone.utc)),
    ("ints", lambda v: v.load(), 1),
    ("rows", lambda v: v.aappend(10), [1, 10]),
    ("rows", lambda v: v.load(), [1]),
    ("items", lambda v: v.n.increase(10), Item(n=11)),
    ("items", lambda v: v.save(), Item(n=1)),
    ("items", lambda v: v.load(), Item(n=1)),
]


async def _meanwhile(awaitable, change):
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    change()
    return await task


@pytest.mark.parametrize(("name", "operation", "wanted"), OPERATIONS)
async def test_moved(bound, name, operation, wanted):
    """The element that was worked on has the answer, and no other."""
    lists = await Lists().save()
    values = getattr(lists, name)
    before = values.clone()
    await _meanwhile(operation(values[0]), lambda: values.insert(0, before[2]))
    assert values == [before[2], wanted, *before[1:]]


@pytest.mark.parametrize(("name", "operation", "wanted"), OPERATIONS[:-1])
async def test_removed(bound, name, operation, wanted):
    """An element that is gone here by then takes nothing with it; the operation was done."""
    lists = await Lists().save()
    values = getattr(lists, name)
    before = values.clone()
    await _meanwhile(operation(values[0]), lambda: values.__delitem__(0))
    assert values == before[1:]
    assert getattr(await Lists.get(lists.key), name)[0] == wanted


async def test_removed_while_it_was_read(bound):
    """A model that is in its list no more cannot be refreshed from there: UsageError."""
    lists = await Lists().save()
    with pytest.raises(UsageError, match="no longer in its list"):
        await _meanwhile(lists.items[0].load(), lambda: lists.items.__delitem__(0))
    assert lists.items == [Item(n=2), Item(n=3)]


async def test_many_on_one_element(bound):
    """Many operations on one element at the same time: the last answer stays, also when the element moved."""
    lists = await Lists().save()
    element = lists.ints[0]
    tasks = [asyncio.ensure_future(element.increase()) for _ in range(50)]
    await asyncio.sleep(0)
    list.insert(lists.ints, 0, 7)
    assert sorted(await asyncio.gather(*tasks)) == list(range(2, 52))
    assert lists.ints == [7, 51, 2, 3]
    assert (await Lists.get(lists.key)).ints == [51, 2, 3]
