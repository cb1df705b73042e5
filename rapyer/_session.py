"""Run an operation now, or collect it: what a task is in the middle of.

Rules:
- A `Recording` collects the operations of one task on the documents it covers. Tasks started inside do not belong to
  it: a context is copied into them, so each recording remembers its task.
- Locks a task holds go along with every write to their document, so that the script can refuse it.
- Nothing here knows models or types; documents are what has a key and options.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from rapyer import _codec, _keys
from rapyer._dispatch import Care, Where, dispatcher
from rapyer._link import config_of
from rapyer._ops import Operation, is_plain, splices, writable
from rapyer._path import absolute, readable_part, writable_path
from rapyer.config import RedisConfig
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

    from rapyer._dispatch import Dispatcher
    from rapyer._link import Document, Owner
    from rapyer._ops import Argument
    from rapyer._path import Step, Steps


class Held(msgspec.Struct, frozen=True):
    """A lock that a task holds."""

    key: str
    action: str
    lock_key: str
    token: str
    fence: int
    task: Any


class Saving(Protocol):
    """A block that saves at its end what changed."""

    def agrees(self, steps: Steps) -> None:
        """Take notice that the document is what Redis holds at this place."""


class Recording:
    """The operations collected by one `pipeline()` block.

    Args:
        outer: the recording of the block around this one.
        documents: those it covers; None for all.
    """

    def __init__(self, outer: Recording | None, documents: Sequence[Document] | None) -> None:
        self.outer = outer
        self.task = asyncio.current_task()
        self.covered = None if documents is None else {id(document) for document in documents}
        self.touched: dict[int, Document] = {}
        self.entries: list[tuple[Document, Operation]] = []

    def touch(self, document: Document) -> None:
        """Take notice of a document that is about to change for the first time."""
        self.touched[id(document)] = document

    def add(self, document: Document, *operations: Operation) -> None:
        """Collect operations in order."""
        for operation in operations:
            self.entries.append((document, operation))


_recording: ContextVar[Recording | None] = ContextVar("rapyer_recording", default=None)
_once: ContextVar[bool] = ContextVar("rapyer_once", default=False)
_held: ContextVar[tuple[Held, ...]] = ContextVar("rapyer_held", default=())
# Blocks that save at their end what their document, known by its identity, has by then and Redis has not.
_saving: dict[int, list[Saving]] = {}


def is_recording() -> bool:
    """Whether there may be a recording at all: cheap, to be asked before a value looks for its document."""
    return _recording.get() is not None


def recording_of(document: Document) -> Recording | None:
    """Return where the running task collects changes of this document, if it does."""
    recording = _recording.get()
    if recording is None:
        return None
    task = current_task()
    found = None
    while recording is not None:
        if recording.task is task and (recording.covered is None or id(document) in recording.covered):
            found = recording  # the outermost: what was recorded there comes first
        recording = recording.outer
    if found is not None and id(document) not in found.touched:
        found.touch(document)
    return found


def recordings() -> Iterator[Recording]:
    """Yield the recordings the running task is in, the innermost first."""
    recording, task = _recording.get(), current_task()
    while recording is not None:
        if recording.task is task:
            yield recording
        recording = recording.outer


def current_task() -> asyncio.Task[Any] | None:
    """Return the running task, if there is one."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread without a loop got a copy of the context
        return None


def locks_on(key: str) -> tuple[Held, ...]:
    """Return the locks the running task holds on a document."""
    held = _held.get()
    if not held:
        return ()
    task = current_task()
    return tuple(lock for lock in held if lock.key == key and lock.task is task)


def begin_saving(document: Document, block: Saving) -> None:
    """Have a block told of what a document has in common with Redis, until `end_saving`."""
    _saving.setdefault(id(document), []).append(block)


def end_saving(document: Document, block: Saving) -> None:
    """Tell a block no more."""
    blocks = _saving[id(document)]
    blocks.remove(block)
    if not blocks:
        del _saving[id(document)]


def agrees(document: Document, steps: Steps = ()) -> None:
    """Take notice that a document is what Redis holds at this place, after a write or a read: it is not saved again."""
    for block in _saving.get(id(document), ()) if _saving else ():
        block.agrees(steps)


