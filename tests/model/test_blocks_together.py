"""Blocks in blocks: pipelines and locks around and inside each other, and what is left when the inner one fails."""

import asyncio

import pytest

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound, OutOfRange, UsageError


class User(AtomicRedisModel):
    """Some fields."""

    n: int = 10
    m: int = 0
    items: list[int] = [3, 1, 2]
    table: dict[str, int] = {"a": 1, "b": 2}
    tags: set[int] = {1, 2}


class Boom(Exception):
    """What a body raises."""


MUTATORS = {
    "append": lambda u: u.items.append(9),
    "pop": lambda u: u.items.pop(),
    "remove": lambda u: u.items.remove(1),
    "clear": lambda u: u.items.clear(),
    "reverse": lambda u: u.items.reverse(),
    "sort": lambda u: u.items.sort(),
    "set an element": lambda u: u.items.__setitem__(0, 9),
    "set a slice": lambda u: u.items.__setitem__(slice(0, 1), [9]),
    "delete an element": lambda u: u.items.__delitem__(0),
    "repeat": lambda u: u.items.__imul__(2),
    "delete an entry": lambda u: u.table.__delitem__("a"),
    "pop an entry": lambda u: u.table.pop("a"),
    "pop the last entry": lambda u: u.table.popitem(),
    "clear a dict": lambda u: u.table.clear(),
    "update a dict": lambda u: u.table.update(c=3),
    "remove from a set": lambda u: u.tags.remove(1),
    "discard": lambda u: u.tags.discard(1),
    "pop from a set": lambda u: u.tags.pop(),
    "clear a set": lambda u: u.tags.clear(),
    "symmetric difference": lambda u: u.tags.symmetric_difference_update({1, 9}),
    "intersection": lambda u: u.tags.intersection_update({1}),
}


@pytest.mark.parametrize("mutate", MUTATORS.values(), ids=MUTATORS)
async def test_the_first_change_is_put_back(bound, mutate):
    """A model whose first change in a `rapyer.pipeline()` is any of these is as it was if the body raises."""
    user = await User().save()
    before = user.model_dump()

    async def block():
        async with rapyer.pipeline():
            mutate(user)
            raise Boom

    with pytest.raises(Boom):
        await block()
    assert user.model_dump() == before


def _of_model(user):
    return user.pipeline()


def _of_all(_):
    return rapyer.pipeline()


KINDS = pytest.mark.parametrize(
    ("outer", "inner"), [(_of_model, _of_model), (_of_model, _of_all), (_of_all, _of_model), (_of_all, _of_all)]
)


@KINDS
async def test_inner_block_that_raises(bound, outer, inner):
    """What an inner block did is taken back, here and from what the outer one sends, if it raises and that goes on."""
    user = await User().save()

    async def block():
        async with inner(user):
            user.n += 100
            user.m += 1
            user.items.pop()
            raise Boom

    async with outer(user):
        user.n += 1
        for _ in range(2):
            with pytest.raises(Boom):
                await block()
            assert (user.n, user.m, user.items) == (11, 0, [3, 1, 2])
        user.n += 1
    found = await User.get(user.key)
    assert user == found
    assert (found.n, found.m, found.items) == (12, 0, [3, 1, 2])


async def test_inner_block_that_raises_on_models_the_outer_did_not_touch(bound):
    """Models first changed in the inner block are put back, too; what it does not cover stays."""
    one, two = await User().save(), await User().save()

    async def block(inner):
        async with inner:
            one.n += 1
            two.n += 1
            raise Boom

    async with rapyer.pipeline():
        with pytest.raises(Boom):
            await block(rapyer.pipeline())
        assert (one.n, two.n) == (10, 10)
        with pytest.raises(Boom):
            await block(two.pipeline())
        assert (one.n, two.n) == (11, 10)
    assert [(await User.get(user.key)).n for user in (one, two)] == [11, 10]


