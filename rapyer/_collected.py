"""What one `pipeline()` block has collected, and what it has met that may change without a word.

Rules:
- A recording collects the operations of one task on the documents it covers.
- Plain values change in place unseen. Those that a block meets are compared with what was recorded of them last.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from rapyer._link import LeftOut
from rapyer._ops import Operation, pairs
from rapyer._tasks import current_task
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rapyer._link import Document, Owner
    from rapyer._ops import Argument, Entries
    from rapyer._path import Step, Steps

    Written: TypeAlias = "tuple[Argument, ...] | None"


class Met:
    """A plain value that a block met: where, and how it was written then, and when it was recorded last."""

    __slots__ = ("first", "owner", "place", "text", "value")

    def __init__(self, owner: Owner, place: Step, value: Any, first: Written, text: Written) -> None:
        self.owner = owner
        self.place = place
        self.value = value
        self.first = first
        self.text = text


def _renew(met: Met) -> None:
    with suppress(UsageError, ValueError):
        met.text = met.owner._written(met.place, met.value)


class Recording:
    """The operations collected by one `pipeline()` block, which begins when this is made.

    Args:
        outer: the recording of the block around this one.
        document: the one it covers; None for all.
    """

    # Many of these may wait for the server at the same time: the fewer objects, the less there is to collect.
    __slots__ = ("__dict__", "covered", "entries", "outer", "task", "touched")

    # Seldom another value.
    #: Models that were put into others: what puts one in carries what was recorded of it before.
    parts: dict[int, Any] | None = None
    #: Plain values that may change in place: by their identities, then by owner and place.
    watched: dict[int, dict[tuple[int, Step], Met]] | None = None
    #: The same by their documents, as those were then; under None where these are parts of others by now.
    met: dict[int | None, list[Met]] | None = None
    #: Lists, by their identities, with their text when all that had changed in them was recorded.
    settled: dict[int, tuple[Any, bytes | None]] | None = None

    def __init__(self, outer: Recording | None, document: Document | None) -> None:
        self.outer = outer
        self.task = current_task()
        self.covered = document
        #: The documents by their identities, each with what makes it what it was before its first change.
        self.touched: dict[int, tuple[Document, Callable[[], None]]] = {}
        self.entries: Entries = []
        if document is not None:
            self.touch(document)
        recording_here.set(self)

    def end(self) -> None:
        """Collect nothing more: not in another context either, where the block may have been entered, or in this one.

        Tasks that share a context may have begun blocks of their own in it meanwhile.
        """
        self.task = None
        if recording_here.get() is self:
            recording_here.set(self.outer)

    def of(self, document: Document) -> Recording | None:
        """Return where the running task collects changes of this document: this, or one around it, if one does."""
        task = current_task()
        if task is None:  # a thread without a loop got a copy of the context
            return None
        if self.covered is document and self.task is task and self.outer is None:  # mostly
            return self
        recording: Recording | None = self
        found = None
        while recording is not None:
            if recording.task is task and (recording.covered is document or recording.covered is None):
                found = recording  # the outermost: what was recorded there comes first
            recording = recording.outer
        # What covers one document was begun with it.
        if found is not None and found.covered is None and id(document) not in found.touched:
            found.touch(document)
        return found

    def touch(self, document: Document) -> None:
        """Take notice of a document that is about to change for the first time."""
        raise NotImplementedError  # pragma: no cover - pipelines have their own

    def watch(self, owner: Owner, place: Step, value: Any) -> None:
        """Take notice of a plain value that may change in place, and of the models in it."""
        self.watched = {} if self.watched is None else self.watched
        met = self.watched[id(value)] = self.watched.pop(id(value), {})  # the last from now on, for `met_last`
        key = (id(owner), place)
        if key not in met:
            document: Any = owner._document()
            with suppress(UsageError, ValueError):  # what cannot be written now is told when it is to be saved
                text = owner._written(place, value)
                met[key] = Met(owner, place, value, text, text)
                self.met = {} if self.met is None else self.met
                self.met.setdefault(id(document), []).append(met[key])
            self.parts = {} if self.parts is None else self.parts
            self.parts |= document._parts_in(value)

    def renewed(self, value: Any) -> None:
        """Take notice that a value was recorded as a part of another, as it is now."""
        for met in (self.watched or {}).get(id(value), {}).values():
            _renew(met)

    def renew(self, whole: Any) -> None:
        """Take notice that a value was recorded as a whole, and so were the plain values in it, as they are now."""
        for met in self._met_in(whole):
            _renew(met)

    def settle(self, whole: Any = None, text: bytes | None = None) -> None:
        """Collect what changed in place so far, in this value or anywhere.

        Args:
            whole: the value; None for all.
            text: what it is now as text, to be compared with what it was when this was done last.
        """
        if text is not None and (self.settled or {}).get(id(whole)) == (whole, text):
            return
        gone = _deleted(self.entries)
        for met in self._met_in(whole):
            owner, value = met.owner, met.value
            now = _written(owner, met.place, value)
            if now == met.text:
                continue
            document = owner._document()
            try:
                place = owner._place_of(value, met.place)
                steps = owner._steps()
            except UsageError:
                continue  # what it was in is no longer in the document
            if id(document) not in gone and owner._holds(place, value):
                self.entries += (document, set_operation(owner, steps, place, value))
                met.text = now

    def note_settled(self, whole: Any, text: bytes | None) -> None:
        """Take notice that all that had changed in a list is recorded, which is this text now."""
        self.settled = {} if self.settled is None else self.settled
        self.settled[id(whole)] = (whole, text)  # it is kept: another one could come to have its identity

    def _met_in(self, whole: Any) -> list[Met]:
        if whole is None:
            return [met for places in (self.watched or {}).values() for met in places.values()]
        near = self.met or {}
        mine = (*near.get(id(whole._document()), ()), *near.get(None, ()))
        return [met for met in mine if _is_within(met.owner, whole)]

    def met_last(self, count: int) -> Iterator[Met]:
        """Yield the plain values that were taken from their places last."""
        return (met for places in islice(reversed((self.watched or {}).values()), count) for met in places.values())

    def became_part(self, document: Any) -> None:
        """Take notice that a model, so far a document of its own, is part of another one from now on."""
        self.parts = {} if self.parts is None else self.parts
        self.parts[id(document)] = document
        if self.met and id(document) in self.met:
            self.met.setdefault(None, []).extend(self.met.pop(id(document)))

    def savepoint_of_watched(self) -> Callable[[], None]:
        """Return what has the plain values that are met from now on be what they were then, and the others as now."""
        texts = {id(met): met.text for met in self._met_in(None)}

        def restore() -> None:
            for met in self._met_in(None):
                met.text = texts.get(id(met), met.first)
            self.settled = None

        return restore

    def add(self, document: Document, operations: Iterable[Operation]) -> None:
        """Collect operations in order."""
        for operation in operations:  # mostly one
            self.entries += (document, operation)


def _is_within(value: Any, whole: Any) -> bool:
    """Whether a value is another one, or stands in it, at any depth."""
    while value is not None:
        if value is whole:
            return True
        value = getattr(value, "_owner", None)
    return False


def _written(owner: Owner, place: Step, value: Any) -> Written:
    try:
        return owner._written(place, value)
    except (UsageError, ValueError):
        return None  # it was there, and valid, when the block met it


def set_operation(owner: Owner, steps: Steps, place: Step, value: Any) -> Operation:
    """Return what has a place of an owner, which is at these steps, hold a value."""
    try:
        return Operation("value.set", steps, owner._encode(place, value), place)
    except LeftOut:
        return Operation("map.pop", steps, (), place)


def _deleted(entries: Entries) -> set[int]:
    """Return the documents that are gone afterwards."""
    gone: set[int] = set()
    for document, operation in pairs(entries):
        if operation.touches is None:
            (gone.add if operation.script == "document.delete" else gone.discard)(id(document))
    return gone


recording_here: ContextVar[Recording | None] = ContextVar("rapyer_recording", default=None)
