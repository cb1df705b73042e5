# ruff: noqa: UP007, UP045 - old spellings of annotations work too
"""Values without operations of their own, changed in place inside a block: what the block leaves is what is stored."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Optional, Union
from uuid import UUID

import pytest
from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import to_json

import rapyer
from rapyer import AtomicRedisModel

NAME = UUID(int=1)


class Color(str, Enum):
    """Keys of a dict."""

    RED = "r"
    GREEN = "g"


class Inner(AtomicRedisModel):
    """A model in a plain value."""

    n: int = 0
    tags: list[str] = []


class Note(BaseModel):
    """A plain model in a plain value."""

    n: int = 0


class Numbers(RootModel[list[int]]):
    """A model that is a list."""


@dataclass
class Point:
    """A plain value with attributes."""

    x: int = 0


def _set(target, name, value):
    setattr(target, name, value)


#: annotation, value, what changes it in place
CASES = {
    "dict of int": (dict[int, int], {1: 1}, lambda v: v.__setitem__(2, 2)),
    "dict of Enum": (dict[Color, int], {"r": 1}, lambda v: v.__setitem__(Color.GREEN, 2)),
    "dict of UUID": (dict[UUID, int], {NAME: 1}, lambda v: v.clear()),
    "dict of Literal": (dict[Literal["a", "b"], int], {"a": 1}, lambda v: v.__setitem__("b", 2)),
    "dict of lists": (dict[int, list[int]], {1: [1]}, lambda v: v[1].append(2)),
    "dict of models": (dict[int, Inner], {1: Inner()}, lambda v: _set(v[1], "n", 7)),
    "dict of plain models": (dict[int, Note], {1: Note()}, lambda v: _set(v[1], "n", 7)),
    "Any": (Any, [1], lambda v: v.append(2)),
    "bare dict": (dict, {"a": {"b": 1}}, lambda v: v["a"].__setitem__("b", 2)),
    "bare list": (list, [[1]], lambda v: v[0].append(2)),
    "values Any": (dict[str, Any], {"a": [1]}, lambda v: v["a"].append(2)),
    "values Any, by items": (dict[str, Any], {"a": [1]}, lambda v: [item.append(2) for _, item in v.items()]),
    "elements Any": (list[Any], [1, [1]], lambda v: [item.append(2) for item in v if isinstance(item, list)]),
    "element moved": (list[Any], [[1]], lambda v: (v[0].append(2), v.insert(0, 5), v[1].append(3))),
    "element replaced": (list[Any], [[1]], lambda v: (v[0].append(2), v.__setitem__(0, 5))),
    "element put in": (list[Any], [], lambda v: (v.append([1]), v[0].append(2))),
    "list or dict": (Union[list[int], dict[str, int]], [1], lambda v: v.append(2)),
    "list or text": (Union[list[int], str], [1], lambda v: v.append(2)),
    "list or model": (Union[Inner, list[int]], [1], lambda v: v.append(2)),
    "list of models or dict": (Union[list[Inner], dict[str, Inner]], [Inner()], lambda v: _set(v[0], "n", 7)),
    "list in a tuple": (tuple[list[int], int], ([1], 1), lambda v: v[0].append(2)),
    "model in a tuple": (tuple[Inner, int], (Inner(), 1), lambda v: (_set(v[0], "n", 5), v[0].tags.append("x"))),
    "plain model in a tuple": (tuple[Note, int], (Note(), 1), lambda v: _set(v[0], "n", 5)),
    "dataclass": (Point, Point(), lambda v: _set(v, "x", 5)),
    "root model": (Numbers, Numbers([1]), lambda v: v.root.append(2)),
    "Sequence": (Sequence[int], [1], lambda v: v.append(2)),
    "Mapping": (Mapping[str, int], {"a": 1}, lambda v: v.__setitem__("b", 2)),
    "deque": (deque[int], deque([1]), lambda v: v.appendleft(2)),
    "OrderedDict": (OrderedDict[str, int], OrderedDict(a=1, b=2), lambda v: v.update(c=3)),
    "Optional": (Optional[tuple[list[int], ...]], ([1],), lambda v: v[0].append(2)),
}


def _model(annotation):
    # A class of its own for each: its name is the same each time, so it replaces the one before.
    return type("Holder", (AtomicRedisModel,), {"__annotations__": {"v": annotation, "n": int}, "n": 0})


_moved = OrderedDict(a=1, b=2)
_moved.move_to_end("a")
if to_json(_moved) == b'{"b":2,"a":1}':  # older Pydantic writes it in the order in which it was made
    CASES["order"] = (OrderedDict[str, int], OrderedDict(a=1, b=2), lambda v: v.move_to_end("a"))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("case", CASES)
async def test_changed_in_place(bound, case, whole):
    """A change in place is stored, also beside others; what the model holds is what Redis holds."""
    annotation, value, change = CASES[case]
    cls = _model(annotation)
    model = await cls(v=value).save()
    wanted = await cls.get(model.key)
    change(wanted.v)
    async with rapyer.pipeline() if whole else model.pipeline():
        model.n += 1
        change(model.v)
    assert model.v == wanted.v == (await cls.get(model.key)).v
    assert model.model_dump_json() == (await cls.get(model.key)).model_dump_json()


async def test_nothing_else_touches_it(bound):
    """A change in place is stored by `rapyer.pipeline()`, too, where it is all that the block does."""
    model = await _model(Any)(v=[1]).save()
    async with rapyer.pipeline():
        model.v.append(2)
    assert model.v == (await type(model).get(model.key)).v == [1, 2]


async def test_only_what_was_changed(bound):
    """A value that was only read is not written, and one entry that was changed leaves the others alone."""
    model = await _model(dict[str, Any])(v={"a": [1], "b": [1], "c": [1]}).save()
    other = await type(model).get(model.key)
    async with model.pipeline():
        assert model.v["a"] == [1]
        model.v["b"].append(2)
        await asyncio.ensure_future(other.v.aupdate(a=[9], c=[9]))
    assert model.v == (await type(model).get(model.key)).v == {"a": [9], "b": [1, 2], "c": [9]}


async def test_put_in_and_then_changed(bound):
    """What was put in inside the block is followed by the variable that holds it."""
    model = await _model(Any)(v=None).save()
    held = [1]
    async with model.pipeline():
        model.v = held
        held.append(2)
    assert model.v == (await type(model).get(model.key)).v == [1, 2]


async def test_put_into_a_dict_and_then_changed(bound):
    """The same for an entry of a dict."""
    model = await _model(dict[str, Any])(v={}).save()
    held, updated = [1], [1]
    async with model.pipeline():
        model.v["a"] = held
        model.v.update(b=updated)
        held.append(2)
        updated.append(3)
    assert model.v == (await type(model).get(model.key)).v == {"a": [1, 2], "b": [1, 3]}


async def test_put_in_by_update_and_then_changed(bound):
    """The same for what `update` takes."""
    model = await _model(Any)(v=None).save()
    held = [1]
    async with model.pipeline():
        model.update(v=held)
        held.append(2)
    assert model.v == (await type(model).get(model.key)).v == [1, 2]


@pytest.mark.parametrize("change", [lambda m: m.v.append(2), lambda m: _set(m, "v", [7])])
async def test_a_document_that_is_deleted(bound, change):
    """A change in place of a document that the block deletes is no change."""
    model = await _model(Any)(v=[1]).save()
    async with model.pipeline():
        change(model)
        await model.delete()
    assert not await bound.exists(model.key)


async def test_a_save_in_the_block(bound):
    """What is changed after a save in the block is stored as well."""
    model = await _model(Any)(v=[1]).save()
    async with model.pipeline():
        model.v.append(2)
        await model.save()
        model.v.append(3)
    assert model.v == (await type(model).get(model.key)).v == [1, 2, 3]


async def test_no_longer_valid(bound):
    """A value that does not fit its annotation any more is refused as it would be by an assignment."""
    model = await _model(Union[list[int], str])(v=[1]).save()

    async def block():
        async with model.pipeline():
            model.n += 1
            model.v.append("no number")

    with pytest.raises(ValidationError):
        await block()
    assert (model.v, model.n) == ([1], 0)
    assert await type(model).get(model.key) == model


async def test_an_inner_block_that_raises(bound):
    """What an inner block changed in place is taken back; what the outer one changed stays."""
    model = await _model(Any)(v=[1]).save()

    async def inner():
        async with rapyer.pipeline():
            model.v.append(3)
            raise KeyError

    async with model.pipeline():
        model.v.append(2)
        with pytest.raises(KeyError):
            await inner()
    assert model.v == (await type(model).get(model.key)).v == [1, 2]


class Open(AtomicRedisModel):
    """A model that takes what it does not know."""

    model_config = {"extra": "allow"}

    n: int = 0


async def test_what_an_open_model_has_besides(bound):
    """Values of an open model's own names: assigned, changed in place, and refreshed."""
    model = await Open(z=[1]).save()
    other = await Open.get(model.key)
    async with model.pipeline():
        model.z.append(2)
        model.y = {"a": 1}
        model.y["b"] = 2
    assert (model.z, model.y) == ([1, 2], {"a": 1, "b": 2})
    assert await Open.get(model.key) == model
    model.z = [7]
    assert (model.z, model.model_dump()) == ([7], {"n": 0, "z": [7], "y": {"a": 1, "b": 2}})
    await other.load()
    assert other.z == [1, 2]


@pytest.mark.one_server("the documents are in slots of their own")
async def test_a_document_in_a_plain_value(bound):
    """A model that the block saves as a document is one, also if it stands in a plain value, too."""
    model = await _model(Any)(v=None).save()
    async with rapyer.pipeline():
        inner = Inner(n=1)
        model.v = inner
        inner.n = 2
        await inner.save()
    assert (await Inner.get(inner.key)).n == 2
    assert (await type(model).get(model.key)).v == {"n": 2, "tags": []}


@pytest.mark.one_server("the documents are in slots of their own")
@pytest.mark.parametrize("nested", [False, True])
async def test_a_deletion_by_key_in_the_block(bound, nested):
    """A block that met plain values, or is in another one, may delete a document that was not loaded."""
    model, other = await _model(Any)(v=[1]).save(), await Inner().save()
    async with rapyer.pipeline():
        model.v.append(2)
        if nested:
            async with rapyer.pipeline():
                await Inner.delete_by_key(other.key)
        else:
            await Inner.delete_by_key(other.key)
    assert (await type(model).get(model.key)).v == [1, 2]
    assert not await other.delete()
