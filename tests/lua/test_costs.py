"""What many operations of one kind in one call cost the server: in proportion, whatever the kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lua_server import BACKUP, DOCUMENT, WORK, Change, Documented, batch
from pydantic_core import to_json

from rapyer._ops import Operation, writable

if TYPE_CHECKING:
    from collections.abc import Callable

    from lua_server import Server

FEW, MANY = 500, 4000


def spliced(operation: Operation) -> Change:
    """Return a change below a name that RedisJSON cannot write to."""
    ready = writable(operation)
    return Change(ready.script, ready.flat(), dependent=True)


def number(script: str, *arguments: str) -> Callable[[int], Change]:
    """Return what makes a change of the number."""
    return lambda _: Change(script, ("$.n", *arguments), dependent=True)


EACH: dict[str, Callable[[int], Change]] = {
    "number.increase": number("number.increase", "1"),
    "number.multiply": number("number.multiply", "1"),
    "map.set_item": lambda i: Change("map.set_item", ("$.d", f"$.d.k{i}", "1", "0"), dependent=True),
    "list.extend": lambda i: Change("list.extend", ("$.l", "1", str(i), "0"), dependent=True),
    "list.set_item": lambda i: Change("list.set_item", ("$.full", str(i), "1", "0"), dependent=True),
    "list.pop": lambda _: Change("list.pop", ("$.full", "-1", "refuse"), dependent=True),
    "list.remove": lambda i: Change("list.remove", ("$.full", f"{i}.5", "0"), dependent=True),
    "list.insert": lambda i: Change("list.insert", ("$.full", "0", str(i), "0"), dependent=True),
    "set.discard": lambda i: Change("set.discard", ("$.full", "1", f"{i}.5"), dependent=True),
    "map.pop": lambda i: Change("map.pop", ("$.even", f"$.even.k{i}"), dependent=True),
    "spliced set": lambda i: spliced(Operation("map.set_item", ("d",), (str(i), "0"), f"\\{i}")),
    "spliced object": lambda i: spliced(Operation("map.set_item", ("d",), ('{"a":[0.1]}', "0"), f"\\{i}")),
    "spliced null": lambda i: spliced(Operation("map.set_item", ("d",), ('{"a":null,"b":0.1}', "0"), f"\\{i}")),
    "spliced space": lambda i: spliced(Operation("map.set_item", ("d",), (str(i), "0"), f" {i}")),
    "spliced increase": lambda i: spliced(Operation("number.increase", ("odd", f"\\{i}"), ("1",))),
    "spliced pop": lambda i: spliced(Operation("map.pop", ("odd",), (), f"\\{i}")),
}


def cost(server: Server, changes: list[Change], size: int) -> tuple[int, int]:
    """Return how many commands one call runs on a document of this size, and how many microseconds it takes."""
    parts = {
        "n": 1,
        "d": {},
        "l": [],
        "full": [i + 0.5 for i in range(size)],
        "even": {f"k{i}": i for i in range(size)},
        "odd": {f"\\{i}": i for i in range(size)},
    }
    server.put(to_json(parts))
    keys, arguments = batch(changes, Documented(own=(BACKUP, *WORK)))
    server.redis.config_resetstat()
    server.call("batch.apply", keys, arguments)
    stats = server.redis.info("commandstats")
    assert list(server.state()) == [DOCUMENT.encode()]
    return sum(stat["calls"] for stat in stats.values()), stats["cmdstat_evalsha"]["usec"]


@pytest.mark.parametrize("kind", EACH)
def test_each_operation_costs_the_same_however_many_there_are(server: Server, kind: str) -> None:
    """The same number of commands for each, and about the same time: looking through an array of more takes longer."""
    few, many = ([cost(server, [EACH[kind](i) for i in range(size)], size) for _ in range(3)] for size in (FEW, MANY))
    assert many[0][0] / MANY <= few[0][0] / FEW * 1.05
    assert min(time for _, time in many) / MANY <= min(time for _, time in few) / FEW * 3 + 40


@pytest.mark.parametrize("text", ["{}", "{}.5", '"{}"', "[{},0.1]", "9{}.123456789012"])
def test_a_set_of_thousands_is_read_once(server: Server, text: str) -> None:
    """Adding, discarding and keeping many elements of a set of many is one look at it, and few writes."""
    texts = [text.replace("{}", str(i)) for i in range(MANY)]
    server.put('{"s":[]}')
    server.redis.config_resetstat()
    add = ["$.s", str(MANY), *(part for one in texts for part in (one, one, "0"))]
    server.operate("set.add", *add)
    server.operate("set.add", *add)
    server.operate("set.keep", "$.s", str(MANY - 2), *texts[1:-1])
    assert server.operate("set.discard", "$.s", str(MANY - 1), *texts[1:]) == [b"[]", None]
    stats = server.redis.info("commandstats")
    assert sum(stat["calls"] for name, stat in stats.items() if name != "cmdstat_json.del") < 50


def test_dependent_changes_of_many_documents_cost_the_same_for_each(server: Server) -> None:
    """What is written before a dependent one is what waits for it, not a look at every document."""
    costs = []
    for count in (FEW, MANY):
        server.redis.flushdb()
        server.empty()
        keys = [f"{{User:1}}{index}" for index in range(count)]
        for key in keys:
            server.redis.execute_command("JSON.SET", key, "$", '{"n":1}')
        changes = [
            Change(script, ("$.n", "2"), dependent=dependent, document=index + 1)
            for index in range(count)
            for script, dependent in (("number.increase", False), ("number.multiply", True))
        ]
        call = batch(changes, *(Documented(key, own=(key + "backup",)) for key in keys))
        server.redis.config_resetstat()
        server.call("batch.apply", *call)
        costs.append(server.redis.info("commandstats")["cmdstat_evalsha"]["usec"] / count)
        assert {server.text(key) for key in keys} == {'{"n":6}'}
        assert server.redis.dbsize() == count
    assert costs[1] <= costs[0] * 3 + 40
