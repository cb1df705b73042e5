"""The longer parts of the model's public methods: what a lock block does, and writing copies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from rapyer import _classes, _codec, _content, _keys, _log, _session
from rapyer._dispatch import ERRORS, Care, Where
from rapyer._lock import Lock
from rapyer._path import absolute
from rapyer._placed import give_key
from rapyer._tasks import to_its_end
from rapyer.errors import NotReplicated, OutcomeUnknown, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rapyer._ops import Operation

M = TypeVar("M")

#: Copies that an error names, at most.
MOST_NAMED = 5


class LockOptions(NamedTuple):
    """What a lock block was asked for."""

    save: bool
    timeout: float | None
    lease: float | None


class ByKey:
    """A document that was not loaded: its key and the options of its class."""

    def __init__(self, cls: Any, key: str) -> None:
        self.Meta = cls.Meta
        self.key = key

    def _snapshot(self) -> Callable[[], None]:
        return _nothing

    def _is_free(self) -> bool:
        return False

    def _refresh(self, _: Any) -> None:
        """Nothing of it is here."""

    def _vet_fields(self, _: Any) -> None:
        """Nothing of it is here."""


def _nothing() -> None:
    """Put nothing back."""


class LockBlock(Generic[M]):
    """An async context manager: hold an exclusive lock on a document while the block runs; made by `lock()`.

    Args:
        cls: the document's class.
        key: gives the document's key; asked when the block is entered.
        target: what entering gives; None for a new instance.
        action: the lock's name.
        options: whether to save at the end, seconds to wait, seconds of the lease.
    """

    _lock: Lock | None = None
    _in_use = False
    _document: Any = None
    _baseline: _content.Baseline | None = None

    def __init__(self, cls: Any, key: Callable[[], str], target: M | None, action: str, options: LockOptions) -> None:
        self._cls = cls
        self._key = key
        self._target: Any = target
        self._action = action
        self._options = options

    def __repr__(self) -> str:
        """Tell whether the lock is held."""
        state = "not held" if self._lock is None else f"held, fence {self._lock.fence}"
        return f"<lock {self._action!r} of {self._cls.__name__}, {state}>"

    @property
    def fence(self) -> int:
        """The fencing number of this acquisition: larger than that of every earlier one of this lock.

        It is the server's clock in microseconds: smaller if that was set back while nobody held the lock.
        Pass it to other systems that can refuse a request with a smaller number than they have seen.

        Raises:
            UsageError: the lock is not held.
        """
        if self._lock is None:
            msg = "the fencing number is there while the block runs: lock = user.lock(); async with lock: lock.fence"
            raise UsageError(msg)
        return self._lock.fence

    async def __aenter__(self) -> M:
        """Wait for the lock; refresh the model, or make it, from the document as it is under the lock."""
        if self._in_use:
            msg = "this block is in use: call lock() again for another one"
            raise UsageError(msg)
        self._in_use, lock = True, None
        try:
            cls, options = self._cls, self._options
            config = cls.Meta
            client = _session.bound_client(config, cls)
            key, target = self._key(), self._target
            self._document = None if target is None else target._document()
            if options.save and _session.is_recording():
                self._check_not_recorded(key)
            lock = Lock(client, config, key, self._action, options.timeout, options.lease)
            inside = self._refresh(key, text := await lock.acquire())
            if options.save:
                dump = self._document._dump
                self._baseline = _content.Baseline(dump, dump(loaded=True), text)
                _session.begin_saving(self._document, self._baseline)
        except BaseException:
            self._in_use = False
            if lock is not None:
                await lock.abandon()
            raise
        self._lock = lock
        return inside

    def _check_not_recorded(self, key: str) -> None:
        """Refuse to save what a pipeline around this block records already: it would be written twice."""
        document = ByKey(self._cls, key) if self._target is None else self._document
        if _session.recording_of(document) is not None:
            msg = f"lock(save_at_end=True) of {key!r} inside its pipeline: take the lock first, the pipeline inside it"
            raise UsageError(msg)

    def _refresh(self, key: str, text: bytes) -> M:
        if self._target is None:
            self._document = found = self._cls._read_document(key, text)
            return cast("M", found)
        target, document = self._target, self._document
        if target._document() is not document:
            msg = f"the model became a part of another document while it waited for the lock of {key!r}: lock that one"
            raise UsageError(msg)
        document._become(key, text)
        if document is not target:
            target._steps()  # refused where that is no part of the document any more: its changes would be lost
        return cast("M", target)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Save what changed, and release, however the block ends."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        baseline, self._baseline = self._baseline, None
        others = () if baseline is None else _session.end_saving(self._document, baseline)
        try:
            if kind is None:
                lock.check_task()
                await lock.save_and_release(self._document, [] if baseline is None else self._changes(baseline))
                if others and baseline is not None:  # as a block around this one, which has nothing left to save of it
                    _session.tell(others, (), baseline.sent, b"")
            else:
                await lock.part(error)
        except BaseException as failed:
            if kind is None:
                await lock.part(failed)
            raise
        finally:
            self._in_use = False

    def _changes(self, baseline: _content.Baseline) -> list[Operation]:
        """Return what is to be saved."""
        document = self._document
        try:
            changes = baseline.changes()
        except _codec.Inexact as error:
            raise error.at(document.key, ()) from None
        if changes and document._rules.deep:  # asked here, too: mostly there is nothing to vet
            document._vet_fields(operation.touches for operation in changes)
        return changes


async def write_copies(model: Any, text: bytes, count: int) -> list[Any]:
    """Save copies of a model under new pks: as one script, on a cluster as one for each slot they fall into."""
    if count == 0:
        return []
    copies = [_copy_of(model, text)]  # a value that does not come back is found before anything is written
    name, prefix = model._key_name, model.class_key_initials()
    values = _new_pks(model, count) if name is None else [_new_key(model) for _ in range(count)]
    pks = values if name is None else [_pk_with(model, name, value) for value in values]
    keys = [_keys.document_key(prefix, pk) for pk in pks]
    call = asyncio.ensure_future(_write(model, text, keys, values))
    try:
        await asyncio.sleep(0)  # the script is on its way: the other copies are made while the server works
        copies += [_copy_of(model, text) for _ in range(count - 1)]
        for copy, value, key in zip(copies, values, keys, strict=True):
            if name is None:
                give_key(copy, value, key)
            else:
                copy.__dict__[name] = value
        await call
    except BaseException:
        call.cancel()
        await asyncio.wait([call])  # on a cluster it takes back what it made
        if not call.cancelled():
            call.exception()  # that of a call which was given up was logged
        raise
    return copies


async def _write(model: Any, text: bytes, keys: list[str], values: list[Any]) -> None:
    caller = _session.dispatcher_of(model)
    groups = _keys.by_slot(keys) if caller.clustered else [keys]
    if len(groups) == 1:
        try:
            await _write_group(model, text, keys, values)
        except NotReplicated as error:
            await to_its_end(_take_back(model, groups, [error]))
            raise
        return
    of_key = dict(zip(keys, values, strict=True))
    if len(of_key) < len(keys):
        twin = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise ERRORS["KEY_EXISTS"](Where(twin), "")
    calls = [_write_group(model, text, group, [of_key[key] for key in group]) for group in groups]
    under_way = asyncio.gather(*calls, return_exceptions=True)
    try:
        outcomes = await asyncio.shield(under_way)
    except asyncio.CancelledError:
        await _take_back(model, groups, await under_way)
        raise
    failures = [outcome for outcome in outcomes if outcome is not None]
    if failures:
        await to_its_end(_take_back(model, groups, outcomes))
        raise failures[0]


async def _write_group(model: Any, text: bytes, keys: list[str], values: list[Any]) -> None:
    name = model._key_name
    try:
        arguments = [_session.milliseconds(model.Meta.ttl), *_codec.arguments(text, _codec.DEEPEST)]
    except _codec.Inexact as error:
        raise error.at(model.key, ()) from None
    arguments.append("" if name is None else absolute((name,)))
    if name is not None:
        arguments += [model._encode(name, value)[0] for value in values]
    caller = _session.dispatcher_of(model)
    care = _session.care_of(model.Meta)
    await caller.script("document.duplicate", keys, arguments, lambda index: Where(keys[index]), care)


async def _take_back(model: Any, groups: list[list[str]], outcomes: list[Any]) -> None:
    """Remove the copies of the groups that were written; where that is not known, only if no key can be another's.

    Raises:
        OutcomeUnknown: some may be left; the first failure is its cause.
    """
    made: list[str] = []
    left: list[str] = []
    for group, outcome in zip(groups, outcomes, strict=True):
        if outcome is None or isinstance(outcome, NotReplicated):
            made += group
        elif isinstance(outcome, OutcomeUnknown):
            (made if model._key_name is None else left).extend(group)
    caller = _session.dispatcher_of(model)
    # By its operation id a removal is repeated until it is known: those of a primary that is gone find its heir.
    removals = (caller.script("document.delete", (key,), ("", "0", "$"), Where(key), Care(True, 0)) for key in made)  # noqa: FBT003
    for key, outcome in zip(made, await asyncio.gather(*removals, return_exceptions=True), strict=True):
        if isinstance(outcome, BaseException):
            left.append(key)
    if left:
        _log.copies_left(left)
        some = ", ".join(map(repr, left[:MOST_NAMED])) + ", ..." * (len(left) > MOST_NAMED)
        msg = f"not all copies could be written, and {len(left)} may be left, to be deleted: {some}"
        raise OutcomeUnknown(msg) from next((outcome for outcome in outcomes if outcome is not None), None)


def _new_pks(model: Any, count: int) -> list[str]:
    pks, tag = _keys.new_pks(count), model._tag
    return [_classes.tagged(own, tag, model.__dict__) for own in pks] if tag else pks


def _pk_with(model: Any, name: str, value: Any) -> str:
    return _classes.tagged(_classes.pk_text(value), model._tag, {**model.__dict__, name: value})


def _copy_of(model: Any, text: bytes) -> Any:
    return model.__pydantic_validator__.validate_json(text, by_name=True, by_alias=False)


def _new_key(model: Any) -> Any:
    field = type(model).__pydantic_fields__[model._key_name]
    if field.default_factory is None:
        msg = (
            f"{type(model).__name__}.{model._key_name} is the key and has no default_factory to make new ones: "
            "give it one, or make the copy with model_copy(update=...) and save() it"
        )
        raise UsageError(msg)
    return field.get_default(call_default_factory=True, validated_data=dict(model.__dict__))
