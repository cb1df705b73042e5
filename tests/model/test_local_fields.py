"""Fields that are not stored: never, by `exclude=True`, or while their value says so, by `exclude_if`."""

from collections import deque
from typing import Any

import pytest
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound


class Spot(BaseModel):
    """A plain model."""

    x: int = 0


class Desk(AtomicRedisModel):
    """Has fields that are not stored."""

    n: int = 0
    note: str = Field(default="", exclude=True)
    seen: list[str] = Field(default=[], exclude=True)
    queue: deque[int] = Field(default=deque(), exclude=True)
    spot: Spot = Field(default=Spot(), exclude=True)
    other: Any = Field(default=None, exclude=True)


async def test_update_and_aupdate(bound, stored):
    """Both set a local field here and send nothing of it; with nothing else `aupdate` asks nothing of Redis."""
    desk = await Desk().save()
    desk.update(note="a")
    await desk.aupdate(note=desk.note + "b", n=1)
    assert (desk.note, desk.n) == ("ab", 1)
    async with desk.pipeline():
        desk.update(note="c", n=2)
        await desk.aupdate(note=desk.note + "d", seen=["x"])
    assert (desk.note, desk.n, desk.seen) == ("cd", 2, ["x"])
    assert await stored(desk.key) == {"n": 2}
    await desk.delete()
    await desk.aupdate(note="here")
    assert desk.note == "here"
    with pytest.raises(KeyNotFound):
        await desk.aupdate(note="nowhere", n=3)
    assert desk.note == "here"


def _change(desk):
    desk.seen.append("a")
    desk.queue.append(1)
    desk.spot.x = 4
    desk.note += "b"


@pytest.mark.parametrize("together", [False, True])
async def test_changed_in_a_block(bound, stored, together):
    """What a block does to local values is done here, and taken back should the block raise; nothing of it is sent."""
    desk = await Desk().save()

    async def change(*errors):
        async with rapyer.pipeline() if together else desk.pipeline():
            _change(desk)
            desk.n += 1
            for error in errors:
                raise error

    with pytest.raises(ZeroDivisionError):
        await change(ZeroDivisionError())
    assert (desk.seen, desk.queue, desk.spot, desk.note) == ([], deque(), Spot(), "")
    await change()
    assert (desk.seen, desk.queue, desk.spot, desk.note) == (["a"], deque([1]), Spot(x=4), "b")
    assert await stored(desk.key) == {"n": 1}


@pytest.mark.one_server("the documents are in slots of their own")
async def test_a_document_in_a_local_field(bound, stored):
    """A document that is kept in a local field is a document as before."""
    desk, kept = await Desk().save(), await Desk(n=1).save()
    desk.other = kept
    async with rapyer.pipeline():
        desk.n = 5
        desk.other.n += 1
    assert desk.other is kept
    assert (await stored(desk.key), await stored(kept.key)) == ({"n": 5}, {"n": 2})


def _cabinet():
    class Drawer(BaseModel):
        label: str | None = Field(default=None, exclude_if=lambda value: value is None)

    class Cabinet(AtomicRedisModel):
        n: int = 0
        label: str | None = Field(default=None, max_length=9, exclude_if=lambda value: value is None)
        files: list[str] = Field(default=[], exclude_if=lambda value: not value)
        queue: deque[int] = Field(default=deque(), exclude_if=lambda value: not value)
        drawer: Drawer = Drawer()

    return Cabinet


has_exclude_if = pytest.mark.skipif(not hasattr(FieldInfo, "exclude_if"), reason="Pydantic before 2.12")
FULL = {"label": "x", "files": ["a"], "queue": [1], "drawer": {"label": "y"}}


@has_exclude_if
async def test_cleared_by_aupdate(bound, stored):
    """A field whose value says so is taken out of the document, alone or with others; also where it is not there."""
    cabinet = await _cabinet()(**FULL).save()
    await cabinet.aupdate(label=None)
    await cabinet.aupdate(label=None, files=[], n=1)
    await cabinet.drawer.aupdate(label=None)
    assert await stored(cabinet.key) == {"n": 1, "queue": [1], "drawer": {}}
    assert (cabinet.label, cabinet.files, cabinet.drawer.label) == (None, [], None)
    await cabinet.aupdate(label="z", files=["b"])
    assert (await stored(cabinet.key))["label"] == "z"
    await cabinet.delete()
    with pytest.raises(KeyNotFound):
        await cabinet.aupdate(label=None)
    assert cabinet.label == "z"


@has_exclude_if
async def test_cleared_in_a_block(bound, stored):
    """In a block, too, however the value comes to be one that is not stored, and there it may come back."""
    cabinet = await _cabinet()(**FULL).save()
    async with cabinet.pipeline():
        cabinet.label = None
        cabinet.files[:] = []
        cabinet.queue.clear()
        cabinet.drawer.label = None
    assert await stored(cabinet.key) == {"n": 0, "drawer": {}}
    async with cabinet.pipeline():
        cabinet.label = None
        cabinet.update(files=["b"])
        cabinet.label = "z"
        cabinet.queue.append(2)
    assert await stored(cabinet.key) == {"n": 0, "label": "z", "files": ["b"], "queue": [2], "drawer": {}}
    assert await type(cabinet).get(cabinet.key) == cabinet
    cabinet.files = []
    await cabinet.files.save()
    assert "files" not in await stored(cabinet.key)


@has_exclude_if
async def test_cleared_under_a_lock(bound, stored, write):
    """A lock that saves at its end does not clear again what was cleared in it: another client may have set it."""
    cabinet = await _cabinet()(**FULL).save()
    async with cabinet.lock(save_at_end=True):
        await cabinet.aupdate(label=None)
        await write(cabinet.key, "$.label", "theirs")
        cabinet.queue.clear()
    assert await stored(cabinet.key) == {"n": 0, "label": "theirs", "files": ["a"], "drawer": {"label": "y"}}


@pytest.mark.parametrize("depth", [0, 5000])
async def test_a_default_that_is_in_itself(bound, depth):
    """The default of a local field may be anything: in itself, or nested deeper than Python calls functions."""
    ring: list[Any] = []
    inmost = ring
    for _ in range(depth):
        inmost.append([])
        inmost = inmost[0]
    if not depth:
        ring.append(ring)

    class RingDesk(AtomicRedisModel):
        """Has it."""

        n: int = 0
        other: Any = Field(default=ring, exclude=True)

    desk = await RingDesk(n=1, other=None).save()
    await desk.n.increase()
    assert desk.n == 2
