"""Plain Pydantic models that are put where the library does not see it: into lists, dicts and deques below unions."""

from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import AfterValidator, BaseModel

from rapyer import AtomicRedisModel


class Stamp(BaseModel):
    """A plain model."""

    number: int = 0


class RareStamp(Stamp):
    """One that stands for its parent."""


@dataclass
class Drawer:
    """A plain value that has some."""

    stamps: list[Stamp] = field(default_factory=list)


class Page(BaseModel):
    """A plain model that has some."""

    stamps: list[Stamp] | int = 0


class StampAlbum(AtomicRedisModel):
    """Has them in every way."""

    listed: list[Stamp] | int = 0
    named: dict[str, Stamp] | int = 0
    queued: deque[Stamp] | int = 0
    paired: list[tuple[Stamp, int]] | int = 0
    drawer: Drawer | int = 0
    page: Page | None = None
    checked: Annotated[list[Stamp] | int, AfterValidator(lambda value: value)] = 0


WAYS = {
    "list": (lambda: {"listed": []}, lambda album: album.listed.append(Stamp(number=1))),
    "subclass": (lambda: {"listed": []}, lambda album: album.listed.append(RareStamp(number=1))),
    "dict": (lambda: {"named": {}}, lambda album: album.named.update(a=Stamp(number=1))),
    "deque": (lambda: {"queued": deque()}, lambda album: album.queued.append(Stamp(number=1))),
    "tuple": (lambda: {"paired": []}, lambda album: album.paired.append((Stamp(number=1), 2))),
    "dataclass": (lambda: {"drawer": Drawer()}, lambda album: album.drawer.stamps.append(Stamp(number=1))),
    "plain model": (lambda: {"page": Page(stamps=[])}, lambda album: album.page.stamps.append(Stamp(number=1))),
    "validator": (lambda: {"checked": []}, lambda album: album.checked.append(Stamp(number=1))),
}


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_saved(bound, way):
    """Such a model is saved, and the container in the model stays the same object."""
    make, put = WAYS[way]
    album = await StampAlbum(**make()).save()
    value = getattr(album, next(iter(make())))
    put(album)
    await album.save()
    put(album)
    assert getattr(album, next(iter(make()))) is value
    copy = await album.duplicate()
    assert (await StampAlbum.get(copy.key)).model_dump() == album.model_dump()


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_saved_by_blocks(bound, way):
    """A pipeline and a lock that saves at its end write such a model."""
    make, put = WAYS[way]
    album = await StampAlbum(**make()).save()
    async with album.pipeline():
        put(album)
    async with album.lock(save_at_end=True):
        put(album)
    assert (await StampAlbum.get(album.key)).model_dump() == album.model_dump()
    assert album.model_dump() != StampAlbum(**make()).model_dump()


async def test_what_does_not_fit_is_refused(bound):
    """A value of another type that was put in unseen is refused when it is saved, as it was."""
    album = await StampAlbum(listed=[]).save()
    album.listed.append("no stamp")
    with pytest.raises(ValueError, match="Stamp"):
        await album.save()
    assert (await StampAlbum.get(album.key)).listed == []


class Signed(Stamp):
    """One with more to it, where anything may stand."""

    by: str = ""


class Pinned(NamedTuple):
    """A row that cannot be changed."""

    stamp: Stamp
    place: int = 0


class StampBox(AtomicRedisModel):
    """Has a plain model in all ways: by its field, below a union, and where anything may stand."""

    best: Stamp = Stamp()
    listed: list[Stamp] | int = 0
    nested: list[tuple[list[Stamp], Stamp]] | int = 0
    pinned: list[Pinned] | int = 0
    loose: Any = None


async def test_what_can_be_written_is_left_alone(bound):
    """What stands in fields that can be written as they are stays what it is, whatever is put into others unseen."""
    box = await StampBox(listed=[], pinned=[], loose=[]).save()
    box.listed.append(Stamp(number=1))
    box.pinned.append(Pinned(Stamp(number=2)))
    box.loose.append(Signed(number=3, by="me"))
    await box.save()
    stored = await StampBox.get(box.key)
    assert stored.loose == [{"number": 3, "by": "me"}]
    assert (stored.listed, stored.pinned) == ([Stamp(number=1)], [Pinned(Stamp(number=2))])


async def test_what_is_beside_it_is_saved_too(bound):
    """Such models are found in what stands beside one, too."""
    box = await StampBox(nested=[]).save()
    box.nested.append(([Stamp(number=1)], Stamp(number=2)))
    await box.save()
    assert (await StampBox.get(box.key)).nested == [([Stamp(number=1)], Stamp(number=2))]


@pytest.mark.parametrize("field", ["loose", "listed"])
async def test_a_failure_changes_nothing_here(bound, field):
    """What cannot be saved leaves all models what they were: they can be saved when the cause is gone."""
    box = await StampBox(listed=[], loose=[]).save()
    signed = Signed(number=3, by="me")
    box.loose.append(signed)
    getattr(box, field).append(object())
    for _ in range(2):
        with pytest.raises(ValueError, match="object"):
            await box.save()
    assert box.loose[0] is signed
    getattr(box, field).pop()
    await box.save()
    assert (await StampBox.get(box.key)).loose == [{"number": 3, "by": "me"}]


async def test_what_is_too_deep_is_refused_as_it_was(bound):
    """A value that is nested too deep to be written is refused with the error that says so."""
    box = await StampBox(loose=[]).save()
    inmost = box.loose
    for _ in range(3000):
        inmost.append([])
        inmost = inmost[0]
    with pytest.raises(ValueError, match="depth"):
        await box.save()
