"""Numbers at the limits, empties, null and nested empties go through every operation and come back as they were."""

from __future__ import annotations

import json
from typing import Any

import pytest

import rapyer
from rapyer import AtomicRedisModel

pytestmark = pytest.mark.usefixtures("bound")

VALUES = [
    2**63 - 1,
    -(2**63),
    2**53 + 1,
    0.1 + 0.2,
    1.7976931348623157e308,
    5e-324,
    -0.0,
    123456789.12345679,
    [],
    {},
    None,
    [[], {}, None, [[]]],
    {"": {}, "a.b": []},
    "",
    True,
    False,
    "\0",
]
#: Not at a name that no path can hold: there a few doubles are refused.
NAMES = ["k", "", "a.b", "\0", " lead", "a\\\"'b"]


class Box(AtomicRedisModel):
    """Takes anything."""

    field: Any = None
    items: list[Any] = []
    table: dict[str, Any] = {}


def text(value: Any) -> str:
    """Return what tells 1 from 1.0 and True, and -0.0 from 0.0."""
    return json.dumps(value)


each_value = pytest.mark.parametrize("value", VALUES, ids=repr)


@each_value
async def test_lists(value):
    """Each operation of a list."""
    box = await Box(items=[value]).save()
    await box.items.aappend(value)
    await box.items.aextend([value, value])
    await box.items.ainsert(1, value)
    await box.items.aset_item(0, value)
    assert text(box.items.clone()) == text([value] * 5)
    assert text(await box.items.apop()) == text(await box.items.apop(0)) == text(value)
    await box.items.aremove(value)
    assert text((await Box.get(box.key)).items.clone()) == text([value] * 2)


@each_value
@pytest.mark.parametrize("name", NAMES, ids=repr)
async def test_dicts(value, name):
    """Each operation of a dict, under any name."""
    box = await Box(table={name: value}).save()
    await box.table.aset_item(name, value)
    await box.table.aupdate({name: value, "z": value})
    assert text(box.table.clone()) == text((await Box.get(box.key)).table.clone()) == text({name: value, "z": value})
    assert text(await box.table.apop(name)) == text(value)
    assert text(await box.table.apopitem()) == text(("z", value))
    assert (await Box.get(box.key)).table == {}


@each_value
@pytest.mark.parametrize("name", NAMES[::5], ids=repr)
async def test_documents_and_blocks(value, name):
    """Saving, updating, blocks, locks, copies, and parts that are saved and loaded by themselves."""
    box = await Box(field=value, items=[value], table={name: value}).save()
    assert text((await Box.get(box.key)).model_dump()) == text(
        {"field": value, "items": [value], "table": {name: value}}
    )
    await box.aupdate(field=value)
    async with box.pipeline():
        box.items.append(value)
        box.table[name] = value
        box.field = value
        box.items[0] = value
        box.items.insert(0, value)
    assert text(box.items.clone()) == text([value] * 3)
    async with rapyer.pipeline():
        box.table["q"] = value
    async with box.lock(save_at_end=True):
        box.items = [value]
        box.field = [value]
        box.table["r"] = value
    wanted = text({"field": [value], "items": [value], "table": {name: value, "q": value, "r": value}})
    copies = await box.duplicate_many(2)
    for key in (box.key, *(copy.key for copy in copies)):
        assert text((await Box.get(key)).model_dump()) == wanted
    for part in (box.table, box.items):
        await part.save()
        await part.load()
    assert sorted(text(found.model_dump()) for found in await Box.afind()) == [wanted] * 3
