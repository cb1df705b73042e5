"""Cases of `bench.py`: every awaited operation on a field, beside the nearest commands of redis-py.

Each operation meets a document of its own, so that lists do not grow. Ours answers with the new value, theirs need not.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from _bench_sides import PREPARED_AT_ONCE, Bare, Case, Ours
from rapyer import AtomicRedisModel
from rapyer.types import RedisDatetime, RedisDict, RedisFloat, RedisInt, RedisList, RedisSet, RedisStr

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Everything(AtomicRedisModel):
    """A field of every type that has operations."""

    count: RedisInt
    ratio: RedisFloat
    text: RedisStr
    at: RedisDatetime
    tags: RedisList[str]
    settings: RedisDict[str]
    marks: RedisSet[str]


TEXT = json.dumps(
    {
        "count": 1,
        "ratio": 0.5,
        "text": "abc",
        "at": "2024-02-29T12:00:00+00:00",
        "tags": ["a", "b", "c"],
        "settings": {"theme": "dark", "language": "en"},
        "marks": ["a", "b", "c"],
    }
)
LATER = json.dumps(datetime(2024, 3, 1, 12, tzinfo=timezone.utc).isoformat())


class BareOperation(Bare):
    """The nearest commands; in MULTI where there are several."""

    documents = "one for each operation"
    text = TEXT
    commands: ClassVar[tuple[tuple[str, ...], ...]]

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Do the operation once."""
        key = f"Bare:{number}"
        commands = [(name, key, *rest) for name, *rest in self.commands]
        if len(commands) == 1:
            await self.client.execute_command(*commands[0])
            return
        async with self.client.pipeline(transaction=True) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            await pipe.execute()


class OurOperation(Ours):
    """The awaited operation."""

    documents = "one for each operation"
    operation: ClassVar[Callable[[Any], Awaitable[Any]]]

    async def prepare(self, tasks: int, count: int) -> None:  # noqa: ARG002
        """Put a document for each operation into Redis."""
        original = Everything.model_validate_json(TEXT)
        self.models = []
        for start in range(0, count, PREPARED_AT_ONCE):
            self.models += await original.duplicate_many(min(PREPARED_AT_ONCE, count - start))

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Do the operation once."""
        await type(self).operation(self.models[number])


def _case(name: str, operation: Callable[[Everything], Awaitable[Any]], *commands: tuple[str, ...]) -> Case:
    words = " + ".join(command[0] for command in commands)
    bare = type("BareOne", (BareOperation,), {"commands": commands, "__doc__": f"{words}."})
    ours = type("OurOne", (OurOperation,), {"operation": staticmethod(operation), "__doc__": f"`{name}`."})
    return Case(name, {}, bare, ours, (1, 64))


CASES = (
    _case("int.increase", lambda m: m.count.increase(), ("JSON.NUMINCRBY", "$.count", "1")),
    _case("float.increase", lambda m: m.ratio.increase(), ("JSON.NUMINCRBY", "$.ratio", "1")),
    _case("str.aappend", lambda m: m.text.aappend("d"), ("JSON.STRAPPEND", "$.text", '"d"')),
    _case("datetime.aadd", lambda m: m.at.aadd(timedelta(days=1)), ("JSON.GET", "$.at"), ("JSON.SET", "$.at", LATER)),
    _case("list.aappend", lambda m: m.tags.aappend("d"), ("JSON.ARRAPPEND", "$.tags", '"d"')),
    _case("list.aextend", lambda m: m.tags.aextend(["d", "e"]), ("JSON.ARRAPPEND", "$.tags", '"d"', '"e"')),
    _case("list.ainsert", lambda m: m.tags.ainsert(0, "d"), ("JSON.ARRINSERT", "$.tags", "0", '"d"')),
    _case("list.apop", lambda m: m.tags.apop(), ("JSON.ARRPOP", "$.tags")),
    _case("list.aremove", lambda m: m.tags.aremove("b"), ("JSON.ARRINDEX", "$.tags", '"b"'), ("JSON.DEL", "$.tags[1]")),
    _case("list.aset_item", lambda m: m.tags.aset_item(1, "d"), ("JSON.SET", "$.tags[1]", '"d"')),
    _case("list.aclear", lambda m: m.tags.aclear(), ("JSON.CLEAR", "$.tags")),
    _case("dict.aset_item", lambda m: m.settings.aset_item("a", "b"), ("JSON.SET", "$.settings.a", '"b"')),
    _case("dict.adel_item", lambda m: m.settings.adel_item("theme"), ("JSON.DEL", "$.settings.theme")),
    _case(
        "dict.aupdate", lambda m: m.settings.aupdate(a="b", c="d"), ("JSON.MERGE", "$.settings", '{"a":"b","c":"d"}')
    ),
    _case(
        "dict.apop",
        lambda m: m.settings.apop("theme"),
        ("JSON.GET", "$.settings.theme"),
        ("JSON.DEL", "$.settings.theme"),
    ),
    _case(
        "dict.apopitem",
        lambda m: m.settings.apopitem(),
        ("JSON.OBJKEYS", "$.settings"),
        ("JSON.GET", "$.settings.language"),
        ("JSON.DEL", "$.settings.language"),
    ),
    _case("dict.aclear", lambda m: m.settings.aclear(), ("JSON.CLEAR", "$.settings")),
    _case(
        "set.aadd",
        lambda m: m.marks.aadd("d"),
        ("JSON.ARRINDEX", "$.marks", '"d"'),
        ("JSON.ARRAPPEND", "$.marks", '"d"'),
    ),
    _case(
        "set.adiscard", lambda m: m.marks.adiscard("b"), ("JSON.ARRINDEX", "$.marks", '"b"'), ("JSON.DEL", "$.marks[1]")
    ),
    _case(
        "set.aremove", lambda m: m.marks.aremove("b"), ("JSON.ARRINDEX", "$.marks", '"b"'), ("JSON.DEL", "$.marks[1]")
    ),
    _case("set.aclear", lambda m: m.marks.aclear(), ("JSON.CLEAR", "$.marks")),
    _case("set.apop", lambda m: m.marks.apop(), ("JSON.ARRPOP", "$.marks")),
    _case("value.save", lambda m: m.tags.save(), ("JSON.SET", "$.tags", '["a","b","c"]')),
    _case("value.load", lambda m: m.tags.load(), ("JSON.GET", "$.tags")),
)
