"""`pipeline()`: collect what a block does to its models, send it as one script, and leave the models as Redis is.

Rules:
- Entering refreshes the models and remembers what was read: should anything raise, they are put back to it.
- Leaving sends one `batch.apply`: all or nothing. Its answer brings the fields that were touched, with what others did.
- Plain values that can change in place are compared at the end with what they were when the block met them.
- What a block inside a block changes of a model that the outer one covers, in the same task, joins the outer one, in
  order; if the inner one fails, it is taken back from there.
- A block is in use once at a time; it may be entered again after that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from rapyer import _calls, _collected, _session
from rapyer._batch import Batch
from rapyer._keys import hash_slot
from rapyer._link import config_of
from rapyer._ops import pairs
from rapyer.errors import CrossSlot, KeyNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
    from types import TracebackType

    from rapyer._ops import Entries
    from rapyer._path import Step


class Model(Protocol):
    """What a pipeline needs to know of a model."""

    Meta: Any

    @property
    def key(self) -> str: ...

    def _load_text(self, key: str) -> Awaitable[bytes]: ...

    def _become(self, key: str, text: bytes) -> None: ...

    def _snapshot(self) -> Any: ...

    def _vet_fields(self, names: Iterable[Step | None]) -> None: ...

    def _refresh(self, fields: Mapping[Step | None, bytes | None]) -> None: ...


T = TypeVar("T")
#: Plain values, those that were taken last, in which a new model is looked for when it changes: all would be too many.
LATEST = 32


class Pipeline(Generic[T]):
    """An async context manager around a block whose changes are one script.

    Args:
        model: the root model of the block; None for `rapyer.pipeline()`, which takes any.
        target: what entering gives: the model, or the nested model the block was opened on.
        ignore_if_deleted: whether a document that is gone is left alone instead of a `KeyNotFound`.
    """

    __slots__ = ("_ignore", "_in_use", "_model", "_recording", "_savepoints", "_target")

    def __init__(self, model: Any, target: T, *, ignore_if_deleted: bool) -> None:
        self._model = model
        self._target = target
        self._ignore = ignore_if_deleted
        self._in_use = False
        self._recording: _Recorder | None = None
        self._savepoints: Sequence[Callable[[], None]] = ()

    async def __aenter__(self) -> T:
        """Refresh the model, unless the block joins one around it, and start to record."""
        if self._in_use:
            msg = "this block is in use: call pipeline() again for another one"
            raise UsageError(msg)
        self._in_use, model = True, self._model
        try:
            if _session.is_recording() and self._joins():
                return self._target
            if model is not None:
                key = model.key
                try:
                    model._become(key, await model._load_text(key))
                except KeyNotFound:
                    if not self._ignore:
                        raise
            self._recording = _Recorder(_session.around(), model)
        except BaseException:
            self._in_use, self._savepoints = False, ()
            raise
        return self._target

    def _joins(self) -> bool:
        """Whether the block joins one around it; what it does to models that are recorded there can be taken back."""
        around: Any = None if self._model is None else _session.recording_of(self._model)
        recorders: Iterable[Any] = _session.recordings() if self._model is None else filter(None, [around])
        self._savepoints = [recorder.savepoint(self._model) for recorder in recorders]
        return around is not None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what was recorded; put the models back if anything raised."""
        recording, self._recording = self._recording, None
        savepoints, self._savepoints = self._savepoints, ()
        self._in_use = False
        if recording is not None:
            recording.end()
        try:
            if kind is None and recording is not None and recording.completed():
                batch, twins = _batch_of(recording)
                texts, _ = await _sent(batch, twins, skip_missing=self._ignore)
                _settle(batch, twins, texts)
        except BaseException:
            _put_back(recording, savepoints)
            raise
        if kind is not None:
            _put_back(recording, savepoints)


def _put_back(recording: _Recorder | None, savepoints: Iterable[Callable[[], None]]) -> None:
    """Make the models what they were."""
    if recording is not None:
        recording.put_back()
    for take_back in savepoints:
        take_back()


