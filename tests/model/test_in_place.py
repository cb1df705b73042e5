"""Plain values that change in place in a block: whatever is recorded meanwhile, Redis gets what the block leaves."""

import copy
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import Field

import rapyer
from rapyer import AtomicRedisModel


@dataclass
class Part:
    """A plain value."""

    a: int = 0


class Item(AtomicRedisModel):
    """A model that may stand in one."""

    n: int = 0


class Doc(AtomicRedisModel):
    """Fields of plain values."""

    parts: list[Part] = []
    named: dict[str, Part] = {}
    rows: list[list[Part]] = []
    any: Any = None
    queue: deque[Item] = deque()
    pair: tuple[Item, int] = (Item(), 0)
    items: list[Item] = []
    either: Item | None = None


async def fresh(**fields):
    """Return a document as it was read."""
    return await Doc.get((await Doc(**fields).save()).key)


async def saved_and_taken_back(doc):
    """Write the document in the middle of a block."""
    doc.any.append(2)
    await doc.save()
    doc.any.pop()


async def sorted_and_taken_back(doc):
    """Write a list as a whole."""
    doc.parts[0].a = 5
    doc.parts.sort(key=lambda _: 0)
    doc.parts[0].a = 1


async def reversed_and_taken_back(doc):
    """Write it twice."""
    doc.parts[0].a = 5
    doc.parts.reverse()
    doc.parts[1].a = 6
    doc.parts.reverse()
    doc.parts[0].a = 1


async def a_field_saved(doc):
    """Write one field."""
    doc.parts[1].a = 5
    await doc.parts.save()
    doc.parts[1].a = 2


async def put_in_again(doc):
    """Assign what was there before."""
    same = doc.any
    same.append(2)
    doc.any = None
    doc.any = same
    same.pop()


async def the_same_put_in_again(doc):
    """Assign what is there."""
    part, other = doc.named["k"], doc.parts[0]
    part.a, other.a = 7, 7
    doc.named["k"], doc.parts[0] = part, other
    part.a, other.a = 0, 1


async def changed_after_it_was_saved(doc):
    """Change it once more, not back."""
    doc.any.append(2)
    await doc.save()
    doc.any.append(3)


async def removed_by_its_new_value(doc):
    """Remove the first of two that are equal by now."""
    doc.parts[0].a = 2
    doc.parts.remove(Part(2))


async def removed_itself(doc):
    """Remove one that was changed."""
    doc.parts[0].a = 2
    doc.parts.remove(doc.parts[0])
    doc.parts[0].a = 3


async def removed_with_what_is_in_it(doc):
    """Remove a list in which something was changed."""
    doc.rows[0][0].a = 9
    doc.rows.remove(doc.rows[0])


BLOCKS = pytest.mark.parametrize("many", [False, True], ids=["own", "all"])


@BLOCKS
@pytest.mark.parametrize(
    "body",
    [
        saved_and_taken_back,
        sorted_and_taken_back,
        reversed_and_taken_back,
        a_field_saved,
        put_in_again,
        the_same_put_in_again,
        changed_after_it_was_saved,
        removed_by_its_new_value,
        removed_itself,
        removed_with_what_is_in_it,
    ],
)
async def test_what_the_block_leaves(bound, body, many):
    """The model and Redis are what Python makes of the same statements."""
    fields = {"parts": [Part(1), Part(2)], "named": {"k": Part()}, "any": [1], "rows": [[Part(1)], [Part(2)]]}
    doc, twin = await fresh(**copy.deepcopy(fields)), await fresh(**copy.deepcopy(fields))
    await body(twin)  # a document that no block is about
    async with rapyer.pipeline() if many else doc.pipeline():
        await body(doc)
    read = await Doc.get(doc.key)
    for name in fields:
        assert getattr(doc, name) == getattr(twin, name), name
        assert getattr(read, name) == getattr(doc, name), name


@BLOCKS
async def test_removed_by_an_operation(bound, many):
    """An operation that goes by values sees what changed in place before it."""
    doc = await fresh(parts=[Part(1), Part(2), Part(3)])
    async with rapyer.pipeline() if many else doc.pipeline():
        doc.parts[1].a = 9
        await doc.parts.aremove(Part(9))
        doc.parts[1].a = 4
    assert [part.a for part in (await Doc.get(doc.key)).parts] == [1, 4]
    assert doc.parts == [Part(1), Part(4)]