def agrees_at(owner: Owner, place: Step) -> None:
    """Take notice that the value at this place is what Redis holds."""
    if _saving:
        agrees(owner._document(), (*owner._steps(), place))


def client_of(document: Document) -> Any:
    """Return the client a document's model is bound to.

    Raises:
        UsageError: there is none.
    """
    return bound_client(config_of(document), type(document))


def bound_client(config: Any, cls: type[Any]) -> Any:
    """Return the client of a model class with these options."""
    if config.redis is None:
        msg = (
            f"{cls.__name__} is bound to no Redis: `await init_rapyer(redis_client)` once at the start, "
            f"or give the model `class Meta: redis = redis_client`"
        )
        raise UsageError(msg)
    return config.redis


def dispatcher_of(document: Document) -> Dispatcher:
    """Return what calls scripts for a document, in the running loop."""
    return dispatcher(client_of(document))


def milliseconds(seconds: float | None) -> str:
    """Return a number of seconds as the scripts take it; empty for None."""
    return "" if seconds is None else str(max(1, round(seconds * 1000)))


def read_ttl(config: Any) -> str:
    """Return the expiry that a read sets: empty unless the model wants its reads to count."""
    return milliseconds(config.ttl) if config.refresh_ttl else ""


def care_of(config: RedisConfig) -> Care | None:
    """Return what a model's writes are asked for beyond running; None for nothing."""
    if not (RedisConfig.careful or _once.get()):
        return None
    once, replicas = _once.get() or config.exactly_once, config.min_replicas
    return Care(once, replicas) if once or replicas else None


async def run(document: Document, *operations: Operation) -> list[Any] | None:
    """Collect the operations if the task is recording this document, else run them as one script.

    Returns:
        None when they were collected; else the value at the last operation's place as JSON text, then what the
        operation answers besides.
    """
    recording = recording_of(document)
    if recording is not None:
        recording.add(document, *operations)
        return None
    return await send(document, *operations)


def send(document: Document, *operations: Operation) -> Awaitable[list[Any]]:
    """Run operations as one script, whatever the task is recording; see `run`."""
    if len(operations) > 1 or not is_plain(operations[0]):
        return _send_batch(document, *operations)
    operation = operations[0]
    flat = operation.flat()
    return _call(document, operation.script, flat, flat[0] if operation.member is None else flat[1])


def change(owner: Owner, place: Step, script: str, *arguments: Argument) -> Awaitable[list[Any]]:
    """Run an operation on the value at a place, whatever the task is recording; see `run`."""
    document, steps = owner._document(), (*owner._steps(), place)
    path = writable_path(steps)
    if path is None:
        return _send_batch(document, Operation(script, steps, arguments))
    return _call(document, script, (path, *arguments), path)


def _call(document: Document, script: str, arguments: Sequence[Argument], path: Argument) -> Awaitable[list[Any]]:
    key, config = document.key, config_of(document)
    caller = dispatcher(bound_client(config, type(document)))
    keys, head = _head(key, config)
    return caller.script(script, keys, (*head, *arguments), Where(key, str(path)), care_of(config))


async def _send_batch(document: Document, *operations: Operation) -> list[Any]:
    last = operations[-1]
    readable = readable_part(last.steps)
    texts, extra = await apply([(document, operation) for operation in operations], [(document, readable)])
    return [_codec.cut_out(texts[0], last.steps[len(readable) :]), extra]


def _head(key: str, config: Any) -> tuple[Sequence[str], Sequence[str]]:
    """Return the keys of a script that changes one document, and its first arguments."""
    ttl = "" if config.ttl is None else milliseconds(config.ttl)
    locks = locks_on(key) if _held.get() else ()
    if not locks:
        return (key,), (ttl, "0")
    keys = (key, *(lock.lock_key for lock in locks))
    return keys, (ttl, str(len(locks)), *(lock.token for lock in locks))


def where(key: str, operation: Operation | None) -> Where:
    """Return the place an operation works on, for errors."""
    path = "$"
    if operation is not None:
        path = absolute(operation.steps if operation.member is None else (*operation.steps, operation.member))
    return Where(key, path)