class _Recorder(_collected.Recording):
    """A recording that remembers each model as it was before its first change."""

    __slots__ = ()

    def touch(self, document: Any) -> None:
        self.touched[id(document)] = (document, document._snapshot())
        if getattr(document, "_rapyer_plain", None) is not None:  # no document: in another one, or a plain value only
            self.became_part(document)
        elif (self.watched or self.outer) and id(document) not in (self.parts or ()) and document._is_free():
            self._look_for(document)

    def savepoint(self, model: Any) -> Callable[[], None]:
        """Return what takes back all that is done from now on, to this model or, for None, to any."""
        done, touched = len(self.entries), len(self.touched)
        models: Iterable[Any] = [each for each, _ in self.touched.values()] if model is None else [model]
        snapshots = [each._snapshot() for each in models]
        unwatch = self.savepoint_of_watched()

        def take_back() -> None:
            unwatch()
            later = self.entries[done:]
            self.entries[done:] = [] if model is None else _without(later, {id(model)})
            later_ones = [restore for _, restore in self.touched.values()][touched:] if model is None else ()
            for restore in (*reversed(later_ones), *snapshots):  # the last first: a model may have been in another
                restore()

        return take_back

    def completed(self) -> bool:
        """Leave out what went into other models, add what changed unseen; return whether there is anything to send."""
        if self.parts or self.watched or self.outer:
            parts = self._all_parts()
            self.entries = _without(self.entries, parts)
        if self.watched:
            self.settle()
        return bool(self.entries)

    def _look_for(self, document: Any) -> None:
        """Take notice of a model that was put into a plain value: it may be taken out again."""
        recording: Any = self
        while recording is not None:
            if document._is_among([met.value for met in recording.met_last(LATEST)]):
                self.became_part(document)
                return
            recording = recording.outer

    def _all_parts(self) -> dict[int, Any]:
        """Return the models that are parts of others by now; a block around this one may have met what they are in."""
        parts: dict[int, Any] = {}
        recording: Any = self
        while recording is not None:
            parts |= recording.parts or {}
            for met in recording._met_in(None):
                parts |= met.owner._document()._parts_in(met.value)
            recording = recording.outer
        return parts

    def put_back(self) -> None:
        """Make every model what it was."""
        for _, restore in reversed(self.touched.values()):  # the last first: a model may have been in another
            restore()


def _batch_of(recording: _Recorder) -> tuple[Batch, _Twins | None]:
    """Return a block's script, and the models that share a document, if any may."""
    entries = recording.entries
    if len(recording.touched) == 1:
        return Batch(entries), None
    documents = list({id(document): document for document in entries[::2]}.values())
    _check_slots(documents)
    twins = _Twins(documents)
    return Batch(twins.united(entries)), twins


def _sent(batch: Batch, twins: _Twins | None, *, skip_missing: bool) -> Awaitable[tuple[list[bytes], Any]]:
    """Send the script; what is returned gives the texts of the fields that are not known.

    Raises:
        pydantic.ValidationError: a field would not validate, as it is here: nothing is sent.
    """
    changed = None
    for share in batch.shares.values():
        document = share.document
        names: Iterable[Step | None] = share.fields
        if None in names:
            changed = _changed(batch.entries) if changed is None else changed
            names = changed.get(id(document), ())
        for model in (document,) if twins is None else twins.of(document):
            model._vet_fields(names)
        batch.read_changed(share)
    return _calls.apply(batch, skip_missing=skip_missing)


def _settle(batch: Batch, twins: _Twins | None, texts: Iterable[bytes]) -> None:
    """Make the models what Redis holds."""
    answers = iter(texts)
    for share in batch.shares.values():
        document, fields = share.document, share.fields
        fields.update(zip(share.unknown, answers, strict=False))
        for model in (document,) if twins is None else twins.of(document):
            model._refresh(fields)
            if _session._saving:
                _note(model, fields)


def _without(entries: Entries, documents: Container[int]) -> Entries:
    """Return the entries but for those of some documents, given by their identities."""
    return [part for entry in pairs(entries) if id(entry[0]) not in documents for part in entry]


def _changed(entries: Entries) -> dict[int, set[Step | None]]:
    """Return what is changed of each document, by its identity, and not by deleting it."""
    changed: dict[int, set[Step | None]] = {}
    for document, operation in pairs(entries):
        if operation.script != "document.delete":
            changed.setdefault(id(document), set()).add(operation.touches)
    return changed


def _note(model: Any, fields: Mapping[Step | None, bytes | None]) -> None:
    """Have blocks that save a model at their end know what Redis holds of it; of one that is gone there is no word."""
    for place, text in fields.items():
        if text:
            _session.agrees(model, () if place is None else (place,), None, text)
        elif place is not None:
            _session.lacks(model, str(place))


class _Twins:
    """Models of one document, among those that a block changes: the script gets all as changes of the first."""

    def __init__(self, documents: Iterable[Any]) -> None:
        self._models: dict[str, list[Any]] = {}
        for document in documents:
            self._models.setdefault(document.key, []).append(document)
        self._first = {id(model): models[0] for models in self._models.values() for model in models[1:]}

    def united(self, entries: Entries) -> Entries:
        """Return the operations, all of one document as changes of one model."""
        if not self._first:
            return entries
        united = list(entries)
        united[::2] = [self._first.get(id(document), document) for document in entries[::2]]
        return united

    def of(self, document: Any) -> Sequence[Any]:
        """Return all models of a document."""
        return self._models[document.key] if self._first else (document,)


def _check_slots(documents: Sequence[Any]) -> None:
    keys = {document.key: document for document in documents}
    clients = {id(config_of(document).redis) for document in documents}
    if len(clients) > 1:
        msg = "the models of one pipeline are bound to different clients: use one pipeline for each client"
        raise CrossSlot(msg)
    clustered = any(hasattr(config_of(document).redis, "nodes_manager") for document in keys.values())
    if clustered and len({hash_slot(key) for key in keys}) > 1:
        msg = f"the documents {sorted(keys)} live in different hash slots: give their keys a common {{tag}}"
        raise CrossSlot(msg)
