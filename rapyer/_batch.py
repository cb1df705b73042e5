"""Many operations on any number of documents as the keys and arguments of one `batch.apply`.

Rules:
- A document is named once, by its number, however many operations work on it.
- An operation on a top-level field that an earlier one of the same document changes depends on it: the script is told.
  None as the field is the whole document. Before that, those that may be one are made one (`squash`).
- A path that RedisJSON cannot write to needs work keys, one for each such name on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from rapyer import _codec, _keys
from rapyer._dispatch import Care, Where
from rapyer._ops import pairs, splices, squash, writable
from rapyer._path import absolute, writable_path
from rapyer._session import _held, care_of, locks_on, milliseconds
from rapyer.errors import OutOfRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer._link import Document
    from rapyer._ops import Argument, Entries, Operation
    from rapyer._path import Step, Steps


class Share(msgspec.Struct, eq=False, gc=False):  # nothing that it holds knows of it
    """What a batch does to one document.

    Attributes:
        number: which of the batch's documents it is.
        fields: what is changed, None for all of it, with the JSON text that it has afterwards, None where that is
            not known.
        unknown: those whose text is read for that reason, in the order of the answers.
        reads: the paths that are read besides.
        depth: how many names are on a path that cannot be written to, at most.
    """

    document: Any
    number: str
    fields: dict[Step | None, bytes | None] = {}
    unknown: Sequence[Step | None] = ()
    reads: Sequence[str] = ()
    depth: int = 0

    def words(self, operation: Operation) -> Sequence[Argument]:
        """Return the words of an operation with a long path, or with one that RedisJSON cannot write to."""
        self.depth = max(self.depth, splices(operation))
        spliced = writable(operation)
        return (spliced.script, *spliced.flat())


class Batch:
    """One call.

    Args:
        entries: what to do, in order.

    Attributes:
        entries: what it does.
        shares: the documents, by their identities.
    """

    __slots__ = ("_body", "_long", "_undo", "entries", "shares")

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        if not self._takes(entries, dependent=False):
            self.entries = squash(entries)
            self._takes(self.entries, dependent=True)

    def _takes(self, entries: Entries, *, dependent: bool) -> bool:
        """Take the operations; return whether that was possible, where none may be dependent."""
        self.shares: dict[int, Share] = {}
        self._body: list[Argument] = []
        self._long: list[tuple[Document, Operation]] | None = None  # with long paths
        # A dependent change of one has the earlier changes of all written, with a copy put aside of each.
        self._undo = False
        body, last = self._body, None
        for document, operation in pairs(entries):
            if document is not last:
                share = self._share(document)
                if last is not None:
                    body.append(share.number)
                last, fields = document, share.fields
            place, words = _words(operation.script, operation.steps, operation.member)
            if place in fields or (fields and (place is None or None in fields)):
                if not dependent:
                    return False
                self._undo = True
                body.append("+")
            fields[place] = None if operation.steps else _outcome(operation)
            if words is None:
                if len(operation.steps) > _codec.SHALLOW:
                    self._long = self._long or []
                    self._long.append((document, operation))
                body += share.words(operation)
            else:
                body += words
                body += operation.arguments
        return True

    def _share(self, document: Document) -> Share:
        share = self.shares.get(id(document))
        if share is None:
            share = self.shares[id(document)] = Share(document, f"{len(self.shares) + 1}")
        return share

    def read(self, document: Document, steps: Steps) -> None:
        """Have it read what is at a place afterwards."""
        share = self._share(document)
        share.reads = (*share.reads, absolute(steps))

    def read_changed(self, share: Share) -> None:
        """Have it read what it changes of a document, as far as that is not known."""
        fields = share.fields
        if None in fields:
            fields.clear()
            fields[None] = None
        share.unknown = tuple([place for place, text in fields.items() if text is None])

    def call(self, missing: str) -> tuple[Sequence[str], Sequence[Argument]]:
        """Return its keys and arguments; to be asked for once.

        Args:
            missing: what to do about a document that is gone, "refuse" or "skip" it.

        Raises:
            OutOfRange: a document would become too deep.
        """
        for document, operation in self._long or ():
            check_depth(document, operation)
        keys: list[str] = []
        arguments: list[Argument] = [f"{len(self.shares)}"]
        for share in self.shares.values():
            key, config = share.document.key, share.document.Meta
            ttl, own = "" if config.ttl is None else milliseconds(config.ttl), 0
            locks = locks_on(config.redis, key) if _held.get() else ()
            keys.append(key)
            if locks:
                keys += [lock.lock_key for lock in locks]
            if self._undo or share.depth:
                own = 1 + share.depth
                scratch = _keys.scratch_key(key)
                keys += [scratch, *(f"{scratch}:{i}" for i in range(share.depth))]
            if locks or own or missing != "refuse":
                arguments += (f"{ttl}+", missing, f"{own}", f"{len(locks)}", *[lock.fence for lock in locks])
            else:
                arguments.append(ttl)
        arguments += (f"{len(self.entries) // 2}", *self._body)
        del self._body  # many batches may wait for the server at the same time: the fewer objects, the better
        for share in self.shares.values():
            changed = [absolute(() if place is None else (place,)) for place in share.unknown]
            arguments += (f"{len(changed) + len(share.reads)}", *share.reads, *changed)
        return tuple(keys), arguments

    def __call__(self, index: int) -> Where:
        """Return where one of its operations works."""
        document, operation = self.entries[2 * index : 2 * index + 2]
        return Where(document.key, operation.path, inside=operation.inside)

    def care(self) -> Care | None:
        """Return the most that any of the models asks for."""
        cares = [care for share in self.shares.values() if (care := care_of(share.document.Meta)) is not None]
        return Care(any(care.once for care in cares), max(care.replicas for care in cares)) if cares else None


def words_of(operations: Sequence[Operation]) -> list[Argument] | None:
    """Return operations as a script takes them that carries out several; None if one of them needs more than that.

    That is one whose path RedisJSON cannot write to, or is so long that the document may become too deep.
    """
    found: list[Argument] = []
    for operation in operations:
        _, words = _words(operation.script, operation.steps, operation.member)
        if words is None:
            return None
        found += words
        found += operation.arguments
    return found


def check_depth(document: Document, operation: Operation) -> None:
    """Refuse what would make a document too deep for the server.

    Raises:
        OutOfRange: it would.
    """
    if _codec.levels(operation) > _codec.DEEPEST:
        raise OutOfRange(document.key, operation.path, _codec.TOO_DEEP)


def _outcome(operation: Operation) -> bytes | None:
    """Return the JSON text that a top-level field has after an operation on it, where that is known beforehand."""
    if operation.script != "value.set":
        return None
    text = operation.arguments[0]
    return text if isinstance(text, bytes) and _codec.is_simple(text) else None


@lru_cache(maxsize=4096)
def _words(script: str, steps: Steps, member: Step | None) -> tuple[Step | None, tuple[str, ...] | None]:
    """Return the field that an operation changes, and its first words: name, path, the member's path.

    There are none where RedisJSON cannot write to that, or where the path is long.
    """
    field = steps[0] if steps else member
    path = writable_path(steps if member is None else (*steps, member))
    if path is None or len(steps) > _codec.SHALLOW:
        return field, None
    return field, (script, path) if member is None else (script, absolute(steps), path)
