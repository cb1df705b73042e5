"""What cannot be stored exactly is an `OutOfRange`, whichever way it goes, that names key, path and remedy."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import OutOfRange

pytestmark = pytest.mark.usefixtures("bound")

#: A double that RedisJSON reads as another whatever its text, and a name that no path can hold.
STUBBORN = 0.9715098593399603
HOSTILE = "a\\b"
LARGE = 987654321987654321987


def deep(levels: int) -> Any:
    """Return lists in lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class Free(AtomicRedisModel):
    """Takes anything."""

    any: Any = None
    items: list[Any] = []
    table: dict[str, Any] = {}
    members: set[Any] = set()


BAD = {
    "large": (LARGE, ""),
    "no number": (float("nan"), ""),
    "infinite": ([1, {"x": float("-inf")}], "[1].x"),
    "deep": (deep(119), ""),
    "stubborn": ({HOSTILE: STUBBORN}, '["a\\\\b"]'),
}


async def in_block(model, change):
    """Change a model in a pipeline."""
    async with model.pipeline():
        change(model)


async def in_one_for_all(model, change):
    """Change a model in the pipeline of any models."""
    async with rapyer.pipeline():
        change(model)


async def under_lock(model, change):
    """Change a model under a lock that saves it."""
    async with model.lock(save_at_end=True):
        change(model)


WAYS = {
    "save": (lambda m, v: assign(m, v).save(), "$.any"),
    "duplicate": (lambda m, v: assign(m, v).duplicate(), "$.any"),
    "aupdate": (lambda m, v: m.aupdate(any=v), "$.any"),
    "block": (lambda m, v: in_block(m, lambda m: assign(m, v)), "$.any"),
    "one for all": (lambda m, v: in_one_for_all(m, lambda m: assign(m, v)), "$.any"),
    "lock": (lambda m, v: under_lock(m, lambda m: assign(m, v)), "$.any"),
    "aset_item": (lambda m, v: m.table.aset_item("k", v), "$.table.k"),
    "aupdate of a dict": (lambda m, v: m.table.aupdate(k=v), "$.table.k"),
    "entry in a block": (lambda m, v: in_block(m, lambda m: m.table.update(k=v)), "$.table.k"),
    "aset_item of a list": (lambda m, v: m.items.aset_item(0, v), "$.items[0]"),
    "aappend": (lambda m, v: m.items.aappend(v), "$.items"),
    "append in a block": (lambda m, v: in_block(m, lambda m: m.items.append(v)), "$.items"),
    "ainsert": (lambda m, v: m.items.ainsert(0, v), "$.items[0]"),
    "save of a list": (lambda m, v: put(m, v).items.save(), "$.items[0]"),
}
TO_A_PLACE = {"aappend", "append in a block"}


def assign(model, value):
    """Set the field, as Python does."""
    model.any = value
    return model


def put(model, value):
    """Put it into the list, as Python does."""
    model.items[0] = value
    return model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", BAD)
async def test_refused_alike(way, bad, stored):
    """The same class of error, a path to the very value where that is known, no value in the text, nothing stored."""
    model = await Free(items=[0], table={"x": 1}).save()
    before = await stored(model.key)
    value, inside = BAD[bad]
    change, place = WAYS[way]
    if bad == "deep" and way in {"save", "duplicate"}:
        value, place = deep(128), "$"
    elif bad == "deep" and way == "save of a list":
        place = "$.items"
    with pytest.raises(OutOfRange) as caught:
        await change(model, value)
    error = caught.value
    assert error.key == model.key
    assert error.path == (place if way in TO_A_PLACE else place + inside)
    message = str(error) + repr(error)
    assert model.key in message
    assert error.path in message
    assert "text" in message
    assert not any(text in message for text in (str(LARGE), str(STUBBORN)))
    assert await stored(model.key) == before


async def test_a_document_grows_as_deep_as_it_can_be_read(stored):
    """Levels above a place count: growing by operations ends where saving ends, and what is stored can be loaded."""

    class Tree(AtomicRedisModel):
        kids: list[Tree] = []

    root = leaf = await Tree().save()
    grown = 62
    for _ in range(grown):
        await leaf.kids.aappend(Tree())
        leaf = leaf.kids[0]
    with pytest.raises(OutOfRange, match="nested deeper than 127"):
        await leaf.kids.aappend(Tree())
    with pytest.raises(OutOfRange, match="nested deeper"):
        await in_block(root, lambda _: leaf.kids.append(Tree()))
    found = await Tree.get(root.key)
    assert found == root
    await found.save()
    for _ in range(grown):
        found = found.kids[0]
    assert found.kids == []


async def test_only_what_is_sent_can_be_too_deep():
    """A value that the block itself replaces is not sent: it may have been too deep for its place."""
    table: Any = dict[str, Any]
    for _ in range(9):
        table = dict[str, table]

    class Far(AtomicRedisModel):
        at: table = {}

    value: Any = {}
    for _ in range(9):
        value = {"k": value}
    far = await Far(at=value).save()

    def last(far):
        inmost = far.at
        for _ in range(9):
            inmost = inmost["k"]
        return inmost

    with pytest.raises(OutOfRange, match="nested deeper than 127"):
        async with far.pipeline():
            last(far)["x"] = deep(118)
    async with far.pipeline():
        last(far)["x"] = deep(118)
        last(far)["x"] = 1
    assert last(await Far.get(far.key)) == {"x": 1}


@pytest.mark.parametrize(("levels", "name"), [(117, "any"), (118, "any")])
async def test_parts_may_be_deep(levels, name, stored):
    """The deepest part that is taken goes every way, and comes back."""
    model = await Free(any=deep(levels)).save()
    await model.aupdate(any=deep(levels))
    await model.items.aappend(deep(levels))
    async with model.pipeline():
        model.table["k"] = deep(levels)
    async with model.lock(save_at_end=True):
        model.table["l"] = deep(levels)
    assert await Free.get(model.key) == model
    assert await stored(model.key, "$.items[0]") == deep(levels)


async def test_a_lock_block_saves_nothing_too_deep(bound, stored):
    """What lies too deep by its place is refused at the end of the block, as by `save()`, and the lock is free."""

    class Deep(AtomicRedisModel):
        at: dict[str, Any] = {}

    value: Any = {}
    for _ in range(90):
        value = {"k": value}
    doc = await Deep(at=value).save()
    before = await stored(doc.key)
    for levels, refused in ((36, pytest.raises(OutOfRange, match="nested deeper than 127")), (35, nullcontext())):
        with refused:
            async with doc.lock(save_at_end=True):
                inmost = doc.at
                for _ in range(90):
                    inmost = inmost["k"]
                inmost["x"] = deep(levels)
        assert (await stored(doc.key) != before) == (levels == 35)
        assert await bound.keys("rapyer:*") == []
    assert await Deep.get(doc.key) == doc
