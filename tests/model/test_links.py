"""Every value of a document knows its key and its path, and follows its place."""

import copy

import pytest

from rapyer import AtomicRedisModel
from rapyer.errors import CorruptDocument, KeyNotFound, PathNotFound, UsageError
from rapyer.types import RedisInt, RedisList


class Point(AtomicRedisModel):
    """A leaf model."""

    x: int = 0
    tags: list[str] = []


class Team(AtomicRedisModel):
    """A model with models."""

    lead: Point = Point()
    members: list[Point] = []


class World(AtomicRedisModel):
    """Everything nested in everything."""

    name: str = "w"
    score: int = 0
    team: Team = Team()
    teams: dict[str, Team] = {}
    grid: list[list[int]] = []
    named: dict[str, dict[str, int]] = {}


def world():
    """Return a full one."""
    return World(
        team=Team(lead=Point(tags=["t"]), members=[Point(), Point(x=1)]),
        teams={"a": Team(members=[Point(x=5)])},
        grid=[[1, 2], [3]],
        named={"k": {"n": 1}},
    )


PATHS = [
    (lambda w: w.name, "name", ".name"),
    (lambda w: w.team, "team", ".team"),
    (lambda w: w.team.lead, "lead", ".team.lead"),
    (lambda w: w.team.lead.x, "x", ".team.lead.x"),
    (lambda w: w.team.lead.tags, "tags", ".team.lead.tags"),
    (lambda w: w.team.lead.tags[0], "0", ".team.lead.tags[0]"),
    (lambda w: w.team.members[1], "1", ".team.members[1]"),
    (lambda w: w.team.members[-1].x, "x", ".team.members[1].x"),
    (lambda w: w.team.members[0:2][1].x, "x", ".team.members[1].x"),
    (lambda w: next(iter(w.team.members)).x, "x", ".team.members[0].x"),
    (lambda w: next(reversed(w.team.members)).x, "x", ".team.members[1].x"),
    (lambda w: w.teams["a"].members[0].x, "x", ".teams.a.members[0].x"),
    (lambda w: w.teams.get("a").lead, "lead", ".teams.a.lead"),
    (lambda w: next(iter(w.teams.values())).lead.x, "x", ".teams.a.lead.x"),
    (lambda w: next(iter(w.teams.items()))[1].lead.x, "x", ".teams.a.lead.x"),
    (lambda w: w.grid[0], "0", ".grid[0]"),
    (lambda w: w.grid[1][0], "0", ".grid[1][0]"),
    (lambda w: w.named["k"]["n"], "n", ".named.k.n"),
]


@pytest.mark.parametrize(("take", "name", "path"), PATHS, ids=[case[2] for case in PATHS])
def test_places(take, name, path):
    """The name is the value's own, the path comes from the root, the key is the root's."""
    root = world()
    value = take(root)
    assert value.key == root.key
    assert (value.field_name, value.field_path, value.json_path) == (name, path, f"${path}")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a_1", "$.named.a_1"),
        ("a.b", '$.named["a.b"]'),
        ("two words", '$.named["two words"]'),
        ("1", '$.named["1"]'),
        ("", '$.named[""]'),
        ('say "x"', "$.named['say \"x\"']"),
        ("it's", '$.named["it\'s"]'),
        ("é", '$.named["é"]'),
        ("*", '$.named["*"]'),
        ("$", '$.named["$"]'),
    ],
)
async def test_quoted_names(bound, client, name, path):
    """A name that is no identifier is quoted so that Redis reads the same path."""
    root = await World(named={name: {"n": 7}}).save()
    assert root.named[name].json_path == path
    assert await client.execute_command("JSON.GET", root.key, root.named[name]["n"].json_path) == b"[7]"


async def test_elements_follow_their_place(bound, stored):
    """An element that moved has the path of where it is now, and writes go there."""
    root = await world().save()
    first, tags = root.team.members[0], root.team.lead.tags
    tag = tags[0]
    await root.team.members.ainsert(0, Point(x=9))
    assert first.json_path == "$.team.members[1]"
    await tags.ainsert(0, "new")
    assert tag.json_path == "$.team.lead.tags[1]"
    assert await first.x.increase(100) == 100
    assert [member["x"] for member in await stored(root.key, "$.team.members")] == [9, 100, 1]
    root.team.members.reverse()
    assert first.json_path == "$.team.members[1]"
    root.team.members.insert(0, Point())
    assert first.x.json_path == "$.team.members[2].x"


async def test_detached_values(bound):
    """What has left its list or dict, or never was in one, has no place."""
    root = await world().save()
    member, team = root.team.members[0], root.teams["a"]
    root.team.members.pop(0)
    del root.teams["a"]
    for value in (member, team, RedisInt(1), RedisList([1])):
        with pytest.raises(UsageError):
            _ = value.json_path
    with pytest.raises(UsageError):
        await RedisInt(1).increase()
    with pytest.raises(UsageError):
        await RedisList([1]).aappend(2)
    with pytest.raises(UsageError):
        await member.x.increase()


@pytest.mark.parametrize("touched", [False, True])
async def test_popped_values_are_plain(bound, touched):
    """What a pop returns belongs to no document: it may be changed, and put in again, also inside a block."""
    root = await world().save()
    if touched:
        assert (root.team.members[0].x.key, root.grid[0].key, root.named["k"].key) == (root.key,) * 3
    async with root.pipeline():
        member, row, named = root.team.members.pop(0), root.grid.pop(0), root.named.pop("k")
        awaited = await root.team.members.apop()
        member.x += 100
        awaited.tags.append("y")
        row.append(5)
        named["m"] = 6
        assert (member.is_inner_model(), type(row), type(named)) == (False, list, dict)
        root.team.members.append(member)
    assert (row, named, awaited.tags) == ([1, 2, 5], {"n": 1, "m": 6}, ["y"])
    assert root == await World.get(root.key)
    assert (root.team.members, root.grid, root.named) == ([Point(x=100)], [[3]], {})


