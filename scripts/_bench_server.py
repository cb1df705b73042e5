"""What each script costs the server: microseconds a call, by `INFO commandstats`."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from rapyer import _keys
from rapyer._registry import scripts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

KEY = "Server:1"
TEXT = (
    '{"n":7,"x":0.5,"s":"abc","b":"YWJj","at":"2024-02-29T12:00:00Z","l":["a","b","c"],"o":{"a":1,"b":2},"m":["a","b"]}'
)
ROUNDS = 5
CALLS = 500
#: After ttl and locks: path, and what the operation takes.
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "bytes.append": ("$.b", "abc"),
    "document.delete": ("$",),
    "document.save": ("$", TEXT, "0"),
    "document.update": ("$", "2", "$.n", "8", "0", "$.s", '"x"', "0"),
    "list.extend": ("$.l", "1", '"d"', "0"),
    "list.insert": ("$.l", "0", '"d"', "0"),
    "list.pop": ("$.l", "-1", "none"),
    "list.remove": ("$.l", '"b"', "0"),
    "list.set_item": ("$.l", "1", '"d"', "0"),
    "map.delete_item": ("$.o", "$.o.a"),
    "map.pop": ("$.o", "$.o.a"),
    "map.pop_item": ("$.o",),
    "map.set_item": ("$.o", "$.o.c", "3", "0"),
    "map.update": ("$.o", "2", "$.o.c", "3", "0", "$.o.d", "4", "0"),
    "moment.add": ("$.at", "1", "0", "0"),
    "number.decrease": ("$.n", "1"),
    "number.decrease_double": ("$.x", "1.0"),
    "number.divide_double": ("$.x", "3.0"),
    "number.floor_divide": ("$.n", "2"),
    "number.increase": ("$.n", "1"),
    "number.increase_double": ("$.x", "1.0"),
    "number.modulo": ("$.n", "2"),
    "number.multiply": ("$.n", "3"),
    "number.multiply_double": ("$.x", "3.0"),
    "number.power": ("$.n", "3"),
    "set.add": ("$.m", "1", '"c"', '"c"', "0"),
    "set.discard": ("$.m", "1", '"b"'),
    "set.keep": ("$.m", "1", '"b"'),
    "set.pop": ("$.m",),
    "set.remove": ("$.m", '"b"'),
    "text.append": ("$.s", '"d"'),
    "value.clear": ("$.l", "array", "[]"),
    "value.set": ("$", "$.n", "8", "0"),
}
#: What others take.
OTHERS: Mapping[str, tuple[str, ...]] = {
    "document.load": (),
    "document.load_refresh": ("60000",),
    "value.load": ("$.l",),
    "value.load_refresh": ("$.l", "60000"),
    "document.load_many": (),
    "document.load_many_refresh": ("",),
    "number.increase_each": ("", "$.n", "1 2 3"),
}
_THREE = ("number.increase", "$.n", "1", "map.set_item", "$.o", "$.o.a", "3", "0", "value.set", "$", "$.s", '"x"', "0")
BATCH = ("1", "", "3", *_THREE, "0")


LOCK, QUEUE = _keys.lock_key(KEY, "default"), _keys.queue_key(KEY, "default")
_HELD = ("HSET", LOCK, "owner", "token", "fence", "7", "info", "")
_NOBODY = ("channel",)  # to hand the lock to
#: Keys, what the script takes, and whether the lock is held before.
LOCKS: Mapping[str, tuple[list[str], tuple[str, ...], bool]] = {
    "lock.acquire": ([KEY, LOCK, QUEUE], ("token", "30000", "", "", "channel", ""), False),
    "lock.note": ([LOCK], ("channel", "3"), True),
    "lock.release": ([KEY, LOCK, QUEUE], ("token", "7", "", *_NOBODY), True),
    "lock.renew": ([LOCK], ("fence", "7", "30000"), True),
    "lock.save": ([KEY, LOCK, QUEUE], ("", "1", "7", "1", "value.set", "$", "$.n", "8", "0", *_NOBODY), True),
}


def calls() -> dict[str, tuple[list[str], Sequence[str]]]:
    """Return keys and arguments of a call of each script."""
    found: dict[str, tuple[list[str], Sequence[str]]] = {
        name: ([KEY], ("", "0", *arguments)) for name, arguments in OPERATIONS.items()
    }
    found |= {name: ([KEY], arguments) for name, arguments in OTHERS.items()}
    found |= {name: (keys, arguments) for name, (keys, arguments, _) in LOCKS.items()}
    found["batch.apply"] = ([KEY], BATCH)
    found["document.duplicate"] = ([f"Server:copy:{number}" for number in range(10)], ("", TEXT, "0", ""))
    return found


def before(name: str, keys: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the commands that make everything ready for a call: one document, and the lock held or free."""
    gone = [key for key in (*keys, LOCK) if key != KEY]
    held = [_HELD] if name in LOCKS and LOCKS[name][2] else []
    return [("JSON.SET", KEY, "$", TEXT), ("DEL", *gone), *held]


async def measure(client: Redis) -> list[dict[str, Any]]:
    """Return for each script the microseconds of a call: the median of some rounds."""
    known = scripts()
    results = []
    for name, (keys, arguments) in sorted(calls().items()):
        call = ("EVALSHA", known[name].sha, str(len(keys)), *keys, *arguments)
        times = [await _round(client, [*before(name, keys), call]) for _ in range(ROUNDS)]
        results.append({"script": name, "microseconds": statistics.median(times), "rounds": times})
    return results


async def _round(client: Any, commands: Sequence[Sequence[str]]) -> float:
    await client.config_resetstat()
    async with client.pipeline(transaction=False) as pipe:
        for _ in range(CALLS):
            for command in commands:
                pipe.execute_command(*command)
        await pipe.execute()
    found = await client.info("commandstats")
    return float(found["cmdstat_evalsha"]["usec_per_call"])
