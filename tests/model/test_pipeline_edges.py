# ruff: noqa: UP045 - old spellings of annotations work too
"""`pipeline()`: what joins a block, and what is left when it fails."""

import asyncio
import contextvars
import sys
from typing import Any, Optional

import pytest
from connections import client_of
from pydantic import ConfigDict

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import CrossSlot, KeyNotFound, OutOfRange, PathNotFound, UsageError


class Member(AtomicRedisModel):
    """An element."""

    score: int = 0


class Team(AtomicRedisModel):
    """A nested model."""

    members: list[Member] = [Member()]
    title: str = "t"


class User(AtomicRedisModel):
    """Some fields."""

    n: int = 10
    s: str = "ab"
    b: bytes = b"b"
    items: list[int] = [3, 1, 2]
    table: dict[str, int] = {"a": 1, "b": 2}
    maybe: Optional[int] = 1
    flag: bool = False
    team: Team = Team()
    rows: list[list[int]] = [[1], [2]]
    any: Any = None


class Boom(Exception):
    """What a body raises."""


def _set(target, name, value):
    setattr(target, name, value)


REFUSED = [
    (lambda u: _set(u, "n", u.n.__iadd__(2**62)), {"n": 2**62}, OutOfRange),
    (lambda u: u.items.pop(2), {"items": []}, IndexError),
    (lambda u: u.items.__setitem__(2, 1), {"items": [1]}, IndexError),
    (lambda u: u.items.remove(1), {"items": [9]}, ValueError),
    (lambda u: u.table.__delitem__("a"), {"table": {}}, KeyError),
    (lambda u: u.table.pop("a"), {"table": {}}, KeyError),
    (lambda u: u.table.__setitem__("a", u.table["a"].__iadd__(1)), {"table": {}}, PathNotFound),
]


@pytest.mark.parametrize(("mutate", "meanwhile", "error"), REFUSED)
async def test_refused(bound, mutate, meanwhile, error):
    """One operation the server refuses: none is written, and the model is as it was on entry."""
    user = await User().save()
    other = await User.get(user.key)
    items, team = user.items, user.team

    async def block():
        async with user.pipeline():
            user.s += "!"
            user.team.members[0].score += 1
            mutate(user)
            user.flag = True
            user.rows[0].append(5)
            await other.aupdate(**meanwhile)

    with pytest.raises(error):
        await block()
    assert user == User()
    assert (items is user.items, team is user.team, items) == (True, True, [3, 1, 2])
    assert await User.get(user.key) == User(**meanwhile)
    async with user.pipeline():
        user.s += "?"
    assert user.s == "ab?"


async def test_division_by_zero(bound):
    """Python's error, at the line itself; nothing is written."""
    user = await User().save()

    async def block():
        async with user.pipeline():
            user.s += "!"
            user.n //= 0

    with pytest.raises(ZeroDivisionError):
        await block()
    assert await User.get(user.key) == user == User()


async def test_document_gone(bound):
    """KeyNotFound, on entry or at the end; nothing is recreated, and the model is as on entry."""
    user = await User().save()

    async def block():
        async with user.pipeline():
            user.n += 1
            user.items.append(1)
            await bound.delete(user.key)

    with pytest.raises(KeyNotFound):
        await block()
    with pytest.raises(KeyNotFound):
        await block()
    assert user == User()
    assert await bound.keys() == []
    async with user.pipeline(ignore_if_deleted=True):
        user.n += 1
    assert await bound.keys() == []


@pytest.mark.parametrize("error", [Boom, asyncio.CancelledError, KeyboardInterrupt])
async def test_body_raises(bound, error):
    """Nothing is sent, and the model, with what variables hold, is as on entry."""
    user = await User().save()
    items, members = user.items, user.team.members

    async def block():
        async with user.pipeline():
            user.n += 1
            items.append(4)
            members[0].score = 5
            members.append(Member())
            user.table.clear()
            user.team = Team(title="other")
            user.maybe = None
            await user.items.aappend(5)
            raise error

    await bound.config_resetstat()
    with pytest.raises(error):
        await block()
    assert user == User()
    assert (items is user.items, members is user.team.members, len(members)) == (True, True, 1)
    stats = await bound.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert await User.get(user.key) == User()


