# ruff: noqa: UP045 - old spellings of annotations work too
"""`pipeline()`: ordinary Python inside, one script at the end, and afterwards the model is what Redis holds."""

from datetime import datetime, timedelta, timezone
from typing import Optional

import pytest
from pydantic import ValidationError

from rapyer import AtomicRedisModel

MOMENT = datetime(2024, 1, 1, tzinfo=timezone.utc)


class Member(AtomicRedisModel):
    """An element."""

    name: str = "m"
    score: int = 0


class Team(AtomicRedisModel):
    """A value."""

    members: list[Member] = [Member(), Member(), Member()]
    title: str = "t"


class User(AtomicRedisModel):
    """One field of each type, and nested ones."""

    n: int = 10
    f: float = 1.5
    s: str = "ab"
    b: bytes = b"\xff"
    d: datetime = MOMENT
    items: list[int] = [3, 1, 2]
    table: dict[str, int] = {"a": 1, "b": 2}
    maybe: Optional[int] = 1
    flag: bool = False
    team: Team = Team()
    teams: dict[str, Team] = {"a": Team()}
    rows: list[list[int]] = [[1], [2]]
    moments: list[datetime] = [MOMENT]


def _set(target, name, value):
    setattr(target, name, value)


def _int_floor(u):
    u.n = -7
    u.n //= 2


def _int_mod(u):
    u.n = -7
    u.n %= 3


def _many(u):
    u.n += 1
    u.n *= 3
    u.n -= 2
    u.s += "c"
    u.s += "d"
    u.items.append(5)
    u.items.sort()
    u.items.append(0)
    u.table["c"] = 1
    u.table["c"] += 1
    u.table |= {"d": 4}
    del u.table["a"]


def _float(u):
    u.f += 0.1
    u.f *= 3
    u.f -= 0.25
    u.f /= 7


def _int(u):
    u.n -= 1
    u.n *= -5
    u.n **= 2


def _data(u):
    u.b += b"\x00\x01"
    u.b += b"x"


def _moment(u):
    u.d += timedelta(days=1, microseconds=3)
    u.d -= timedelta(hours=30)


def _delete(u, index):
    del u.items[index]


def _imul(u):
    u.items *= 2


def _iadd(u):
    u.items += [7, 8]


def _element_operators(u):
    u.table["a"] += 1
    u.items[0] += 1
    u.items[-1] *= 10
    u.rows[1][0] += 5
    u.teams["a"].members[2].score += 1
    u.team.members[-1].name += "x"
    u.moments[0] += timedelta(1)


def _nested(u):
    u.team.title = "new"
    u.team.title += "er"
    u.team.members.append(Member(score=5))
    u.team.members[3].score += 1
    u.team.members.pop(0)
    u.teams["b"] = Team(title="b")
    u.teams["b"].title += "c"
    u.teams["b"].members[0].score += 3


def _moved(u):
    first = u.team.members[0]
    u.team.members.insert(0, Member(name="new"))
    first.score += 1
    u.team.members.reverse()
    first.score += 1


