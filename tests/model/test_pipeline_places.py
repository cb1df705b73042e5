"""`pipeline()`: what is put where, and what becomes of changes that others make to the same places."""

import asyncio

import pytest

from rapyer import AtomicRedisModel


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