async def test_detached_containers_are_python(bound):
    """A Redis list or dict of one's own works as Python's does."""
    values = RedisList([3, 1])
    values.append("a")
    values += [None]
    assert values == [3, 1, "a", None]


async def test_a_model_in_two_places(bound, stored):
    """A model put into several places is a copy in each once it was touched there: changing one leaves the others."""
    point = Point(x=1)
    one, other = await Team(lead=point, members=[point, point]).save(), await Team(lead=point).save()
    assert [one.lead.x, *(member.x for member in one.members), other.lead.x] == [1, 1, 1, 1]
    await one.lead.x.increase()
    await one.members[1].x.increase(5)
    assert [one.lead.x, one.members[0].x, one.members[1].x, other.lead.x] == [2, 1, 6, 1]
    assert one.members[0].json_path == "$.members[0]"
    assert one.members[1].json_path == "$.members[1]"
    assert await stored(one.key) == one.model_dump()
    assert await stored(other.key) == other.model_dump()


async def test_a_saved_document_inside_another(bound, stored):
    """A document with a key of its own keeps it when it is put into another."""
    point = await Point(x=1).save()
    team = await Team(lead=point).save()
    assert team.lead.key == team.key
    assert point.key.startswith("Point:")
    await point.x.increase()
    assert (await stored(point.key, "$.x"), await stored(team.key, "$.lead.x")) == (2, 1)


async def test_save_one_value(bound, stored, write):
    """Saving a value writes its place and nothing else."""
    root = await world().save()
    await write(root.key, "$.score", 50)
    root.name = "new"
    assert await root.name.save() == "new"
    root.team.lead.tags.append("u")
    await root.team.lead.tags.save()
    root.teams["a"].members[0].x = 6
    await root.teams["a"].members[0].save()
    root.named["k"]["n"] = 2
    await root.named["k"]["n"].save()
    assert await stored(root.key) == {
        "name": "new",
        "score": 50,
        "team": {"lead": {"x": 0, "tags": ["t", "u"]}, "members": [{"x": 0, "tags": []}, {"x": 1, "tags": []}]},
        "teams": {"a": {"lead": {"x": 0, "tags": []}, "members": [{"x": 6, "tags": []}]}},
        "grid": [[1, 2], [3]],
        "named": {"k": {"n": 2}},
    }


async def test_load_one_value(bound, write):
    """Loading a value gives what Redis holds and puts it into the model; nothing else changes."""
    root = await world().save()
    root.score = 7
    await write(root.key, "$.name", "theirs")
    assert await root.name.load() == "theirs"
    assert (root.name, root.score) == ("theirs", 7)
    await write(root.key, "$.team.members[1].x", 70)
    assert await root.team.members[1].x.load() == 70
    await write(root.key, "$.grid[0]", [8, 9])
    assert await root.grid[0].load() == [8, 9]
    await write(root.key, "$.team.lead", {"x": 3, "tags": []})
    assert (await root.team.lead.load()).x == 3
    await write(root.key, "$.named.k.n", 44)
    assert await root.named["k"]["n"].load() == 44
    assert (root.team.members[1].x, root.grid, root.team.lead.x, root.named) == (70, [[8, 9], [3]], 3, {"k": {"n": 44}})


async def test_loading_what_is_gone(bound, write, client):
    """A part that is gone is PathNotFound, a document KeyNotFound, nonsense CorruptDocument; nothing local changes."""
    root = await world().save()
    await write(root.key, "$.score", "text")
    with pytest.raises(CorruptDocument):
        await root.score.load()
    await client.execute_command("JSON.DEL", root.key, "$.teams.a")
    for part in (root.teams["a"], root.teams["a"].lead, root.teams["a"].members):
        with pytest.raises(PathNotFound):
            await part.load()
        with pytest.raises(PathNotFound):
            await part.members.aappend(Point()) if isinstance(part, Team) else await part.save()
    await client.delete(root.key)
    for part in (root.name, root.team, root.grid[0]):
        with pytest.raises(KeyNotFound):
            await part.load()
        with pytest.raises(KeyNotFound):
            await part.save()
    assert root == world()
    assert not await client.exists(root.key)


async def test_variables_stay_live(bound, write):
    """A variable on a list, a dict or a nested model is the one in the model after load, assignment and operations."""
    root = await world().save()
    team, members, grid, named = root.team, root.team.members, root.grid, root.named["k"]
    await write(root.key, "$.team.members", [{"x": 4, "tags": []}])
    await write(root.key, "$.grid", [[7]])
    await write(root.key, "$.named.k", {"m": 2})
    await root.load()
    assert (team.members[0].x, members[0].x, grid, named) == (4, 4, [[7]], {"m": 2})
    assert members is root.team.members
    assert await members[0].x.increase() == 5
    assert root.team.members[0].x == 5
    await grid.aappend([1])
    assert root.grid == [[7], [1]]


@pytest.mark.parametrize(
    "copier", [copy.copy, copy.deepcopy, lambda m: m.model_copy(), lambda m: m.model_copy(deep=True)]
)
async def test_copies_of_nested_models_are_detached(bound, copier, stored):
    """A copy of a nested model has no place: changing it changes nothing in its document."""
    root = await world().save()
    twin = copier(root.team.lead)
    assert not twin.is_inner_model()
    twin.x = 99
    assert root.team.lead.x == 0
    await twin.save()
    assert twin.key.startswith("Point:")
    assert await stored(root.key, "$.team.lead.x") == 0
