"""Nothing is lost, whoever calls at the same time: every operation, awaited, in pipelines, with callers that die."""

import asyncio
import operator
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from rapyer import AtomicRedisModel

pytestmark = pytest.mark.usefixtures("bound")

CALLERS = 50
EACH = range(CALLERS)
START = datetime(2024, 2, 28, 23, 59, 59, 999_990, timezone(timedelta(hours=2)))


class Tally(AtomicRedisModel):
    """A field of each type."""

    number: int = 0
    double: float = 0.0
    text: str = ""
    data: bytes = b""
    moment: datetime = START
    items: list[int] = []
    table: dict[str, int] = {}
    members: set[int] = set()
    other: int = 0


async def together(*calls):
    """Await all at once and return what they return."""
    return await asyncio.gather(*calls)


async def own_instances(tally):
    """Give each caller an instance of its own."""
    return await together(*(Tally.get(tally.key) for _ in EACH))


async def truth(tally):
    """Give the document as Redis holds it."""
    return await Tally.get(tally.key)


def names(numbers=EACH):
    """Give a dict with an entry for each caller."""
    return {str(i): i for i in numbers}


def chunks(value, width):
    """Cut what many appended into what each appended, sorted."""
    return sorted(value[i : i + width] for i in range(0, len(value), width))


# -- awaited ---------------------------------------------------------------------------------------------------------