@KINDS
async def test_order_of_changes_in_an_inner_block(bound, stored, outer, inner):
    """Changes of a model are carried out in the order they were made, also those of an inner block."""
    user = await User().save()
    async with outer(user):
        user.n = 5
        async with inner(user):
            user.n += 1
        assert user.n == 6
        assert await stored(user.key, "$.n") == 10
    assert user.n == await stored(user.key, "$.n") == 6


@KINDS
async def test_outer_block_that_raises(bound, outer, inner):
    """What an inner block did to a model that the outer one covers is not sent if the outer one raises."""
    user = await User().save()

    async def block():
        async with outer(user):
            async with inner(user):
                user.n += 1
            raise Boom

    with pytest.raises(Boom):
        await block()
    assert user.n == (await User.get(user.key)).n == 10


async def test_inner_block_refused_by_redis(bound):
    """An inner block that Redis refuses leaves nothing of itself in the outer one."""
    user, gone = await User().save(), await User().save()
    await gone.delete()

    async def block():
        async with rapyer.pipeline():
            user.n += 100
            gone.n += 1

    async with user.pipeline():
        user.n += 1
        with pytest.raises(KeyNotFound):
            await block()
        assert (user.n, gone.n) == (11, 10)
    assert user.n == (await User.get(user.key)).n == 11


async def test_block_object_used_again(bound, stored):
    """A block that ended can be entered again, also inside another on the same model."""
    user = await User().save()
    block = user.pipeline()
    async with block:
        user.n += 1
    async with user.pipeline(), block:
        user.n += 1
    assert user.n == await stored(user.key, "$.n") == 12


async def test_block_object_used_again_forgets_the_block_that_it_was_in(bound):
    """Where it fails, it goes back to where it was entered, and not to where it was entered inside another before."""
    user = await User().save()
    block = user.pipeline()
    async with user.pipeline(), block:
        user.n += 1
    with pytest.raises(OutOfRange):
        async with block:
            await user.n.increase(2**63 - 1)
    assert user.n == 11


@pytest.mark.parametrize("opened", [lambda user: user.pipeline(), lambda _: rapyer.pipeline()])
async def test_block_object_in_use(bound, stored, opened):
    """It is one block at a time, or changes would be lost: neither itself nor another task enters it meanwhile."""
    user = await User().save()
    block = opened(user)

    async def enter():
        with pytest.raises(UsageError, match="in use"):
            async with block:
                pass

    async with block:
        await enter()
        user.n += 1
        await asyncio.gather(enter(), enter())
        user.n += 1
    assert user.n == await stored(user.key, "$.n") == 12


async def test_block_object_whose_entering_failed(bound, stored):
    """It is not in use: once there is a document, it can be entered."""
    user = User()
    block = user.pipeline()
    with pytest.raises(KeyNotFound):
        async with block:
            pass
    await user.save()
    async with block:
        user.n += 1
    assert await stored(user.key, "$.n") == 11


async def test_lock_that_saves_in_a_lock_that_saves(bound):
    """What an inner lock block saved is not saved again by the outer one: what others did since survives."""
    user = await User().save()
    async with user.lock("outer", save_at_end=True):
        async with user.lock("inner", save_at_end=True):
            user.n = 1
            user.items.pop()
            del user.table["a"]
        other = await User.get(user.key)
        await other.aupdate(n=7, items=[5], table={"a": 6})
        user.m = 1
    found = await User.get(user.key)
    assert (found.n, found.m, found.items, found.table) == (7, 1, [5], {"a": 6})


