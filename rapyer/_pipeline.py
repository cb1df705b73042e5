"""`pipeline()`: collect what a block does to its models, send it as one script, and leave the models as Redis is.

Rules:
- Entering refreshes the models and remembers what was read: should anything raise, they are put back to it.
- Leaving sends one `batch.apply`: all or nothing. Its answer brings the fields that were touched, with what others did.
- A block inside a block on the same model, in the same task, joins the outer one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from rapyer import _session
from rapyer._keys import hash_slot
from rapyer._link import config_of
from rapyer._ops import squash
from rapyer.errors import CrossSlot, KeyNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rapyer._path import Step, Steps


class Model(Protocol):
    """What a pipeline needs to know of a model."""

    Meta: Any

    @property
    def key(self) -> str: ...

    async def load(self) -> Any: ...

    def _snapshot(self) -> Any: ...

    def _restore(self, snapshot: Any) -> None: ...

    def _refresh(self, fields: dict[Step, bytes | None]) -> None: ...


class Pipeline:
    """An async context manager around a block whose changes are one script.

    Args:
        model: the root model of the block; None for `rapyer.pipeline()`, which takes any.
        target: what entering gives: the model, or the nested model the block was opened on.
        ignore_if_deleted: whether a document that is gone is left alone instead of a `KeyNotFound`.
    """

    def __init__(self, model: Any, target: Any, *, ignore_if_deleted: bool) -> None:
        self._model = model
        self._target = target
        self._ignore = ignore_if_deleted
        self._recording: _session.Recording | None = None
        self._token: Any = None
        self._snapshots: dict[int, Any] = {}

    async def __aenter__(self) -> Any:
        """Refresh the model, unless the block joins one around it, and start to record."""
        if self._model is not None and _session.recording_of(self._model) is not None:
            return self._target
        documents = None
        if self._model is not None:
            await self._load()
            documents = [self._model]
        self._recording = _Recorder(_session._recording.get(), documents, self._snapshots)
        self._token = _session._recording.set(self._recording)
        return self._target

    async def _load(self) -> None:
        try:
            await self._model.load()
        except KeyNotFound:
            if not self._ignore:
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what was recorded; put the models back if anything raised."""
        if self._recording is None:
            return
        _session._recording.reset(self._token)
        if kind is not None:
            self._put_back()
            return
        try:
            await self._commit(self._recording)
        except BaseException:
            self._put_back()
            raise

    def _put_back(self) -> None:
        for document, snapshot in self._snapshots.values():
            document._restore(snapshot)

    async def _commit(self, recording: _session.Recording) -> None:
        entries = squash(recording.entries)
        if not entries:
            return
        _check_slots(document for document, _ in entries)
        reads = _touched(entries)
        texts, _ = await _session.apply(entries, reads, skip_missing=self._ignore)
        fresh: dict[int, tuple[Any, dict[Step, bytes | None]]] = {}
        for (document, steps), text in zip(reads, texts, strict=True):
            place = steps[0] if steps else ""
            fresh.setdefault(id(document), (document, {}))[1][place] = text
        for document, fields in fresh.values():
            document._refresh(fields)


class _Recorder(_session.Recording):
    """A recording that remembers each model as it was before its first change."""

    def __init__(self, outer: Any, documents: Any, snapshots: dict[int, Any]) -> None:
        super().__init__(outer, documents)
        self._snapshots = snapshots
        for document in documents or ():
            snapshots[id(document)] = (document, document._snapshot())

    def touch(self, document: Any) -> None:
        if id(document) not in self._snapshots:
            self._snapshots[id(document)] = (document, document._snapshot())


def _touched(entries: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Steps]]:
    """Return what to read afterwards: each document's touched fields, or all of it."""
    places: dict[int, tuple[Any, dict[Step | None, None]]] = {}
    for document, operation in entries:
        places.setdefault(id(document), (document, {}))[1][operation.touches] = None
    reads: list[tuple[Any, Steps]] = []
    for document, touched in places.values():
        if None in touched:
            reads.append((document, ()))
        else:
            reads += [(document, (place,)) for place in touched if place is not None]
    return reads


def _check_slots(documents: Iterable[Any]) -> None:
    distinct = list({id(document): document for document in documents}.values())
    if len(distinct) == 1:
        return
    keys = {document.key: document for document in distinct}
    clients = {id(config_of(document).redis) for document in keys.values()}
    if len(clients) > 1:
        msg = "the models of one pipeline are bound to different clients: use one pipeline for each client"
        raise CrossSlot(msg)
    clustered = any(hasattr(config_of(document).redis, "nodes_manager") for document in keys.values())
    if clustered and len({hash_slot(key) for key in keys}) > 1:
        msg = f"the documents {sorted(keys)} live in different hash slots: give their keys a common {{tag}}"
        raise CrossSlot(msg)