async def test_awaited_operations_join(bound, stored):
    """Awaited operations, save and aupdate take their place in the order; nothing is sent before the end."""
    user = await User().save()
    async with user.pipeline():
        user.n += 1
        assert await user.n.increase(9) == 20
        user.n *= 2
        assert await user.items.apop() == 2
        assert await user.items.apop(0) == 3
        user.items.append(7)
        assert await user.items.aextend([8]) == [1, 7, 8]
        assert await user.table.apop("a") == 1
        assert await user.table.apop("a", "none") == "none"
        assert await user.table.apopitem() == ("b", 2)
        assert await user.s.aappend("c") == "abc"
        await user.aupdate(flag=True)
        await user.team.aupdate(title="T")
        await user.team.members[0].score.increase(3)
        assert await user.save() is user
        user.team.title += "!"
        assert await stored(user.key) == User().model_dump(mode="json")
    assert (user.n, user.items, user.table, user.s, user.flag) == (40, [1, 7, 8], {}, "abc", True)
    assert (user.team.title, user.team.members[0].score) == ("T!", 3)
    assert await User.get(user.key) == user


async def test_delete_joins(bound):
    """A delete is part of the block; what follows it finds no document, and then nothing happens at all."""
    user = await User().save()
    async with user.pipeline():
        user.n += 1
        assert await user.delete() is True
        assert await bound.exists(user.key)
    assert not await bound.exists(user.key)
    await user.save()

    async def block():
        async with user.pipeline():
            await user.delete()
            user.n += 1

    with pytest.raises(KeyNotFound):
        await block()
    assert await bound.exists(user.key)


async def test_reads_read_redis(bound):
    """Inside a block `get` reads what Redis holds."""
    user = await User().save()
    async with user.pipeline():
        user.n += 1
        assert (await User.get(user.key)).n == 10
        assert user.n == 11


async def test_child_tasks_do_not_belong(bound, stored):
    """What a task started in the block does happens at once."""
    user = await User().save()
    other = await User.get(user.key)

    async def child():
        await other.n.increase(5)
        await user.items.aappend(9)
        assert await stored(user.key, "$.n") == 15

    async with user.pipeline():
        user.n += 1
        await asyncio.create_task(child())
    assert (user.n, user.items) == (16, [3, 1, 2, 9])


async def test_concurrent_blocks(bound):
    """Tasks with blocks on instances of their own are each atomic, and none is lost."""
    user = await User().save()

    async def work(i):
        mine = await User.get(user.key)
        async with mine.pipeline():
            mine.n += 1
            await asyncio.sleep(0)
            mine.items.append(i)
            mine.table[str(i)] = i
            mine.team.members[0].score += 2

    await asyncio.gather(*map(work, range(40)))
    await user.load()
    assert (user.n, len(user.items), len(user.table), user.team.members[0].score) == (50, 43, 42, 80)


async def test_nested_blocks_join(bound, stored):
    """A block inside a block on the same model is one script with it, also opened on a nested model."""
    user = await User().save()
    async with user.pipeline():
        user.n += 1
        async with user.pipeline() as same:
            same.n += 1
            async with user.team.pipeline() as team:
                assert team is user.team
                team.title += "!"
        assert await stored(user.key, "$.n") == 10
    assert (user.n, user.team.title) == (12, "t!")
    async with user.team.pipeline() as team:
        team.title += "?"
    assert await stored(user.key, "$.team.title") == "t!?"


async def test_two_models(bound, stored):
    """Nested blocks on two models are two scripts: the outer's failure leaves the inner's done."""
    one, two = await User().save(), await User().save()

    async def block():
        async with one.pipeline():
            one.n += 1
            async with two.pipeline():
                two.n += 1
                one.s += "!"
            assert (await stored(two.key, "$.n"), await stored(one.key, "$.n")) == (11, 10)
            raise Boom

    with pytest.raises(Boom):
        await block()
    assert (one.n, one.s, two.n) == (10, "ab", 11)


@pytest.mark.one_server("the documents are in slots of their own")
async def test_many_models_in_one_script(bound, stored):
    """`rapyer.pipeline()` takes any models: all or nothing."""
    one, two = await User().save(), await User().save()
    async with rapyer.pipeline():
        one.n -= 5
        two.n += 5
        two.items.append(1)
        new = await User(s="new").save()
        assert await stored(one.key, "$.n") == 10
    assert (await stored(one.key, "$.n"), await stored(two.key, "$.n"), await stored(new.key, "$.s")) == (5, 15, "new")

    async def block():
        async with rapyer.pipeline():
            one.n -= 5
            two.n += 5
            await bound.delete(two.key)

    with pytest.raises(KeyNotFound, match=two.pk):
        await block()
    assert (one.n, two.n, await stored(one.key, "$.n")) == (5, 15, 5)
    async with rapyer.pipeline(ignore_if_deleted=True):
        one.n -= 1
        two.n += 1
    assert await stored(one.key, "$.n") == 4
    assert not await bound.exists(two.key)


