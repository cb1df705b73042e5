"""Walking keys: SCAN on every primary, never KEYS, documents only, each key once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rapyer import _keys, _session
from rapyer._dispatch import FAILURES, Where
from rapyer._loops import dispatcher
from rapyer._trip import elsewhere
from rapyer.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from rapyer._dispatch import Dispatcher

#: How many keys the server looks at per call: bounds how long it is busy at a time.
SCAN_COUNT = 1000
#: How many documents are read per script call.
LOAD_BATCH = 100
#: How often a cluster is walked while slots move: a key may have gone to a node that was walked before.
MOST_WALKS = 10
#: Seconds before the next walk, longer each time.
PAUSE = 0.05
#: The places of the words in a line of CLUSTER NODES; of a node without slots it ends before them.
ID, FLAGS, SLOTS = 0, 2, 8


async def find_keys(client: Any, prefix: str, belongs: Callable[[str], bool]) -> AsyncIterator[str]:
    """Yield the key of every document with this prefix that was there during the whole walk.

    One round trip for each thousand keys of the database and, where there are more or it is a cluster, three more for
    each primary; and all again while slots move, a primary of a cluster does not answer, or another process has taken a
    server's place.
    """
    caller = dispatcher(client)
    seen: set[str] = set()
    async for key in _walk_until_still(caller, prefix):
        if key not in seen and belongs(key):
            seen.add(key)
            yield key


async def _walk_until_still(caller: Dispatcher, prefix: str) -> AsyncIterator[str]:
    """Walk until all was served by the same servers; where a cluster's node fails, for as long as a call is sent on."""
    if not caller.clustered:
        [node] = await caller.primaries()
        cursor, page = await _page(caller, prefix, node, b"0")
        for key in _texts(page):
            yield key
        if cursor == b"0":
            return  # all of it at once
    trip = caller.trip()
    walks = 0
    while walks < MOST_WALKS:
        try:
            before = await _owners(caller)
            async for key in _walk(caller, prefix):
                yield key
            if before and before == await _owners(caller):
                return
        except FAILURES as error:
            if not (caller.clustered and elsewhere(error)):
                raise
            trip.turn(error)
            await trip.pause()
        else:
            await asyncio.sleep(PAUSE * walks)
            walks += 1


async def _walk(caller: Dispatcher, prefix: str) -> AsyncIterator[str]:
    for node in await caller.primaries():
        cursor = b"0"
        while True:
            cursor, page = await _page(caller, prefix, node, cursor)
            for key in _texts(page):
                yield key
            if cursor == b"0":
                break


async def _page(caller: Dispatcher, prefix: str, node: Any, cursor: bytes) -> Any:
    words = ("MATCH", _keys.pattern(prefix), "COUNT", str(SCAN_COUNT), "TYPE", "ReJSON-RL")
    return await caller.command("SCAN", cursor, *words, at=node)


def _texts(page: Sequence[bytes]) -> Iterator[str]:
    """Yield the keys that are text; others, which only another program can have made, are no model's."""
    for raw in page:
        with suppress(UnicodeDecodeError):
            yield raw.decode()


async def _owners(caller: Dispatcher) -> dict[str, bytes] | None:
    """Return who serves: the names of a cluster's primaries with their slots, or of one server which process it is.

    None where it is on its way: a slot moves, or the primaries of a cluster do not all say the same of each other. They
    need not be those that were asked: what a node lost a moment ago, another has that nobody was told of yet.
    """
    nodes = await caller.primaries()
    if not caller.clustered:
        return {node.name: await _process(caller, node) for node in nodes}  # what a cursor means only it knows
    asked = set()
    views = []
    for node in nodes:
        try:
            told = await caller.command("CLUSTER", "NODES", at=node)
        except ServerError:
            return None
        lines = [line.split() for line in told.splitlines()]
        asked.add(next(words[ID].decode() for words in lines if b"myself" in words[FLAGS]))
        views.append({words[ID].decode(): b" ".join(words[SLOTS:]) for words in lines if words[SLOTS:]})
    [owners, *others] = views
    still = owners.keys() == asked and all(view == owners for view in others) and b"[" not in b"".join(owners.values())
    return owners if still else None


async def _process(caller: Dispatcher, node: Any) -> bytes:
    try:
        told: bytes = await caller.command("INFO", "server", at=node)
    except ServerError:
        return b""  # who may not ask, has it as it comes
    return next((line for line in told.splitlines() if line.startswith(b"run_id:")), b"")


async def load_many(client: Any, keys: Sequence[str], config: Any) -> list[tuple[str, bytes]]:
    """Return keys and JSON texts of the documents that are still there.

    1 round trip, script `document.load_many` or `document.load_many_refresh`; on a cluster one script for each slot, at
    the same time.
    """
    caller = dispatcher(client)
    ttl = _session.read_ttl(config)
    groups = _keys.by_slot(keys) if caller.clustered else [keys]
    script, arguments = ("document.load_many_refresh", (ttl,)) if ttl else ("document.load_many", ())
    calls = (caller.script(script, group, arguments, _place(group)) for group in groups)
    loaded = await asyncio.gather(*calls)
    return [
        (key, text)
        for group, texts in zip(groups, loaded, strict=True)
        for key, text in zip(group, texts, strict=True)
        if text
    ]


def _place(keys: Sequence[str]) -> Callable[[int], Where]:
    return lambda index: Where(keys[index])
