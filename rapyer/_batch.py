"""Many operations on any number of documents as the keys and arguments of one `batch.apply`.

Rules:
- A document is named once, by its number, however many operations work on it.
- An operation on a top-level field that an earlier one of the same document changes depends on it: the script is told.
  None as the field is the whole document.
- A path that RedisJSON cannot write to needs work keys, one for each such name on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rapyer import _codec, _keys
from rapyer._dispatch import Care
from rapyer._ops import splices, writable
from rapyer._path import absolute, writable_path
from rapyer._session import care_of, locks_on, milliseconds
from rapyer.errors import OutOfRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer._link import Document
    from rapyer._ops import Argument, Operation
    from rapyer._path import Step, Steps

    Entries = Sequence[tuple[Document, Operation]]


class _Share:
    """What a batch does to one document."""

    __slots__ = ("depth", "document", "number", "places")

    def __init__(self, document: Document, number: str) -> None:
        self.document = document
        self.number = number
        self.places: set[Step | None] = set()
        self.depth = 0  # of names on a path that cannot be written to

    def head(self, missing: str, keys: list[str], arguments: list[Argument], *, undo: bool) -> None:
        """Add the keys and the first arguments of this document."""
        key, config = self.document.key, self.document.Meta
        ttl, locks = config.ttl, locks_on(config.redis, key)
        keys.append(key)
        if locks:
            keys += [lock.lock_key for lock in locks]
        own = 0
        if undo or self.depth:
            own = 1 + self.depth
            scratch = _keys.scratch_key(key)
            keys += [scratch, *(f"{scratch}:{i}" for i in range(self.depth))]
        arguments += ("" if ttl is None else milliseconds(ttl), missing, str(own), str(len(locks)))
        if locks:
            arguments += [lock.fence for lock in locks]


class Batch:
    """One call.

    Args:
        entries: what to do, in order.
        reads: what to read afterwards.
        missing: what to do about a document that is gone, "refuse" or "skip" it.
    """

    __slots__ = ("arguments", "keys", "shares")

    def __init__(self, entries: Entries, reads: Sequence[tuple[Document, Steps]], missing: str) -> None:
        self.shares: dict[int, _Share] = {}
        body: list[Argument] = [str(len(entries))]
        # A dependent change of one has the earlier changes of all written, with a copy put aside of each.
        undo = False
        shares = self.shares
        for document, operation in entries:
            share = shares.get(id(document)) or self._share(document)
            steps = operation.steps
            if len(steps) > _codec.SHALLOW:
                check_depth(document, operation)
            places, place = share.places, steps[0] if steps else operation.touches
            dependent = "0"
            if place in places or (places and (place is None or None in places)):
                dependent, undo = "1", True
            places.add(place)
            words = _words(operation.script, steps, operation.member)
            if words is None:
                share.depth = max(share.depth, splices(operation))
                spliced = writable(operation)
                body += (share.number, dependent, spliced.script, *spliced.flat())
            else:
                body += (share.number, dependent, *words, *operation.arguments)
        body.append(str(len(reads)))
        for document, steps in reads:
            body += ((shares.get(id(document)) or self._share(document)).number, absolute(steps))
        self.keys: list[str] = []
        self.arguments: list[Argument] = [str(len(shares))]
        for share in shares.values():
            share.head(missing, self.keys, self.arguments, undo=undo)
        self.arguments += body

    def _share(self, document: Document) -> _Share:
        share = self.shares[id(document)] = _Share(document, str(len(self.shares) + 1))
        return share

    def care(self) -> Care | None:
        """Return the most that any of the models asks for."""
        cares = [care for share in self.shares.values() if (care := care_of(share.document.Meta)) is not None]
        return Care(any(care.once for care in cares), max(care.replicas for care in cares)) if cares else None


def check_depth(document: Document, operation: Operation) -> None:
    """Refuse what would make a document too deep for the server.

    Raises:
        OutOfRange: it would.
    """
    if _codec.levels(operation) > _codec.DEEPEST:
        raise OutOfRange(document.key, operation.path, _codec.TOO_DEEP)


@lru_cache(maxsize=4096)
def _words(script: str, steps: Steps, member: Step | None) -> tuple[str, ...] | None:
    """Return name and path of an operation, and its member's path; None where RedisJSON cannot write to that."""
    path = writable_path(steps if member is None else (*steps, member))
    if path is None:
        return None
    return (script, path) if member is None else (script, absolute(steps), path)
