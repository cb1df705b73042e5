"""Dict keys are any text, and each names that one entry and nothing else, in every operation."""

from typing import Annotated

import pytest
from pydantic import AfterValidator

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError
from rapyer.fields import Key

NAMES = [
    "a.b", "a b", ".", "..", "*", "$", "$.x", "@", "[0]", "[*]", "0", "-1", "", "'", '"', "\\", "\\\\", "\\n", "\n",
    "it's", 'say "x"', "it's \"both\"", "both\\ ' and \"", "é", "日本", "😀", "e\u0301", "\0", "a\0b", "\x1f", "\x7f",
    "?(@.a)", "a,b", "a:b", "{x}", "constructor",
    "v", "\u2028", "'; return 1 --", "]]", "%s", "a\\'b", "\ufeff", "end\\",
]  # fmt: skip
each = pytest.mark.parametrize("name", NAMES, ids=ascii)


class Leaf(AtomicRedisModel):
    """What stands below a name."""

    n: int = 1
    s: str = "s"
    f: float = 0.5
    tags: list[int] = [1]
    deeper: dict[str, int] = {}


class Names(AtomicRedisModel):
    """Dicts with any names."""

    table: dict[str, int] = {}
    leaves: dict[str, Leaf] = {}
    rows: list[dict[str, list[int]]] = []


DECOYS = {"a": 1, "b": 2, "x": 3, "ab": 4}


@each
async def test_every_operation(bound, stored, name):
    """Setting, updating, deleting and popping touch this one entry only."""
    one = await Names(table=DECOYS).save()
    assert await one.table.aset_item(name, 10) == DECOYS | {name: 10}
    assert await stored(one.key, "$.table") == DECOYS | {name: 10}
    assert await one.table[name].increase(5) == 15
    assert await one.table.aupdate({name: 20, "new": 5}) == DECOYS | {name: 20, "new": 5}
    assert await one.table[name].load() == 20
    one.table[name] = 21
    await one.table[name].save()
    assert await stored(one.key, "$.table") == DECOYS | {name: 21, "new": 5}
    assert await one.table.apop(name) == 21
    assert await one.table.apop(name, "default") == "default"
    await one.table.aset_item(name, 1)
    assert await one.table.adel_item(name) == DECOYS | {"new": 5}
    with pytest.raises(KeyError):
        await one.table.adel_item(name)
    await one.table.aset_item(name, 2)
    assert await one.table.apopitem() == (name, 2)
    assert await stored(one.key, "$.table") == DECOYS | {"new": 5}


@each
async def test_below(bound, name):
    """What stands below such a name, once or twice, has all operations too."""
    one = await Names(leaves={name: Leaf(), "x": Leaf()}, rows=[{name: [1]}]).save()
    leaf = one.leaves[name]
    assert await leaf.n.increase() == 2
    assert await leaf.s.aappend("'\"\\") == "s'\"\\"
    assert await leaf.f.increase(0.1) == 0.6
    assert await leaf.tags.aextend([2, 3]) == [1, 2, 3]
    assert await leaf.tags[1].increase(5) == 7
    assert await leaf.tags.apop(0) == 1
    assert await leaf.deeper.aupdate({name: 1, "plain": 2}) == {name: 1, "plain": 2}
    assert await leaf.deeper[name].increase() == 2
    await leaf.aupdate(n=50, s="new")
    assert await one.rows[0][name].aappend(2) == [1, 2]
    assert await one.rows[0][name][1].increase() == 3
    assert await leaf.n.load() == 50
    again = await Names.get(one.key)
    assert again == one
    assert again.leaves["x"] == Leaf()
    assert (await again.leaves[name].load()).deeper == {name: 2, "plain": 2}