@BLOCKS
async def test_an_inner_block_that_raises(bound, many):
    """What an inner block recorded as a whole, and took back, is no longer what Redis will have."""
    doc = await fresh(any=[1])
    async with rapyer.pipeline() if many else doc.pipeline():
        doc.any.append(5)
        with pytest.raises(ZeroDivisionError):
            await fail(doc)
    assert (await Doc.get(doc.key)).any == doc.any == [1, 5]


async def fail(doc):
    """Record and raise."""
    async with doc.pipeline():
        await doc.save()
        doc.any.append(6)
        raise ZeroDivisionError


@BLOCKS
async def test_elements_that_were_only_looked_at(bound, many):
    """What others did meanwhile to plain values that the block left as they were stays."""
    doc = await fresh(parts=[Part(1), Part(2)])
    async with rapyer.pipeline() if many else doc.pipeline():
        total = sum(part.a for part in doc.parts)
        await bound.json().set(doc.key, "$.parts[1].a", 9)
        doc.parts.append(Part(total))
        doc.parts[0].a = 4
    assert [part.a for part in (await Doc.get(doc.key)).parts] == [4, 9, 3]
    assert [part.a for part in doc.parts] == [4, 9, 3]


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in its own"])
async def test_models_in_plain_values(bound, inside):
    """A model that stands in a plain value is part of the document, whenever it was put in, in a block for all, too."""
    doc = await fresh(queue=deque([Item(n=1)]), items=[Item(n=5)])

    async def body():
        async with rapyer.pipeline():
            doc.queue.append(Item(n=2))
            doc.queue[1].n += 10
            doc.queue[0].n += 1
            doc.queue.append(doc.items.pop())
            doc.queue[-1].n += 10

    if inside:
        async with doc.pipeline():
            await body()
    else:
        await body()
    assert [item.n for item in (await Doc.get(doc.key)).queue] == [2, 12, 15]


async def test_models_that_left_plain_values(bound):
    """One that was put into a plain value, changed, and taken out again is no document of its own."""
    doc = await fresh(queue=deque([Item(n=1)]))
    async with rapyer.pipeline():
        doc.queue.appendleft(Item(n=2))
        doc.queue[0].n += 1
        doc.queue.popleft()
        doc.queue[0].n += 1
    assert [item.n for item in (await Doc.get(doc.key)).queue] == [2]
    async with doc.pipeline():
        held = doc.queue
        doc.queue.append(Item(n=5))
        async with rapyer.pipeline():
            held[1].n += 1
            held[1] = Item(n=9)
    assert [item.n for item in (await Doc.get(doc.key)).queue] == [2, 9]


class Shelf(AtomicRedisModel):
    """Has plain values."""

    queue: deque[Item] = deque()
    boxes: list[deque[int]] = []
    n: int = 0


async def test_models_that_left_one_of_many_plain_values(bound):
    """So it is however many other plain values the block met since it met that one first."""
    shelf = await Shelf(boxes=[deque([i]) for i in range(40)]).save()
    async with rapyer.pipeline():
        shelf.queue.clear()
        for box in shelf.boxes:
            box.append(1)
        item = Item(n=2)
        shelf.queue.append(item)
        item.n += 1
        shelf.queue.remove(item)
        shelf.n = 1
    assert (await Shelf.get(shelf.key)).model_dump() == shelf.model_dump()
    assert shelf.n == 1


class Guarded(AtomicRedisModel):
    """Has a field that is restricted."""

    age: Annotated[int, Field(ge=0)] = 0
    items: list[Item] = []
    rest: list[Item] = []
    one: dict[str, Item] = {}
    other: dict[str, Item] = {}


