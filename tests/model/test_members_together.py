"""Members of one object that are set together: one operation, which leaves what setting each by itself would."""

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import PathNotFound, WrongType

KINDS = {
    "text": "a",
    "number": 7,
    "double": 0.25,
    "stubborn": 0.9715098593399603,
    "flag": True,
    "list": [None, {"a": None}, "b"],
    "empty": {},
    "object": {"new": 1},
    "null": None,
    'quote"': 1,
    "both'\"": "x",
    "back\\slash": [1],
    " space": {"a": 1},
    "é😀\n": "\x00",
}


class Inner(AtomicRedisModel):
    """A nested model."""

    street: str = ""
    city: str = ""
    floor: int | None = None


class Shelf(AtomicRedisModel):
    """A dict of anything, a dict in a dict, and a nested model."""

    things: dict[str, object] = {}
    boxes: dict[str, dict[str, int]] = {}
    inner: Inner = Inner()
    n: int = 0


async def _one_by_one(things, entries):
    async with rapyer.pipeline():
        for name, value in entries.items():
            things[name] = value


async def _update(things, entries):
    async with rapyer.pipeline():
        things.update(entries)


async def _awaited(things, entries):
    await things.aupdate(entries)


WAYS = pytest.mark.parametrize("write", [_one_by_one, _update, _awaited])


@WAYS
@pytest.mark.parametrize("present", [None, 3, {"old": None, "new": 2}, [1]])
@pytest.mark.parametrize("count", [2, len(KINDS)])
async def test_members_of_every_kind(bound, stored, write, present, count):
    """Each replaces what stood there, objects and null included; the others stay."""
    shelf = await Shelf(things={**dict.fromkeys(KINDS, present), "other": {"a": 1}}).save()
    entries = dict(list(KINDS.items())[:count])
    await write(shelf.things, entries)
    wanted = {**dict.fromkeys(KINDS, present), "other": {"a": 1}, **entries}
    assert (await stored(shelf.key))["things"] == wanted
    assert shelf.things == wanted


@WAYS
@pytest.mark.parametrize(
    "entries",
    [
        {"b": 1, "a": 2, "c": 3},
        {"b": 1, "a": None, "c": {}},
        {"b": None, "a": 2},
        {"C:\\a": 1, "b": 2},
        {"b": 1, " c": 2, "d": 3, "e": 4, "both'\"": 5, "f": 6},
    ],
)
async def test_new_members_keep_their_order(bound, write, entries):
    """The one set last is the newest, whatever it is."""
    shelf = await Shelf(things={"first": 0}).save()
    await write(shelf.things, entries)
    assert list((await Shelf.get(shelf.key)).things) == ["first", *entries]
    assert await shelf.things.apopitem() == list(entries.items())[-1]


async def test_the_last_of_several_counts(bound, stored):
    """Also where others were set in between, and where one was removed in between."""
    shelf = await Shelf(things={"x": 1}).save()
    async with shelf.pipeline():
        for number in range(3):
            for name in "ab":
                shelf.things[name] = f"{name}{number}"
        del shelf.things["a"]
        shelf.things["c"] = "c"
        shelf.things["a"] = "again"
    assert (await stored(shelf.key))["things"] == shelf.things == {"x": 1, "b": "b2", "c": "c", "a": "again"}


async def test_names_that_no_path_can_be_written_through(bound, stored):
    """They are set in their turn; one that is set again and again is one operation, as any is."""
    shelf = await Shelf().save()
    async with shelf.pipeline():
        shelf.things["C:\\x \"y\" 'z'"] = {"o": None}
        shelf.things["stubborn"] = 0.9715098593399603
        for number in range(100):
            shelf.things["C:\\a"] = number
        shelf.things["last"] = True
    wanted = {"C:\\x \"y\" 'z'": {"o": None}, "stubborn": 0.9715098593399603, "C:\\a": 99, "last": True}
    assert list((await stored(shelf.key))["things"].items()) == list(wanted.items())
    assert list(shelf.things.items()) == list(wanted.items())


async def test_changes_of_other_places_stay_in_order(bound, stored):
    """Members of one dict are set together only if nothing else of the field was changed between."""
    shelf = await Shelf(boxes={"a": {"x": 1}}).save()
    async with shelf.pipeline():
        shelf.boxes["a"]["y"] = 2
        shelf.boxes["b"] = {"z": 3}
        shelf.boxes["a"]["w"] = 4
        shelf.boxes["a"] = {"v": 5}
        shelf.boxes["a"]["u"] = 6
    assert (await stored(shelf.key))["boxes"] == shelf.boxes == {"a": {"v": 5, "u": 6}, "b": {"z": 3}}


async def test_fields_of_a_nested_model(bound, stored):
    """Set one after the other they are written together; what others did to it meanwhile stays."""
    shelf = await Shelf().save()
    async with shelf.pipeline():
        shelf.inner.street = "Main St"
        shelf.inner.city = "Oslo"
        shelf.inner.floor = None
        await (await Shelf.get(shelf.key)).inner.aupdate(floor=3, city="Rome")
    assert (await stored(shelf.key))["inner"] == {"street": "Main St", "city": "Oslo", "floor": None}
    async with shelf.pipeline():
        shelf.inner.street = "High St"
        shelf.inner.city = "Bergen"
        await (await Shelf.get(shelf.key)).inner.aupdate(floor=3)
    assert shelf.inner == Inner(street="High St", city="Bergen", floor=3)


@pytest.mark.parametrize(
    ("spoil", "error"), [({"things": []}, WrongType), ({"things": 1}, WrongType), ({"others": {}}, PathNotFound)]
)
async def test_nothing_is_made_of_what_is_no_object(bound, client, spoil, error):
    """A block whose members have no object to be in is refused as a whole, and names the place."""
    shelf = await Shelf().save()

    async def block():
        async with shelf.pipeline():
            shelf.n += 1
            shelf.things["a"] = 1
            shelf.things["b"] = 2
            await client.json().set(shelf.key, "$", {"n": 5, "inner": {}, **spoil})

    with pytest.raises(error, match=r"\$\.things"):
        await block()
    assert await client.json().get(shelf.key) == {"n": 5, "inner": {}, **spoil}
    assert (shelf.n, shelf.things) == (0, {})