@pytest.mark.one_server("the documents are in slots of their own")
async def test_delete_by_key_joins(bound, stored):
    """`delete_by_key` inside `rapyer.pipeline()` is part of its all or nothing."""
    one, two = await User().save(), await User().save()

    async def block(fault):
        async with rapyer.pipeline():
            assert await User.delete_by_key(two.key) is True
            one.n += 5
            assert await bound.exists(two.key)
            if fault:
                raise KeyError

    with pytest.raises(KeyError):
        await block(fault=True)
    assert (one.n, await bound.exists(two.key)) == (10, 1)
    await block(fault=False)
    assert (one.n, await stored(one.key, "$.n"), await bound.exists(two.key)) == (15, 15, 0)


async def test_what_others_read_differently(bound, stored):
    """A double whose stored text only RedisJSON reads exactly is the same here after the block."""
    value = 2.3445704478767312e41

    class Doubles(AtomicRedisModel):
        x: float = 0.0
        many: list[float] = []

    one = await Doubles().save()
    async with one.pipeline():
        one.x = value
        one.many = [value]
    assert (one.x, one.many, await stored(one.key, "$")) == (value, [value], {"x": value, "many": [value]})


async def test_what_others_changed_beside_a_touched_value(bound):
    """The top-level field that a block changed something in is what Redis holds, with what others did to it."""
    user = await User().save()
    async with user.pipeline():
        await bound.execute_command("JSON.SET", user.key, "$.team.members[0].score", "7")
        user.team.title = "new"
    assert (user.team.title, user.team.members[0].score) == ("new", 7)


async def test_several_models_of_one_document(bound):
    """What a block does through each of them counts, in order, and all are what Redis holds afterwards."""
    one = await User(items=[]).save()
    two, idle = await User.get(one.key), await User.get(one.key)
    async with rapyer.pipeline():
        one.n += 1
        two.n += 2
        one.n *= 10
        two.items.append(1)
        one.items.append(2)
        two.s = "two"
        one.s += "!"
        idle.flag = True
    assert (one.n, one.items, one.s, one.flag) == (130, [1, 2], "two!", True)
    assert one == two == idle == await User.get(one.key)


async def test_several_models_of_one_document_refused(bound):
    """A refusal puts every one of them back."""
    one = await User().save()
    two = await User.get(one.key)
    await bound.execute_command("JSON.SET", one.key, "$.table.a", str(2**62))

    async def block():
        async with rapyer.pipeline():
            one.n += 1
            two.n += 1
            two.table["a"] += 2**62

    with pytest.raises(OutOfRange):
        await block()
    assert one == two == User()
    assert await User.get(one.key) == User(table={"a": 2**62, "b": 2})


@pytest.mark.one_server("the documents are in slots of their own")
@pytest.mark.parametrize("refused", [False, True])
async def test_dependent_changes_of_one_of_two_documents(bound, refused):
    """Several changes of one field of one document, beside single changes of another: all or nothing."""
    one, two = await User().save(), await User().save()
    if refused:
        await bound.execute_command("JSON.SET", one.key, "$.table", "{}")

    async def block():
        async with rapyer.pipeline():
            one.n += 1
            two.n += 1
            two.n *= 10
            one.s += "!"
            del one.table["a"]

    if refused:
        with pytest.raises(KeyError):
            await block()
        assert (one, two) == (User(), User())
        assert ((await User.get(one.key)).n, await User.get(two.key)) == (10, User())
    else:
        await block()
        assert (one.n, one.s, one.table, two.n) == (11, "ab!", {"b": 2}, 110)
        assert (await User.get(one.key), await User.get(two.key)) == (one, two)


async def test_one_document_and_two_clients(bound, stack):
    """The same key on two servers is two documents: CrossSlot, and nothing is sent."""
    other = client_of(stack.url)

    class Elsewhere(AtomicRedisModel):
        n: int = 0

        @classmethod
        def class_key_initials(cls):
            return "User"

        class Meta:
            redis = other

    one = await User().save()
    two = await Elsewhere.get(one.key)

    async def block():
        async with rapyer.pipeline():
            one.n += 1
            two.n += 1

    with pytest.raises(CrossSlot):
        await block()
    assert (one.n, two.n, (await User.get(one.key)).n) == (10, 10, 10)
    await other.aclose()