async def test_what_was_replaced_can_be_read(bound):
    """A list or dict that was taken from a field, which has another one by now, is read like any other."""
    made = await Guarded(items=[Item(n=1), Item(n=2)], one={"a": Item(n=1)}, other={"b": Item(n=2)}).save()
    doc = await Guarded.get(made.key)
    old, doc.items = doc.items, []
    assert [item.n for item in old] == [1, 2]
    doc.one, doc.other = doc.other, doc.one
    assert (doc.one["b"].n, doc.other["a"].n) == (2, 1)
    doc = await Guarded.get(made.key)
    async with doc.pipeline():
        old, doc.items = doc.items, []
        doc.rest = [item for item in old if item.n > 1]
        doc.one, doc.other = doc.other, doc.one
    read = await Guarded.get(made.key)
    assert read == doc
    assert (read.rest[0].n, read.one["b"].n, read.other["a"].n) == (2, 2, 1)


@BLOCKS
async def test_put_in_again_in_every_way(bound, many):
    """A value that was read before the block, or is put in by any operation, is stored as the block leaves it."""
    doc = await fresh(any={"k": [0]}, parts=[Part(1), Part(2)], named={"k": Part(1), "l": Part(2), "m": Part(3)})
    part, first, named, other = doc.named["k"], doc.parts[0], doc.named["l"], doc.named["m"]
    async with rapyer.pipeline() if many else doc.pipeline():
        part.a, first.a, named.a, other.a = 7, 8, 9, 10
        doc.named["k"] = part
        doc.parts[0] = first
        doc.named.update(l=named)
        doc.named.pop("m")
        doc.named["m"] = other
        named.a, other.a = 11, 12
        held = doc.any
        held["k"].append(1)
        doc.update(any=held)
        held["k"].pop()
    read = await Doc.get(doc.key)
    assert [part.a for part in read.parts] == [8, 2]
    assert {name: part.a for name, part in read.named.items()} == {"k": 7, "l": 11, "m": 12}
    assert read.any == doc.any == {"k": [0]}
    assert read.named == doc.named


async def test_what_an_inner_block_met_and_took_back(bound):
    """What only an inner block wrote, which was taken back, is not written for it over what others did."""
    doc = await fresh(any={})
    async with doc.pipeline():
        doc.items = []
        with pytest.raises(ZeroDivisionError):
            await assign(doc)
        await bound.json().set(doc.key, "$.any", {"z": 9})
    assert (await Doc.get(doc.key)).any == {"z": 9}


async def assign(doc):
    """Change in place, assign, and raise."""
    async with doc.pipeline():
        held = doc.any
        held["a"] = 1
        doc.any = held
        raise ZeroDivisionError


@pytest.mark.one_server("the documents are in slots of their own")
async def test_documents_that_come_after_parts(bound):
    """Documents that are made where parts of others were before, in the memory, are no parts."""
    keys = [(await Item().save()).key for _ in range(30)]
    doc = await fresh()
    async with rapyer.pipeline():
        doc.queue = deque(Item(n=number) for number in range(60))
        assert sum(item.n for item in doc.queue) == 1770
        doc.queue.clear()
        for key in keys:
            item = await Item.get(key)
            item.n = 7
            del item
    assert [(await Item.get(key)).n for key in keys] == [7] * 30


async def test_many_are_removed(bound):
    """A block that looks at a thousand plain values and removes half of them does not take long."""
    doc = await fresh(parts=[Part(number) for number in range(600)])
    began = time.monotonic()
    async with doc.pipeline():
        for part in list(doc.parts)[::2]:
            doc.parts.remove(part)
    assert time.monotonic() - began < 5
    assert [part.a for part in (await Doc.get(doc.key)).parts] == list(range(1, 600, 2))


class OpenDoc(AtomicRedisModel, extra="allow"):
    """A document that takes fields of any name."""


@pytest.mark.parametrize("value", [{"c": [9]}, Part(1)], ids=["json", "dataclass"])
async def test_a_new_field_that_is_taken_back(bound, value):
    """A field that an inner block made and took back is no business of the outer one, which goes on."""
    doc = await OpenDoc(n=1).save()
    async with doc.pipeline():
        doc.n = 2
        with suppress(ZeroDivisionError):
            async with doc.pipeline():
                doc.made = value
                raise ZeroDivisionError
    assert (await OpenDoc.get(doc.key)).model_extra == {"n": 2}