@each
async def test_pipeline(bound, name):
    """In a block all of it goes as one script."""
    one = await Names(table={name: 1} | DECOYS, leaves={name: Leaf()}, rows=[{name: [1]}]).save()
    async with one.pipeline():
        one.table[name] += 1
        one.table[name] *= 10
        one.leaves[name].n += 1
        one.leaves[name].deeper[name] = 1
        one.leaves[name].deeper[name] += 1
        one.leaves[name].tags.append(2)
        one.rows[0][name].append(2)
        one.rows[0][name][0] += 5
        one.rows[0] |= {"more": [9]}
    expected = Names(
        table={name: 20} | DECOYS,
        leaves={name: Leaf(n=2, tags=[1, 2], deeper={name: 2})},
        rows=[{name: [6, 2], "more": [9]}],
    )
    assert one == expected
    assert await Names.get(one.key) == expected
    async with one.pipeline():
        del one.table[name]
        one.rows[0].pop(name)
        del one.leaves[name]
    assert await Names.get(one.key) == Names(table=DECOYS, rows=[{"more": [9]}]) == one


@each
async def test_lock(bound, stored, write, name):
    """Saving at the end writes this entry only."""
    one = await Names(table={name: 1} | DECOYS, leaves={name: Leaf()}).save()
    async with one.lock(save_at_end=True):
        await write(one.key, "$.table.x", 99)
        one.table[name] = 5
        one.leaves[name].n = 6
        one.leaves[name].deeper[name] = 7
    assert await stored(one.key, "$.table") == {name: 5} | DECOYS | {"x": 99}
    assert await stored(one.key, "$.leaves") == {name: Leaf(n=6, deeper={name: 7}).model_dump()}
    async with one.lock(save_at_end=True):
        del one.table[name]
    assert await stored(one.key, "$.table") == DECOYS | {"x": 99}


@each
async def test_pk(bound, name):
    """A pk is any text too, and so is a lock's action."""

    class Named(AtomicRedisModel):
        slug: Key[str]
        n: int = 0

    one = await Named(slug=name).save()
    assert (await Named.get(one.key)).slug == name
    assert await Named.afind_keys() == [one.key]
    async with one.lock(name, save_at_end=True):
        one.n = 1
    async with one.pipeline():
        one.n += 1
        one.n //= 1
    assert await one.n.load() == 2
    assert await bound.keys("rapyer:*") == []


HALF = "x\ud800"


class Held(AtomicRedisModel):
    """Dicts of several types."""

    names: dict[str, int] = {}
    inner: dict[str, dict[str, int]] = {}
    short: dict[Annotated[str, AfterValidator(str.strip)], int] = {}


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.aupdate(names={HALF: 1}),
        lambda held: held.aupdate(inner={"a": {HALF: 1}}),
        lambda held: held.aupdate(short={HALF: 1}),
        lambda held: held.names.aset_item(HALF, 1),
        lambda held: held.names.aupdate({HALF: 1}),
        lambda held: held.inner.aset_item("a", {HALF: 1}),
        lambda held: setattr(held, "names", {HALF: 1}),
        lambda held: held.names.__setitem__(HALF, 1),
        lambda held: held.names.update({HALF: 1}),
        lambda held: held.names.setdefault(HALF, 1),
        lambda _: Held(names={HALF: 1}),
    ],
)
async def test_a_key_that_is_half_a_letter(bound, stored, change):
    """A key that UTF-8 cannot hold, which Pydantic would write as another one, is refused; nothing is written."""
    held = await Held(names={"\ufffd": 1}).save()
    with pytest.raises(ValueError, match="half a surrogate pair"):
        await change(held)
    with pytest.raises(ValueError, match="half a surrogate pair"):
        async with held.pipeline():
            await change(held)
    await held.save()
    assert await stored(held.key) == {"names": {"\ufffd": 1}, "inner": {}, "short": {}}


async def test_a_lock_that_is_called_half_a_letter(bound):
    """So is such a name of a lock."""
    held = await Held().save()
    with pytest.raises(UsageError, match="half a surrogate pair"):
        async with held.lock(HALF):
            pass
    assert await bound.keys("rapyer:*") == []