#: name, what the field starts with, what caller i does, whether the field and the answers are right in the end
AWAITED = [
    ("number", "increase", 0, lambda v, i: v.increase(), lambda v, r: v == 50 and sorted(r) == list(range(1, 51))),
    (
        "number",
        "increase-large",
        2**62,
        lambda v, i: v.increase(2**53 + i),
        lambda v, r: v == 2**62 + 50 * 2**53 + 1225,
    ),
    ("number", "decrease", 0, lambda v, i: v.increase(-i), lambda v, r: v == -1225),
    ("double", "increase", 0.0, lambda v, i: v.increase(0.5), lambda v, r: v == 25.0 and len(set(r)) == 50),
    ("text", "aappend", "", lambda v, i: v.aappend(f"{i:02}"), lambda v, r: chunks(v, 2) == [f"{i:02}" for i in EACH]),
    (
        "moment",
        "aadd",
        START,
        lambda v, i: v.aadd(timedelta(microseconds=i)),
        lambda v, r: v == START + timedelta(0, 0, 1225),
    ),
    ("items", "aappend", [], lambda v, i: v.aappend(i), lambda v, r: sorted(v) == list(EACH)),
    (
        "items",
        "aextend",
        [],
        lambda v, i: v.aextend([i, i + 50]),
        lambda v, r: sorted(zip(v[::2], v[1::2], strict=True)) == [(i, i + 50) for i in EACH],
    ),
    ("items", "ainsert", [-1], lambda v, i: v.ainsert(0, i), lambda v, r: sorted(v) == [-1, *EACH] and v[-1] == -1),
    ("items", "apop", list(EACH), lambda v, i: v.apop(), lambda v, r: v == [] and sorted(r) == list(EACH)),
    ("items", "apop-first", list(EACH), lambda v, i: v.apop(0), lambda v, r: v == [] and sorted(r) == list(EACH)),
    (
        "items",
        "apop-too-many",
        [1, 2],
        lambda v, i: v.apop(),
        lambda v, r: v == [] and Counter(r) == {1: 1, 2: 1, None: 48},
    ),
    ("items", "aremove", [7] * 60, lambda v, i: v.aremove(7), lambda v, r: v == [7] * 10),
    ("items", "aset_item", [-1] * 50, lambda v, i: v.aset_item(i, i), lambda v, r: v == list(EACH)),
    ("items", "aclear", [1], lambda v, i: v.aclear(), lambda v, r: v == []),
    ("table", "aset_item", {}, lambda v, i: v.aset_item(str(i), i), lambda v, r: v == names()),
    ("table", "adel_item", names(range(60)), lambda v, i: v.adel_item(str(i)), lambda v, r: v == names(range(50, 60))),
    (
        "table",
        "aupdate",
        {},
        lambda v, i: v.aupdate({str(i): i, str(i + 50): i + 50}),
        lambda v, r: v == names(range(100)),
    ),
    ("table", "apop", names(), lambda v, i: v.apop(str(i)), lambda v, r: v == {} and r == list(EACH)),
    (
        "table",
        "apop-one",
        {"a": 1},
        lambda v, i: v.apop("a", -1),
        lambda v, r: v == {} and Counter(r) == {1: 1, -1: 49},
    ),
    ("table", "apopitem", names(), lambda v, i: v.apopitem(), lambda v, r: v == {} and dict(r) == names()),
    ("table", "aclear", {"a": 1}, lambda v, i: v.aclear(), lambda v, r: v == {}),
    ("members", "aadd", set(), lambda v, i: v.aadd(i, i // 2), lambda v, r: v == set(EACH)),
    ("members", "adiscard", set(range(60)), lambda v, i: v.adiscard(i, i // 2), lambda v, r: v == set(range(50, 60))),
    ("members", "aremove", set(range(60)), lambda v, i: v.aremove(i), lambda v, r: v == set(range(50, 60))),
    ("members", "apop", set(EACH), lambda v, i: v.apop(), lambda v, r: v == set() and sorted(r) == list(EACH)),
    ("members", "aclear", {1}, lambda v, i: v.aclear(), lambda v, r: v == set()),
]
awaited = pytest.mark.parametrize(
    ("field", "start", "call", "right"),
    [pytest.param(field, *rest, id=f"{field}-{name}") for field, name, *rest in AWAITED],
)


@awaited
async def test_awaited_by_clients(field, start, call, right):
    """Fifty clients with an instance each: every call counts once."""
    tally = await Tally(**{field: start}).save()
    clients = await own_instances(tally)
    replies = await together(*(call(getattr(client, field), i) for i, client in enumerate(clients)))
    assert right(getattr(await truth(tally), field), replies)


@awaited
async def test_awaited_on_one_instance(field, start, call, right):
    """Fifty tasks with one instance: every call counts once, and the instance holds what Redis holds."""
    tally = await Tally(**{field: start}).save()
    replies = await together(*(call(getattr(tally, field), i) for i in EACH))
    assert right(getattr(tally, field), replies)
    assert right(getattr(await truth(tally), field), replies)


async def test_one_element_for_one_remover():
    """Only one of many finds what there is once; the others are told, and nothing else goes."""
    tally = await Tally(items=[1, 2], table={"a": 1, "b": 2}, members={1, 2}).save()
    clients = await own_instances(tally)
    for call, error in (
        (lambda client: client.items.aremove(1), ValueError),
        (lambda client: client.table.adel_item("a"), KeyError),
        (lambda client: client.members.aremove(1), KeyError),
    ):
        replies = await asyncio.gather(*map(call, clients), return_exceptions=True)
        assert Counter(map(type, replies))[error] == CALLERS - 1
    now = await truth(tally)
    assert (now.items, now.table, now.members) == ([2], {"b": 2}, {2})


async def test_the_last_room_for_one():
    """A limit lets exactly those through that fit; the others are refused and change nothing."""
    tally = await Tally(number=2**63 - 11).save()
    clients = await own_instances(tally)
    replies = await asyncio.gather(*(client.number.increase() for client in clients), return_exceptions=True)
    assert sum(isinstance(reply, int) for reply in replies) == 10
    assert (await truth(tally)).number == 2**63 - 1


async def test_aupdate_of_different_fields():
    """Clients that update different fields never undo each other."""
    tally = await Tally().save()
    clients = await own_instances(tally)
    changes = [{"number": 1}, {"double": 2.5}, {"text": "x"}, {"items": [3]}, {"other": 9}]
    await together(*(client.aupdate(**changes[i % 5]) for i, client in enumerate(clients)))
    now = await truth(tally)
    assert (now.number, now.double, now.text, now.items, now.other) == (1, 2.5, "x", [3], 9)


async def test_saves_are_whole():
    """Of many saves the last wins as a whole: never a mixture."""
    tally = await Tally().save()
    clients = await own_instances(tally)
    for i, client in enumerate(clients):
        client.number, client.items, client.other = i, [i], i
    await together(*(client.save() for client in clients))
    now = await truth(tally)
    assert now.items == [now.number]
    assert now.other == now.number


async def test_many_documents():
    """Calls on many documents at once do not get mixed up."""
    tallies = [await Tally(number=1000 * i).save() for i in EACH]
    replies = await together(*(tally.number.increase(i) for i, tally in enumerate(tallies)))
    assert replies == [1001 * i for i in EACH]
    assert [(await truth(tally)).number for tally in tallies] == replies


# -- pipelines -------------------------------------------------------------------------------------------------------


def setter(field, change):
    """Give what does `model.field = change(model.field)`, as an in-place operator does."""

    def apply(model, i):
        setattr(model, field, change(getattr(model, field), i))

    return apply


#: field, name, what it starts with, what caller i's block does, whether the field is right in the end
BLOCKS = [
    ("number", "+=", 0, setter("number", operator.iadd), lambda v: v == 1225),
    ("number", "-=", 0, setter("number", operator.isub), lambda v: v == -1225),
    ("number", "*=", 1, setter("number", lambda v, i: operator.imul(v, 2)), lambda v: v == 2**50),
    ("number", "//=", -(2**60), setter("number", lambda v, i: operator.ifloordiv(v, 2)), lambda v: v == -(2**10)),
    ("number", "%=", 2**60 + 3, setter("number", lambda v, i: operator.imod(v, 2 ** (i + 2))), lambda v: v == 3),
    ("number", "**=", 2, setter("number", lambda v, i: operator.ipow(v, 2 if i < 5 else 1)), lambda v: v == 2**32),
    ("double", "+=", 0.0, setter("double", lambda v, i: operator.iadd(v, 0.25)), lambda v: v == 12.5),
    ("double", "-=", 0.0, setter("double", lambda v, i: operator.isub(v, 0.25)), lambda v: v == -12.5),
    ("double", "*=", 1.5, setter("double", lambda v, i: operator.imul(v, 2)), lambda v: v == 1.5 * 2.0**50),
    ("double", "/=", 1.5, setter("double", lambda v, i: operator.itruediv(v, 2)), lambda v: v == 1.5 / 2.0**50),
    (
        "text",
        "+=",
        "",
        setter("text", lambda v, i: operator.iadd(v, f"{i:02}")),
        lambda v: chunks(v, 2) == [f"{i:02}" for i in EACH],
    ),
    (
        "data",
        "+=",
        b"",
        setter("data", lambda v, i: operator.iadd(v, b"%02d" % i)),
        lambda v: chunks(v, 2) == [b"%02d" % i for i in EACH],
    ),
    (
        "moment",
        "+=",
        START,
        setter("moment", lambda v, i: operator.iadd(v, timedelta(hours=i))),
        lambda v: v == START + timedelta(hours=1225),
    ),
    (
        "moment",
        "-=",
        START,
        setter("moment", lambda v, i: operator.isub(v, timedelta(hours=i))),
        lambda v: v == START - timedelta(hours=1225),
    ),
    ("items", "append", [], lambda m, i: m.items.append(i), lambda v: sorted(v) == list(EACH)),
    ("items", "extend", [], lambda m, i: m.items.extend([i, i + 50]), lambda v: sorted(v) == list(range(100))),
    ("items", "+=", [], setter("items", lambda v, i: operator.iadd(v, [i])), lambda v: sorted(v) == list(EACH)),
    ("items", "insert", [-1], lambda m, i: m.items.insert(0, i), lambda v: sorted(v) == [-1, *EACH] and v[-1] == -1),
    ("items", "pop", list(range(60)), lambda m, i: m.items.pop(), lambda v: v == list(range(10))),
    ("items", "del", list(range(60)), lambda m, i: m.items.__delitem__(0), lambda v: v == list(range(50, 60))),
    ("items", "remove", [7] * 60, lambda m, i: m.items.remove(7), lambda v: v == [7] * 10),
    ("items", "[]=", [-1] * 50, lambda m, i: m.items.__setitem__(i, i), lambda v: v == list(EACH)),
    (
        "items",
        "[]+=",
        [0] * 5,
        lambda m, i: m.items.__setitem__(i % 5, operator.iadd(m.items[i % 5], 1)),
        lambda v: v == [10] * 5,
    ),
    ("items", "clear", [1], lambda m, i: m.items.clear(), lambda v: v == []),
    ("table", "[]=", {}, lambda m, i: m.table.__setitem__(str(i), i), lambda v: v == names()),
    (
        "table",
        "[]+=",
        {"a": 0},
        lambda m, i: m.table.__setitem__("a", operator.iadd(m.table["a"], i)),
        lambda v: v == {"a": 1225},
    ),
    ("table", "update", {}, lambda m, i: m.table.update({str(i): i}), lambda v: v == names()),
    ("table", "|=", {}, setter("table", lambda v, i: operator.ior(v, {str(i): i})), lambda v: v == names()),
    ("table", "setdefault", {}, lambda m, i: m.table.setdefault(str(i), i), lambda v: v == names()),
    ("table", "pop", names(range(60)), lambda m, i: m.table.pop(str(i)), lambda v: v == names(range(50, 60))),
    ("table", "pop-default", {"a": 1, "b": 2}, lambda m, i: m.table.pop("a", None), lambda v: v == {"b": 2}),
    ("table", "del", names(range(60)), lambda m, i: m.table.__delitem__(str(i)), lambda v: v == names(range(50, 60))),
    ("table", "clear", {"a": 1}, lambda m, i: m.table.clear(), lambda v: v == {}),
    ("members", "add", set(), lambda m, i: m.members.add(i // 2), lambda v: v == set(range(25))),
    ("members", "update", set(), lambda m, i: m.members.update([i, i // 2]), lambda v: v == set(EACH)),
    ("members", "|=", set(), setter("members", lambda v, i: operator.ior(v, {i})), lambda v: v == set(EACH)),
    ("members", "discard", set(range(60)), lambda m, i: m.members.discard(i // 2), lambda v: v == set(range(25, 60))),
    (
        "members",
        "-=",
        set(range(60)),
        setter("members", lambda v, i: operator.isub(v, {i})),
        lambda v: v == set(range(50, 60)),
    ),
    ("members", "remove", set(range(60)), lambda m, i: m.members.remove(i), lambda v: v == set(range(50, 60))),
    (
        "members",
        "&=",
        set(range(60)),
        setter("members", lambda v, i: operator.iand(v, set(range(60)) - {i})),
        lambda v: v == set(range(50, 60)),
    ),
    ("members", "clear", {1}, lambda m, i: m.members.clear(), lambda v: v == set()),
]
blocks = pytest.mark.parametrize(
    ("field", "start", "change", "right"),
    [pytest.param(field, *rest, id=f"{field}-{name}") for field, name, *rest in BLOCKS],
)


async def _block(model, change, i):
    async with model.pipeline():
        change(model, i)
        await asyncio.sleep(0)
        model.other += 1


@blocks
async def test_pipelines_of_clients(field, start, change, right):
    """Fifty blocks at once, each with its own instance: every one counts, whole."""
    tally = await Tally(**{field: start}).save()
    clients = await own_instances(tally)
    await together(*(_block(client, change, i) for i, client in enumerate(clients)))
    now = await truth(tally)
    assert right(getattr(now, field))
    assert now.other == CALLERS


@pytest.mark.parametrize(
    ("field", "start", "change", "right"),
    [
        pytest.param(field, *rest, id=f"{field}-{name}")
        for field, name, *rest in BLOCKS
        # What these take is taken from the local value, which tasks that share it may see as another left it.
        if name not in {"pop", "del", "remove"}
    ],
)
async def test_pipelines_on_one_instance(field, start, change, right):
    """Fifty tasks with a block each on one instance: every one counts, and the instance holds what Redis holds."""
    tally = await Tally(**{field: start}).save()
    await together(*(_block(tally, change, i) for i in EACH))
    now = await truth(tally)
    assert right(getattr(now, field))
    assert now.other == CALLERS
    assert tally.model_dump() == now.model_dump()


async def test_blocks_and_awaited_calls_on_one_instance():
    """Awaited calls of other tasks are no part of a block, and both count."""
    tally = await Tally().save()
    calls = [tally.number.increase() for _ in EACH]
    await together(*(_block(tally, setter("number", lambda v, _: operator.iadd(v, 1)), i) for i in EACH), *calls)
    assert tally.number == (await truth(tally)).number == 2 * CALLERS


@pytest.mark.parametrize("read", [lambda number: number.load(), lambda number: number.increase(0)], ids=["load", "add"])
async def test_an_operator_counts_though_its_field_is_read_meanwhile(read):
    """What waits for its right side adds to what is in Redis by then, also when another task read the same number."""
    tally = await Tally(number=5).save()

    async def meanwhile():
        await read(tally.number)
        await (await truth(tally)).number.increase(100)
        return 1

    async with tally.pipeline():
        tally.number += await asyncio.create_task(meanwhile())
    assert (await truth(tally)).number == 106


async def test_a_set_pop_in_a_block_takes_the_element_it_gives():
    """The element that `pop` gave is the one removed; a block that lost the race is refused whole."""
    tally = await Tally(members=set(EACH)).save()
    clients = await own_instances(tally)
    given = []

    async def take(client):
        async with client.pipeline():
            element = client.members.pop()
            client.items.append(element)
            await asyncio.sleep(0)
        given.append(element)

    results = await asyncio.gather(*map(take, clients), return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), KeyError}
    now = await truth(tally)
    assert given
    assert sorted(given) == sorted(now.items)
    assert now.members == set(EACH) - set(given)


async def test_refused_blocks_leave_no_part():
    """Of blocks that cannot all succeed, those refused have done nothing, here and there."""
    tally = await Tally(table={"token": 1}).save()
    clients = await own_instances(tally)

    async def take(client):
        async with client.pipeline():
            client.number += 1
            client.items.append(1)
            del client.table["token"]
            await asyncio.sleep(0)

    results = await asyncio.gather(*map(take, clients), return_exceptions=True)
    assert Counter(map(type, results)) == {type(None): 1, KeyError: CALLERS - 1}
    now = await truth(tally)
    assert (now.number, now.items, now.table) == (1, [1], {})
    for client, result in zip(clients, results, strict=True):
        assert client.number == (1 if result is None else 0)


# -- callers that are cancelled --------------------------------------------------------------------------------------


async def _cancel_some(tasks, turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_calls(turns):
    """Callers cancelled at any moment take nothing from the others, and nobody gets another's answer."""
    tally = await Tally().save()
    clients = await own_instances(tally)
    tasks = [asyncio.ensure_future(client.number.increase()) for client in clients]
    results = await _cancel_some(tasks, turns)
    answers = [result for result in results if isinstance(result, int)]
    assert len(set(answers)) == len(answers) >= CALLERS - len(tasks[::3])
    assert all(isinstance(result, (int, asyncio.CancelledError)) for result in results)
    assert len(answers) <= (await truth(tally)).number <= CALLERS
    assert await tally.number.increase(0) == (await truth(tally)).number


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 12, 20])
async def test_cancelled_blocks(turns):
    """A cancelled block happened as a whole or not at all, and the others are not disturbed."""
    tally = await Tally().save()
    clients = await own_instances(tally)

    async def both(model, i):
        async with model.pipeline():
            model.number += 1
            model.items.append(i)
            await asyncio.sleep(0)
            model.members.add(i)

    tasks = [asyncio.ensure_future(both(client, i)) for i, client in enumerate(clients)]
    results = await _cancel_some(tasks, turns)
    done = {i for i, result in enumerate(results) if result is None}
    now = await truth(tally)
    assert set(EACH) - set(EACH[::3]) <= done <= now.members
    assert sorted(now.items) == sorted(now.members)
    assert now.number == len(now.items)
    for i, client in enumerate(clients):
        if i not in done:
            assert (client.number, client.items, client.members) == (0, [], set())


@pytest.mark.parametrize("turns", [0, 2, 5])
async def test_cancelled_while_scripts_are_loaded(bound, turns):
    """A caller that is cancelled while it loads a script does not take the script away from the others."""
    tally = await Tally().save()
    clients = await own_instances(tally)
    await bound.script_flush()
    tasks = [asyncio.ensure_future(client.items.aappend(i)) for i, client in enumerate(clients)]
    results = await _cancel_some(tasks, turns)
    kept = {i for i, result in enumerate(results) if not isinstance(result, BaseException)}
    now = await truth(tally)
    assert set(EACH) - set(EACH[::3]) <= kept <= set(now.items)
    assert len(set(now.items)) == len(now.items)
