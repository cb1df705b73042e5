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
from typing import TYPE_CHECKING, Any

import msgspec

from rapyer import _codec, _keys
from rapyer._dispatch import Where, dispatcher
from rapyer._link import config_of
from rapyer._ops import is_plain, splices, writable
from rapyer._path import absolute, readable_part
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer._dispatch import Dispatcher
    from rapyer._link import Document
    from rapyer._ops import Argument, Operation
    from rapyer._path import Steps


class Held(msgspec.Struct, frozen=True):
    """A lock that a task holds."""

    key: str
    action: str
    lock_key: str
    token: str
    fence: int
    task: Any


class Recording:
    """The operations collected by one `pipeline()` block."""

    def __init__(self, outer: Recording | None, documents: Sequence[Document] | None) -> None:
        self.outer = outer
        self.task = asyncio.current_task()
        self.covers_all = documents is None
        self.documents: dict[int, Document] = {id(document): document for document in documents or ()}
        self.entries: list[tuple[Document, Operation]] = []

    def covers(self, document: Document) -> bool:
        """Whether changes of this document belong here."""
        return self.covers_all or id(document) in self.documents

    def touch(self, document: Document) -> None:
        """Take notice that a document is about to change."""

    def add(self, document: Document, *operations: Operation) -> None:
        """Collect operations in order."""
        self.documents.setdefault(id(document), document)
        self.entries += [(document, operation) for operation in operations]


_recording: ContextVar[Recording | None] = ContextVar("rapyer_recording", default=None)
_held: ContextVar[tuple[Held, ...]] = ContextVar("rapyer_held", default=())


def is_recording() -> bool:
    """Whether there may be a recording at all: cheap, to be asked before a value looks for its document."""
    return _recording.get() is not None


def recording_of(document: Document) -> Recording | None:
    """Return where the running task collects changes of this document, if it does."""
    recording = _recording.get()
    if recording is None:
        return None
    task = _current_task()
    while recording is not None:
        if recording.task is task and recording.covers(document):
            recording.touch(document)
            return recording
        recording = recording.outer
    return None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread without a loop got a copy of the context
        return None


def locks_on(key: str) -> tuple[Held, ...]:
    """Return the locks the running task holds on a document."""
    held = _held.get()
    if not held:
        return ()
    task = _current_task()
    return tuple(lock for lock in held if lock.key == key and lock.task is task)


def client_of(document: Document) -> Any:
    """Return the client a document's model is bound to.

    Raises:
        UsageError: there is none.
    """
    return bound_client(config_of(document), type(document).__name__)


def bound_client(config: Any, name: str) -> Any:
    """Return the client of a model with these options."""
    if config.redis is None:
        msg = (
            f"{name} is bound to no Redis: `await init_rapyer(redis_client)` once at the start, "
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
    if len(operations) == 1 and is_plain(operations[0]):
        return await _run_one(document, operations[0])
    last = operations[-1]
    readable = readable_part(last.steps)
    texts, extra = await apply([(document, operation) for operation in operations], [(document, readable)])
    return [_codec.cut_out(texts[0], last.steps[len(readable) :]), extra]


async def _run_one(document: Document, operation: Operation) -> list[Any]:
    key, config = document.key, config_of(document)
    locks = locks_on(key)
    keys = [key, *(lock.lock_key for lock in locks)]
    head = (milliseconds(config.ttl), str(len(locks)), *(lock.token for lock in locks))
    caller = dispatcher(bound_client(config, type(document).__name__))
    reply: list[Any] = await caller.script(
        operation.script, keys, (*head, *operation.flat()), lambda _: _where(key, operation)
    )
    return reply


def _where(key: str, operation: Operation | None) -> Where:
    path = "$"
    if operation is not None:
        path = absolute(operation.steps if operation.member is None else (*operation.steps, operation.member))
    return Where(key, path)


async def apply(
    entries: Sequence[tuple[Document, Operation]],
    reads: Sequence[tuple[Document, Steps]] = (),
    *,
    skip_missing: bool = False,
    release: Held | None = None,
) -> tuple[list[bytes | None], Any]:
    """Run operations as one script, all or none, then read; 1 round trip.

    Args:
        entries: what to do, in order.
        reads: what to read afterwards.
        skip_missing: whether operations on documents that are gone are left out instead of refused.
        release: a lock on the only document to give back in the same script.

    Returns:
        the JSON texts read, None where there is nothing, and what the last operation answered.
    """
    batch = _Batch(entries, reads, skip_missing=skip_missing, release=release)
    caller = dispatcher_of(batch.documents[0])
    texts, extra = await caller.script("batch.apply", batch.keys, batch.arguments, batch.where)
    return [text or None for text in texts], extra


class _Batch:
    """Keys and arguments of one `batch.apply` call."""

    def __init__(
        self,
        entries: Sequence[tuple[Document, Operation]],
        reads: Sequence[tuple[Document, Steps]],
        *,
        skip_missing: bool,
        release: Held | None,
    ) -> None:
        self.entries = entries
        self.documents = list({id(doc): doc for doc, _ in [*entries, *reads]}.values())
        self.keys: list[str] = []
        self.arguments: list[Argument] = [str(len(self.documents))]
        self._numbers = {id(document): str(i) for i, document in enumerate(self.documents, 1)}
        flags = self._dependent()
        for document in self.documents:
            self._add_document(document, undo="1" in flags, skip="skip" if skip_missing else "refuse")
        self._add_operations(flags)
        self.arguments.append(str(len(reads)))
        for document, steps in reads:
            self.arguments += [self._numbers[id(document)], absolute(steps)]
        self.arguments.append(str(self.keys.index(release.lock_key) + 1) if release else "")

    def _dependent(self) -> list[str]:
        """Flag the operations that work on what an earlier one changes."""
        touched: dict[int, set[Any]] = {}
        flags = []
        for document, operation in self.entries:
            places = touched.setdefault(id(document), set())
            place = operation.touches  # None is the whole document
            dependent = bool(places) if place is None else place in places or None in places
            flags.append("1" if dependent else "0")
            places.add(place)
        return flags

    def _add_document(self, document: Document, *, undo: bool, skip: str) -> None:
        key = document.key
        locks = locks_on(key)
        depth = max((splices(op) for doc, op in self.entries if doc is document), default=0)
        own = (
            [_keys.scratch_key(key), *(f"{_keys.scratch_key(key)}:{i}" for i in range(depth))] if undo or depth else []
        )
        self.keys += [key, *(lock.lock_key for lock in locks), *own]
        ttl = milliseconds(config_of(document).ttl)
        self.arguments += [ttl, skip, str(len(own)), str(len(locks)), *(lock.token for lock in locks)]

    def _add_operations(self, flags: list[str]) -> None:
        self.arguments.append(str(len(self.entries)))
        for (document, operation), flag in zip(self.entries, flags, strict=True):
            ready = writable(operation)
            self.arguments += [self._numbers[id(document)], flag, ready.script, *ready.flat()]

    def where(self, index: int) -> Where:
        """Return the place an operation works on."""
        if not self.entries:
            return _where(self.documents[0].key, None)
        document, operation = self.entries[index]
        return _where(document.key, operation)
