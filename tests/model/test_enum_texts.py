"""Members of an enumeration of texts, as keys of a dict and as defaults: each is its value, wherever it is used."""

from __future__ import annotations

from enum import Enum

import pytest

import rapyer
from rapyer import AtomicRedisModel, _keys, _lock
from rapyer.fields import Key


class Color(str, Enum):
    """Texts whose `str()` is another text."""

    RED = "red"
    BLUE = "blue"


class Named(str):
    """A text that says something else of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return something else."""
        return "something else"


class Stock(AtomicRedisModel):
    """Counts by color."""

    counts: dict[str, int] = {}


KEYS = pytest.mark.parametrize("key", [Color.RED, Named("red")], ids=["enumeration", "own class"])


@KEYS
@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda counts, key: counts.aset_item(key, 5), {"red": 5, "blue": 2}),
        (lambda counts, key: counts.aupdate({key: 5}), {"red": 5, "blue": 2}),
        (lambda counts, key: counts[key].increase(), {"red": 2, "blue": 2}),
        (lambda counts, key: counts.get(key).increase(), {"red": 2, "blue": 2}),
        (lambda counts, key: counts.setdefault(key, 9).increase(), {"red": 2, "blue": 2}),
        (lambda counts, key: counts.apop(key), {"blue": 2}),
        (lambda counts, key: counts.adel_item(key), {"blue": 2}),
    ],
    ids=["aset_item", "aupdate", "item", "get", "setdefault", "apop", "adel_item"],
)
async def test_operations(bound, stored, change, counts, key):
    """Every operation works on the entry of the text that the key is."""
    stock = await Stock(counts={"red": 1, "blue": 2}).save()
    await change(stock.counts, key)
    assert (await stored(stock.key))["counts"] == counts
    assert stock.counts == counts
    assert all(type(name) is str for name in stock.counts)


@KEYS
async def test_in_a_pipeline(bound, stored, key):
    """What a block does under such a key is done to the entry of the text that it is, new or not."""
    stock = await Stock(counts={"red": 1, "blue": 2}).save()
    async with stock.pipeline():
        stock.counts[key] += 1
        stock.counts[Color.BLUE] = 7
    assert (await stored(stock.key))["counts"] == {"red": 2, "blue": 7}
    async with stock.pipeline():
        stock.counts.update({key: 4})
        del stock.counts[Color.BLUE]
    assert (await stored(stock.key))["counts"] == {"red": 4}
    async with stock.pipeline():
        assert stock.counts.pop(key) == 4
        stock.counts[Color.BLUE] = 1
    assert (await stored(stock.key))["counts"] == {"blue": 1}


@KEYS
async def test_plain_texts_afterwards(bound, stored, key):
    """Equal texts are not mixed up with such a key in another document, later."""
    first = await Stock(counts={"red": 1}).save()
    await first.counts[key].increase()
    second = await Stock(counts={"red": 1}).save()
    async with second.pipeline():
        second.counts["red"] = 9
    assert (await stored(second.key))["counts"] == {"red": 9}


@KEYS
async def test_a_lock(bound, stored, key):
    """A lock saves what was set under such a key where it belongs."""
    stock = await Stock(counts={"red": 1}).save()
    async with stock.lock(save_at_end=True):
        stock.counts[key] = 3
    assert (await stored(stock.key))["counts"] == {"red": 3}


@KEYS
@pytest.mark.parametrize("others_first", [False, True])
async def test_the_name_of_a_lock(bound, key, others_first):
    """A lock that is called so is that of the text, whichever of the two a process asked for first."""
    stock = await Stock().save()
    names = ["red", key] if others_first else [key, "red"]
    _lock._place.cache_clear()  # as in a new process
    for name in names:
        async with stock.lock(name):
            assert await bound.exists(_keys.lock_key(stock.key, "red")) == 1


class Shelf(AtomicRedisModel):
    """Known by its color."""

    color: Key[Color] = Color.RED


@KEYS
async def test_the_key_of_a_document(bound, key):
    """A document is found by such a key, as it is by the text."""
    shelf = await Shelf().save()
    assert (await Shelf.get(key)).key == shelf.key == "Shelf:red"
    async with Shelf.lock_from_key(key) as mine:
        assert mine.key == shelf.key
    assert await Shelf.delete_by_key(key)


class Door(AtomicRedisModel):
    """Defaults, which nobody validates."""

    color: str = Color.RED
    others: list[str] = [Color.BLUE]
    counts: dict[str, int] = {Color.RED: 1, Color.BLUE: 2}


async def test_defaults(bound, stored):
    """A default that is such a text is its value, touched or not, here and in Redis."""
    door = Door()
    assert (door.color, door.others[0]) == ("red", "blue")
    assert (str(door.color), str(door.others[0])) == ("red", "blue")
    await door.save()
    counts = {"red": 1, "blue": 2}
    assert await stored(door.key) == {"color": "red", "others": ["blue"], "counts": counts}
    assert await door.color.aappend("dish") == "reddish"
    async with door.lock(save_at_end=True):
        assert list(door.others) == ["blue"]
    assert await stored(door.key) == {"color": "reddish", "others": ["blue"], "counts": counts}


async def test_a_default_dict(bound, stored):
    """So are the keys of a dict that is a default: by every way to its entries, before it was read from Redis."""
    door = await Door().save()
    value = next(iter(door.counts.values()))
    assert value.json_path == "$.counts.red"
    assert await value.increase() == 2
    door = await Door().save()
    async with rapyer.pipeline():
        for color in door.counts:
            door.counts[color] += 10
        assert door.counts.popitem() == ("blue", 12)
    assert (await stored(door.key))["counts"] == {"red": 11}
