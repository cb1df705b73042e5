"""List the locks that are held: of what, by whom, for how long, and how many wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from rapyer import _keys
from rapyer._commands._client import opened
from rapyer._commands._format import table
from rapyer._loops import dispatcher
from rapyer._query import SCAN_COUNT
from rapyer._setup import check_node
from rapyer.errors import ServerError

if TYPE_CHECKING:
    import argparse

    from rapyer._dispatch import Dispatcher
    from rapyer._lane import Lane

#: How many locks are asked for at a time.
AT_ONCE = 500
#: What the fields of a lock start with in which processes note how many wait in them.
NOTE = b"waits:"
TITLES = ("document", "action", "host", "pid", "task", "age s", "lease s", "waiters")


class HeldLock(msgspec.Struct):
    """A lock as the server knows it; `age` and `lease` are in seconds."""

    document: str
    action: str
    host: str
    pid: str
    task: str
    age: float
    lease: float
    waiters: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("url", metavar="URL", help="the server: redis://localhost:6379, or redis+cluster://")


async def run(options: argparse.Namespace) -> str:
    """Return the table of locks."""
    async with opened(options.url) as client:
        caller = dispatcher(client)
        await asyncio.gather(*(check_node(caller, node) for node in await caller.primaries()))
        return shown_locks(await held_locks(client))


async def held_locks(client: Any, pattern: str = _keys.ANY_LOCK) -> list[HeldLock]:
    """Return the locks that are held and whose key fits the pattern, in the order of documents and actions.

    Walks the keys with SCAN, which stops nobody: one round trip for each thousand keys of the database, on a cluster
    of every primary. Locks in a slot that is on its way to another primary may be missing.
    """
    caller = dispatcher(client)
    found: list[HeldLock] = []
    for node in await caller.primaries():
        found += await _held_at(caller, node, pattern)
    return sorted(found, key=lambda lock: (lock.document, lock.action))


async def _held_at(caller: Dispatcher, node: Lane, pattern: str) -> list[HeldLock]:
    seconds, microseconds = await caller.command("TIME", at=node)
    now = int(seconds) + int(microseconds) / 1e6
    names = sorted(await _lock_names(caller, node, pattern))
    found: list[HeldLock] = []
    for start in range(0, len(names), AT_ONCE):
        looks = (_look(caller, node, name, now) for name in names[start : start + AT_ONCE])
        found += [lock for lock in await asyncio.gather(*looks) if lock is not None]
    return found


async def _lock_names(caller: Dispatcher, node: Lane, pattern: str) -> set[str]:
    found: set[str] = set()
    cursor = b"0"
    while True:
        words = ("SCAN", cursor, "MATCH", pattern, "COUNT", str(SCAN_COUNT), "TYPE", "hash")
        cursor, page = await caller.command(*words, at=node)
        found.update(name.decode(errors="replace") for name in page)
        if cursor == b"0":
            return found


async def _look(caller: Dispatcher, node: Lane, name: str, now: float) -> HeldLock | None:
    try:
        document, action = _keys.lock_of(name)
    except ValueError:
        return None  # somebody else's key that looks like one of ours
    try:
        fields, left, tickets = await asyncio.gather(
            caller.command("HGETALL", name, at=node),
            caller.command("PTTL", name, at=node),
            caller.command("LLEN", _keys.queue_key(document, action), at=node),
        )
    except ServerError:
        if caller.clustered:
            return None  # its slot went to another primary meanwhile
        raise
    lock = dict(zip(fields[::2], fields[1::2], strict=True)) if isinstance(fields, list) else fields
    if b"owner" not in lock:
        return None  # it ended meanwhile
    host, _, rest = lock.get(b"info", b"").decode(errors="replace").partition("\n")
    pid, _, task = rest.partition("\n")
    age = max(0.0, now - int(lock.get(b"fence", b"0")) / 1e6)  # the fencing number is when it was taken
    waiters = max(tickets, await _noted(caller, node, lock))
    return HeldLock(document, action, host, pid, task, age, left / 1000, waiters)


async def _noted(caller: Dispatcher, node: Lane, lock: dict[bytes, bytes]) -> int:
    """Return how many wait in processes that live; those that share a ticket are only noted here."""
    notes = {field[len(NOTE) :]: int(count) for field, count in lock.items() if field.startswith(NOTE)}
    if not notes:
        return 0
    listening = await caller.command("PUBSUB", "SHARDNUMSUB", *notes, at=node)
    alive = {channel for channel, count in zip(listening[::2], listening[1::2], strict=True) if count}
    holder = b":" + lock[b"owner"].partition(b":")[0]  # lives: its channel ends with its station
    return sum(count for channel, count in notes.items() if channel in alive or channel.endswith(holder))


def shown_locks(locks: list[HeldLock]) -> str:
    """Return locks as a table."""
    return table(TITLES, list(map(_row, locks))) if locks else "no locks are held\n"


def _row(lock: HeldLock) -> tuple[str, ...]:
    texts = (text or "-" for text in (lock.document, lock.action, lock.host, lock.pid, lock.task))
    return (*texts, f"{lock.age:.1f}", f"{lock.lease:.1f}", str(lock.waiters))
