"""Errors name the value that is of a wrong type, or missing: of operations on members that is what the member is in."""

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import PathNotFound, WrongType


class Shelf(AtomicRedisModel):
    """A nested model."""

    n: int = 0


class Rack(AtomicRedisModel):
    """Members at some places."""

    xs: list[int] = [1]
    named: dict[str, int] = {"a": 1, "b c": 1, 'd"e\\': 1}
    deep: dict[str, dict[str, int]] = {"x": {"y": 1}}
    shelf: Shelf = Shelf()


AWAITED = {
    "set an entry": ("$.named", lambda rack: rack.named.aset_item("a", 2)),
    "set an odd entry": ("$.named", lambda rack: rack.named.aset_item("b c", 2)),
    "set an odder entry": ("$.named", lambda rack: rack.named.aset_item('d"e\\', 2)),
    "delete an entry": ("$.named", lambda rack: rack.named.adel_item("a")),
    "pop an entry": ("$.named", lambda rack: rack.named.apop("a")),
    "pop a deep entry": ("$.deep.x", lambda rack: rack.deep["x"].apop("y")),
    "save an entry": ("$.named", lambda rack: rack.named["a"].save()),
    "save an element": ("$.xs", lambda rack: rack.xs[0].save()),
    "save a field": ("$.shelf", lambda rack: rack.shelf.n.save()),
    "update a nested model": ("$.shelf", lambda rack: rack.shelf.aupdate(n=2)),
}


def _set(rack):
    rack.named["a"] = 2


def _delete(rack):
    del rack.named["a"]


def _assign(rack):
    rack.shelf.n = 2


BLOCKS = {"set": ("$.named", _set), "delete": ("$.named", _delete), "assign": ("$.shelf", _assign)}


async def _spoilt(write, path, value):
    rack = await Rack().save()
    await write(rack.key, path, value)
    return rack


@pytest.mark.parametrize("case", AWAITED)
async def test_awaited(bound, write, case):
    """By an operation of its own."""
    path, change = AWAITED[case]
    rack = await _spoilt(write, path, "text")
    with pytest.raises(WrongType) as caught:
        await change(rack)
    assert (caught.value.path, caught.value.found) == (path, "string")


@pytest.mark.parametrize("case", BLOCKS)
async def test_in_a_block(bound, write, case):
    """In a block."""
    path, change = BLOCKS[case]
    rack = await _spoilt(write, path, "text")

    async def block():
        async with rapyer.pipeline():
            change(rack)

    with pytest.raises(WrongType) as caught:
        await block()
    assert (caught.value.path, caught.value.found) == (path, "string")


async def test_saved_with_a_lock(bound, write):
    """By a lock that saves at its end."""
    rack = await Rack().save()

    async def block():
        async with rack.lock(save_at_end=True):
            await write(rack.key, "$.shelf", "text")
            rack.shelf.n = 2

    with pytest.raises(WrongType) as caught:
        await block()
    assert (caught.value.path, caught.value.found) == ("$.shelf", "string")


async def test_what_is_missing(bound, client):
    """What a member would be in."""
    rack = await Rack().save()
    await client.execute_command("JSON.DEL", rack.key, "$.named")
    with pytest.raises(PathNotFound) as caught:
        await rack.named.aset_item("a", 2)
    assert caught.value.path == "$.named"