MUTATIONS = {
    "int": _int,
    "floor": _int_floor,
    "mod": _int_mod,
    "float": _float,
    "bytes": _data,
    "moment": _moment,
    "many": _many,
    "elements": _element_operators,
    "nested": _nested,
    "moved": _moved,
    "append": lambda u: u.items.append(4),
    "extend": lambda u: u.items.extend([4, 5]),
    "extend nothing": lambda u: u.items.extend([]),
    "insert": lambda u: u.items.insert(1, 9),
    "insert far": lambda u: u.items.insert(-99, 9),
    "pop": lambda u: u.items.pop(),
    "pop first": lambda u: u.items.pop(0),
    "remove": lambda u: u.items.remove(1),
    "clear": lambda u: u.items.clear(),
    "set item": lambda u: u.items.__setitem__(-1, 9),
    "iadd": _iadd,
    "imul": _imul,
    "del": lambda u: _delete(u, 0),
    "del slice": lambda u: _delete(u, slice(0, 2)),
    "set slice": lambda u: u.items.__setitem__(slice(1, None), [7, 8, 9]),
    "sort": lambda u: u.items.sort(reverse=True),
    "reverse": lambda u: u.items.reverse(),
    "dict set": lambda u: u.table.__setitem__("c", 3),
    "dict update": lambda u: u.table.update({"a": 9}, c=3),
    "dict pop": lambda u: u.table.pop("a"),
    "dict pop default": lambda u: u.table.pop("x", None),
    "dict popitem": lambda u: u.table.popitem(),
    "dict setdefault": lambda u: (u.table.setdefault("a", 5), u.table.setdefault("z", 5)),
    "dict clear": lambda u: u.table.clear(),
    "none": lambda u: _set(u, "maybe", None),
    "assign": lambda u: (_set(u, "n", 1), _set(u, "items", [1]), _set(u, "table", {}), _set(u, "flag", True)),
    "assign model": lambda u: _set(u, "team", Team(title="x", members=[])),
    "same": lambda u: _set(u, "items", u.items),
    "update": lambda u: u.update(n=3, s="x", team=Team(title="z")),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("mutate", MUTATIONS.values(), ids=MUTATIONS)
async def test_same_as_python(bound, mutate):
    """What the body does, Redis does: one by one or in a block, the outcome is that of plain Python."""
    expected = User()
    mutate(expected)
    user = await User().save()
    async with user.pipeline():
        mutate(user)
        assert user == expected
        assert await User.get(user.key) == User()
    assert user == expected
    assert await User.get(user.key) == expected
    assert user.model_dump(mode="json") == expected.model_dump(mode="json")


async def test_relative(bound):
    """Operations apply to what another client wrote meanwhile; touched fields then show it, others do not."""
    user = await User().save()
    other = await User.get(user.key)
    async with user.pipeline():
        user.n += 1
        user.s += "!"
        user.items.append(9)
        user.table["mine"] = 1
        user.team.members[1].score += 1
        await other.aupdate(n=100, s="theirs", items=[7], table={"theirs": 1}, f=9.5)
        await other.team.members[1].score.increase(10)
    assert (user.n, user.s, user.items, user.table) == (101, "theirs!", [7, 9], {"theirs": 1, "mine": 1})
    assert user.team.members[1].score == 11
    assert user.f == 1.5
    assert await user.load() == await User.get(user.key)
    assert user.f == 9.5


async def test_entering_refreshes(bound):
    """The body sees what Redis holds, in the same instance."""
    user = await User().save()
    items = user.items
    await (await User.get(user.key)).aupdate(n=77, items=[1])
    async with user.pipeline() as same:
        assert same is user
        assert (user.n, items) == (77, [1])
        assert items is user.items


async def test_only_assigned_back(bound):
    """An in-place operator on a variable, or a result put elsewhere, changes nothing of its source."""
    user = await User().save()
    async with user.pipeline():
        x = user.n
        x += 1
        s = user.s
        s += "x"
        y = user.items[0]
        y += 5
    assert await User.get(user.key) == user == User()
    async with user.pipeline():
        z = user.n
        z += 5
        user.maybe = z
        user.table["copy"] = z
    assert (user.n, user.maybe, user.table["copy"]) == (10, 15, 15)
    assert await User.get(user.key) == user


async def test_plain_operator_is_an_assignment(bound):
    """`x = x + 1` reads and sets, as written; `+=` adds."""
    user = await User().save()
    other = await User.get(user.key)
    async with user.pipeline():
        user.n = user.n + 1
        await other.n.increase(100)
    assert user.n == 11


async def test_chained_then_assigned(bound):
    """A value that was set in the block goes on from there."""
    user = await User().save()
    other = await User.get(user.key)
    async with user.pipeline():
        user.n += 1
        user.n = 50
        user.n += 1
        await other.aupdate(n=1000)
    assert user.n == 51
    assert (await User.get(user.key)).n == 51


async def test_validation_inside(bound):
    """A bad value raises where it is assigned; when the body goes on, the rest is written."""
    user = await User().save()
    async with user.pipeline():
        user.n += 1
        with pytest.raises(ValidationError):
            user.n = "text"
        with pytest.raises(ValidationError):
            user.items.append("text")
        with pytest.raises(ValidationError):
            user.table["a"] = "text"
        user.s += "c"
    assert (user.n, user.s, user.items) == (11, "abc", [3, 1, 2])
    assert await User.get(user.key) == user
