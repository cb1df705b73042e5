"""Show a document: its type, expiry, size, the locks that are held on it, and what is in it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rapyer import _keys
from rapyer._commands._client import opened
from rapyer._commands._format import shown, table
from rapyer._commands.locks import held_locks
from rapyer._loops import dispatcher
from rapyer._setup import check_node
from rapyer.errors import KeyNotFound

if TYPE_CHECKING:
    import argparse

#: What TYPE says of a RedisJSON document.
DOCUMENT = b"ReJSON-RL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("url", metavar="URL", help="the server: redis://localhost:6379, or redis+cluster://")
    parser.add_argument("key", metavar="KEY", help="the document's key, such as User:42")


async def run(options: argparse.Namespace) -> str:
    """Return what is known of the document."""
    async with opened(options.url) as client:
        return await described(client, options.key)


async def described(client: Any, key: str) -> str:
    """Return a document with what is around it, as text.

    Raises:
        KeyNotFound: there is nothing under this key.
        ServerError: there can be none on this server.
        ValueError: it is no document.
    """
    caller = dispatcher(client)
    node = await caller.primary_of(key)
    await check_node(caller, node)
    ask = partial(caller.command, at=node)
    kind = await ask("TYPE", key)
    if kind == b"none":
        raise KeyNotFound(key)
    if kind != DOCUMENT:
        msg = f"{key!r} holds a Redis {kind.decode()}, no document"
        raise ValueError(msg)
    [json_type] = await ask("JSON.TYPE", key, "$") or [b"?"]
    text = await ask("JSON.GET", key, "INDENT", "  ", "NEWLINE", "\n", "SPACE", " ")
    if text is None:
        raise KeyNotFound(key)  # it vanished meanwhile
    size = await ask("MEMORY", "USAGE", key)
    rows = [
        ("key", key),
        ("type", f"{_first(json_type).decode()} (RedisJSON)"),
        ("expires", _expiry(await ask("PTTL", key))),
        ("size", f"{size or 0} bytes"),
        *[("lock", line) for line in await _locks(client, key) or ["none is held"]],
    ]
    return table(("", ""), rows).lstrip() + f"\n{shown(text.decode(errors='replace'))}\n"


def _first(answer: Any) -> Any:
    # RESP 3 has a list for each path.
    return answer[0] if isinstance(answer, list) else answer


def _expiry(milliseconds: float) -> str:
    return "never" if milliseconds < 0 else f"in {milliseconds / 1000:.1f} s"


async def _locks(client: Any, key: str) -> list[str]:
    pattern = _keys.pattern(_keys.lock_key(key, "")).removesuffix(":*") + "*"
    return [
        f"{lock.action!r}, held for {lock.age:.1f} s by {lock.host}, pid {lock.pid}, task {lock.task}; "
        f"its lease ends {_expiry(lock.lease * 1000)}; {lock.waiters} wait"
        for lock in await held_locks(client, pattern)
    ]