@pytest.mark.parametrize("by_key", [False, True])
async def test_lock_that_saves_in_a_pipeline(bound, stored, by_key):
    """A lock that would save what a pipeline around it records is refused: it would be written twice."""
    user = await User().save()

    async def block():
        async with rapyer.pipeline():
            lock = User.lock_from_key(user.key, save_at_end=True) if by_key else user.lock(save_at_end=True)
            async with lock as locked:
                locked.n += 1

    with pytest.raises(UsageError, match="take the lock first"):
        await block()
    async with user.lock(save_at_end=True):
        async with user.pipeline():
            user.n += 1
        user.m = 1
    assert (await stored(user.key, "$.n"), await stored(user.key, "$.m")) == (11, 1)


async def test_lock_that_saves_in_a_pipeline_on_another_model(bound, stored):
    """A pipeline on another model leaves a lock that saves as it is."""
    one, two = await User().save(), await User().save()
    async with one.pipeline():
        one.n += 1
        async with two.lock(save_at_end=True):
            two.n += 1
    assert (await stored(one.key, "$.n"), await stored(two.key, "$.n")) == (11, 11)


# -- models held in variables ----------------------------------------------------------------------------------------


class Leaf(AtomicRedisModel):
    """A model in a nested one."""

    x: int = 0


class Part(AtomicRedisModel):
    """A nested model."""

    name: str = ""
    deeper: list[Leaf] = []


class Whole(AtomicRedisModel):
    """A document with nested models everywhere."""

    one: Part = Part()
    many: list[Part] = []
    named: dict[str, Part] = {}
    rows: list[list[Part]] = []


def _assigned(whole, part):
    whole.one = part


def _listed(whole, part):
    whole.many = [Part(), part]


def _appended(whole, part):
    whole.many.append(part)


def _inserted(whole, part):
    whole.many.extend([Part(), Part()])
    whole.many.insert(-1, part)


def _replaced(whole, part):
    whole.many.append(Part())
    whole.many[-1] = part


def _sliced(whole, part):
    whole.many[0:0] = [part]


def _named(whole, part):
    whole.named["a"] = part


def _named_by_update(whole, part):
    whole.named.update(a=part)


def _nested(whole, part):
    whole.rows.append([part])


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    "put",
    [
        _assigned,
        _listed,
        _appended,
        _inserted,
        _replaced,
        _sliced,
        _named,
        _named_by_update,
        _nested,
    ],
)
async def test_a_model_that_was_put_in_goes_on_to_change(bound, put, many):
    """What is done in the block through the variable that holds a new model is done to the document."""
    whole = await Whole().save()
    part = Part(deeper=[leaf := Leaf()])
    async with rapyer.pipeline() if many else whole.pipeline():
        put(whole, part)
        part.name = "later"
        leaf.x = 5
        part.deeper.append(other := Leaf())
        other.x += 6
    found = await Whole.get(whole.key)
    assert found == whole
    parts = [found.one, *found.many, *found.named.values(), *(part for row in found.rows for part in row)]
    [changed] = [part for part in parts if part.name]
    assert changed == Part(name="later", deeper=[Leaf(x=5), Leaf(x=6)])


async def test_a_document_that_was_put_in_stays_one(bound):
    """A document of its own is copied into the other one, and goes on being itself."""
    whole, part = await Whole().save(), await Part(name="own").save()
    async with whole.pipeline():
        whole.one = part
        part.name = "still"
    assert (await Whole.get(whole.key)).one.name == "own"
    assert (await Part.get(part.key)).name == "own"
    assert part.name == "still"


async def test_a_field_that_a_block_found_gone(bound, write, stored):
    """A field that Redis lacks after a block is saved as a whole by the lock around it, and others are left alone."""
    box = await Whole(many=[Part()], one=Part(name="a", deeper=[Leaf(x=1)])).save()
    async with box.lock(save_at_end=True):
        await bound.delete(box.key)
        async with box.pipeline(ignore_if_deleted=True):
            box.one.name = "b"
        await write(box.key, "$", {"many": []})
        box.one.deeper.append(Leaf(x=2))
    assert await stored(box.key) == {"many": [], "one": {"name": "b", "deeper": [{"x": 1}, {"x": 2}]}}
