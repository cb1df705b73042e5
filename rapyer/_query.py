"""Walking keys: SCAN on every primary, never KEYS, documents only, each key once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rapyer import _keys, _session
from rapyer._dispatch import Where, dispatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

#: How many keys the server looks at per call: bounds how long it is busy at a time.
SCAN_COUNT = 1000
#: How many documents are read per script call.
LOAD_BATCH = 100


async def find_keys(client: Any, prefix: str, belongs: Callable[[str], bool]) -> AsyncIterator[str]:
    """Yield the key of every document with this prefix that was there during the whole walk.

    One round trip for each thousand keys of the database.
    """
    seen: set[str] = set()
    cursor = b"0"
    caller = dispatcher(client)
    while True:
        cursor, page = await caller.command(
            "SCAN", cursor, "MATCH", _keys.pattern(prefix), "COUNT", str(SCAN_COUNT), "TYPE", "ReJSON-RL"
        )
        for raw in page:
            key = raw.decode()
            if key not in seen and belongs(key):
                seen.add(key)
                yield key
        if cursor == b"0":
            return


async def load_many(client: Any, keys: Sequence[str], config: Any) -> list[tuple[str, bytes]]:
    """Return keys and JSON texts of the documents that are still there; 1 round trip, script `document.load_many`."""
    caller = dispatcher(client)
    texts = await caller.script("document.load_many", keys, (_session.read_ttl(config),), lambda i: Where(keys[i]))
    return [(key, text) for key, text in zip(keys, texts, strict=True) if text]