async def test_two_clients(bound, stack):
    """Models bound to different clients cannot share a script: CrossSlot, and nothing is sent."""
    other = client_of(stack.url)

    class Elsewhere(AtomicRedisModel):
        n: int = 0

        class Meta:
            redis = other

    one, two = await User().save(), await Elsewhere().save()

    async def block():
        async with rapyer.pipeline():
            one.n += 1
            two.n += 1

    with pytest.raises(CrossSlot):
        await block()
    assert (one.n, two.n) == (10, 0)
    assert (await User.get(one.key), await Elsewhere.get(two.key)) == (one, two)
    await other.aclose()


async def test_plain_containers(bound):
    """A list or dict below `Any` is a plain value: assigning it back, by whatever operator, sets it."""

    class Free(AtomicRedisModel):
        any: Any = None
        items: tuple[int, ...] = ()

    free = await Free(any={"a": [1]}).save()
    async with free.pipeline():
        free.any |= {"b": 2}
        free.items += (1, 2)
        free.any["a"].append(3)
        free.any = free.any
    assert await Free.get(free.key) == Free(any={"a": [1, 3], "b": 2}, items=(1, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda user, member: _set(member, "score", member.score.__iadd__(1)),
        lambda user, member: _set(member, "score", 1),
        lambda user, member: _set(user, "any", 2**70),
        lambda user, member: user.update(n=1, any=2**70),
        lambda user, member: member.update(score=1),
    ],
)
async def test_a_refused_assignment_is_not_made_here_either(change, bound):
    """What an assignment could not be recorded of is not in the model: a block that goes on does not send it later."""
    user = await User().save()
    async with user.pipeline():
        member = user.team.members[0]
        del user.team.members[0]
        with pytest.raises((UsageError, OutOfRange)):
            change(user, member)
        assert (user.n, user.any, member.score) == (10, None, 0)
        user.team.members.append(member)
    assert user == await User.get(user.key)
    assert user.team.members == [Member()]


async def test_a_refused_extra_field_is_not_made_here_either(bound):
    """What an open model was refused is not in it: neither a new value of an extra field nor a new field."""

    class Open(AtomicRedisModel):
        model_config = ConfigDict(extra="allow")
        n: int = 0

    model = await Open(x=1).save()
    async with model.pipeline():
        for name in ("x", "y"):
            with pytest.raises(OutOfRange):
                setattr(model, name, 2**70)
        assert (model.x, hasattr(model, "y")) == (1, False)
        model.n = 1
    assert await Open.get(model.key) == model == Open(n=1, x=1)


async def test_stale_variables(bound):
    """A list, dict or model that another one was assigned over has no place any more."""
    user = await User().save()
    items = user.items
    async with user.pipeline():
        user.items = [9]
        with pytest.raises(UsageError, match="items"):
            items.append(5)
        user.items.append(6)
    assert (user.items, await User.get(user.key)) == ([9, 6], user)


async def test_a_block_that_another_task_leaves(bound, stored):
    """Its models are put back, and what the task that entered writes afterwards is written."""
    doc = await User(n=1).save()

    async def changes():
        async with doc.pipeline() as mine:
            mine.n += 5
            yield mine

    async for mine in changes():
        assert mine.n == 6
        break  # the loop closes the generator, in a task of its own
    await asyncio.sleep(0.05)
    assert doc.n == 1
    doc.n = 3
    await doc.save()
    assert (await stored(doc.key))["n"] == 3
    async with doc.pipeline():
        doc.n += 1
    await doc.n.increase()
    assert (await stored(doc.key))["n"] == doc.n == 5


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks cannot be given a context")
async def test_two_tasks_in_one_context(bound, stored):
    """Blocks of tasks that share a context, and overlap in any way, each collect their own task's changes."""
    first, second = await User().save(), await User().save()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def one():
        async with first.pipeline():
            first.n += 1
            await begun.wait()
        ended.set()

    async def other():
        async with second.pipeline():
            second.n += 1
            begun.set()
            await ended.wait()
            second.s += "x"
        await second.n.increase()

    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    await asyncio.gather(*(loop.create_task(work(), context=context) for work in (one, other)))
    assert ((await stored(first.key))["n"], (await stored(second.key))["n"]) == (11, 12)
    assert (await stored(second.key))["s"] == "abx"