async def apply(
    entries: Sequence[tuple[Document, Operation]],
    reads: Sequence[tuple[Document, Steps]] = (),
    *,
    skip_missing: bool = False,
) -> tuple[list[bytes | None], Any]:
    """Run operations as one script, all or none, then read; 1 round trip.

    Args:
        entries: what to do, in order.
        reads: what to read afterwards.
        skip_missing: whether operations on documents that are gone are left out instead of refused.

    Returns:
        the JSON texts read, None where there is nothing, and what the last operation answered.
    """
    batch = _Batch(entries, reads)
    keys, arguments = batch.call("skip" if skip_missing else "refuse")
    caller = dispatcher_of((entries or reads)[0][0])
    texts, extra = await caller.script("batch.apply", keys, arguments, batch.where, batch.care())
    return [text or None for text in texts], extra


class _Share:
    """What a batch does to one document."""

    __slots__ = ("depth", "document", "number", "places", "undo")

    def __init__(self, document: Document, number: int) -> None:
        self.document = document
        self.number = str(number)
        self.places: set[Step | None] = set()
        self.depth = 0  # of names on a path that cannot be written to
        self.undo = False

    def change(self, operation: Operation) -> str:
        """Take note of a change; return "1" if it works on what an earlier one of this document changes."""
        place, places = operation.touches, self.places
        # None is the whole document.
        dependent = place in places or None in places or (place is None and bool(places))
        places.add(place)
        self.undo = self.undo or dependent
        return "1" if dependent else "0"

    def head(self, missing: str, *, undo: bool) -> tuple[list[str], list[str]]:
        """Return the keys and the first arguments of this document."""
        key = self.document.key
        locks = locks_on(key)
        keys = [key, *(lock.lock_key for lock in locks)]
        own = 0
        if undo or self.depth:
            own = 1 + self.depth
            scratch = _keys.scratch_key(key)
            keys += [scratch, *(f"{scratch}:{i}" for i in range(self.depth))]
        ttl = milliseconds(config_of(self.document).ttl)
        return keys, [ttl, missing, str(own), str(len(locks)), *(lock.token for lock in locks)]


class _Batch:
    """Keys and arguments of one `batch.apply` call."""

    def __init__(self, entries: Sequence[tuple[Document, Operation]], reads: Sequence[tuple[Document, Steps]]) -> None:
        self._entries = entries
        self._reads = reads
        self._shares: dict[int, _Share] = {}
        self._body: list[Argument] = [str(len(entries))]
        shares = self._shares
        for document, operation in entries:
            self._add(shares.get(id(document)) or self._share(document), operation)
        self._body.append(str(len(reads)))
        for document, steps in reads:
            self._body += (self._share(document).number, absolute(steps))

    def _share(self, document: Document) -> _Share:
        share = self._shares.get(id(document))
        if share is None:
            share = self._shares[id(document)] = _Share(document, len(self._shares) + 1)
        return share

    def _add(self, share: _Share, operation: Operation) -> None:
        flag = share.change(operation)
        if not is_plain(operation):
            share.depth = max(share.depth, splices(operation))
            operation = writable(operation)
        self._body += (share.number, flag, operation.script, *operation.flat())

    def call(self, missing: str) -> tuple[list[str], list[Argument]]:
        """Return keys and arguments; missing: what to do about a document that is gone, "refuse" or "skip" it."""
        keys: list[str] = []
        arguments: list[Argument] = [str(len(self._shares))]
        # A dependent change of one has the earlier changes of all written, with a copy put aside of each.
        undo = any(share.undo for share in self._shares.values())
        for share in self._shares.values():
            more, head = share.head(missing, undo=undo)
            keys += more
            arguments += head
        return keys, arguments + self._body

    def care(self) -> Care | None:
        """Return the most that any of the models asks for."""
        found = (care_of(config_of(share.document)) for share in self._shares.values())
        cares = [care for care in found if care is not None]
        return Care(any(care.once for care in cares), max(care.replicas for care in cares)) if cares else None

    def where(self, index: int) -> Where:
        """Return the place an operation works on."""
        if not self._entries:
            return where(self._reads[0][0].key, None)
        document, operation = self._entries[index]
        return where(document.key, operation)
