"""`AtomicRedisModel`: fields, links, and methods that hand on to the layers below.

Rules:
- Field values lie in `__dict__` as Pydantic made them. A `Field` descriptor wraps and links one when it is touched.
- Assigning a field goes through Pydantic's validation; inside a pipeline it is recorded as well.
- What is stored is Pydantic's JSON under field names, aliases aside, so that a path is what the model calls it.
"""

from __future__ import annotations

import json
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, ValidationError

from rapyer import _classes, _codec, _content, _convert, _keys, _ops, _query, _session
from rapyer._dispatch import Where, dispatcher
from rapyer._lock import Lock
from rapyer._ops import Operation
from rapyer._path import absolute, render
from rapyer._pipeline import Pipeline
from rapyer._schema import FieldReaders
from rapyer.config import RedisConfig
from rapyer.errors import CorruptDocument, KeyNotFound, UsageError
from rapyer.types._base import STORAGE_CONFIG, decode, load_text, remembered
from rapyer.types._container import adopt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from typing_extensions import Self

    from rapyer._link import Owner
    from rapyer._ops import Argument
    from rapyer._path import Step, Steps
    from rapyer.types._base import Plan

__all__ = ["AtomicRedisModel"]

_set = object.__setattr__


class AtomicRedisModel(BaseModel):
    """A Pydantic model that lives in Redis as one RedisJSON document; every operation is one Lua script.

    Write the fields as plain annotations. Inside a document their values are Redis types, which are those Python types
    and have a place: `user.tags.aappend("x")`, `user.score.increase()`.

    `Meta`, a nested class, takes the options of `rapyer.config.RedisConfig`.
    """

    __slots__ = ("_hint", "_own_pk", "_owner")

    model_config = ConfigDict(validate_assignment=True, **STORAGE_CONFIG)

    Meta: ClassVar[Any] = RedisConfig()
    _plans: ClassVar[_classes.Plans]
    _readers: ClassVar[FieldReaders]
    _key_name: ClassVar[Any] = None
    _rapyer_plain: ClassVar[Any] = None

    # -- the class -------------------------------------------------------------------------------------------------

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Work out what is needed once for each class."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.Meta = _classes.make_config(cls, cls.__dict__.get("Meta"))
        cls._plans = _classes.Plans(cls, AtomicRedisModel)
        cls._readers = FieldReaders(cls)
        cls._key_name = _classes.key_field(cls)
        for name in cls.__pydantic_fields__:
            setattr(cls, name, _classes.Field(name))
        if cls._rapyer_plain is None:
            _classes.check_names(cls, AtomicRedisModel)
            _classes.models.add(cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make a schema whose values RedisJSON can hold."""
        try:
            schema: CoreSchema = handler(source)
        except PydanticSchemaGenerationError as error:
            raise _convert.unstorable(_convert.guilty_field(cls, handler)) from error
        if cls.__base__ is BaseModel:
            return schema  # this class itself: it has no fields
        reworked: CoreSchema = _convert.rework_model(cls, schema, handler, AtomicRedisModel)
        return reworked

    @classmethod
    def class_key_initials(cls) -> str:
        """Return what keys of this class start with: the class name, unless overridden."""
        return cls.__name__

    @classmethod
    def _wrap(cls, value: Any, owner: Owner, place: Step, _: Plan) -> Any:
        """Link a nested model to where it is; one that stands elsewhere is copied first."""
        if not isinstance(value, AtomicRedisModel):
            return value
        present = _owner_of(value)
        if present is owner:
            _set(value, "_hint", place)
            return value
        if present is not None or _own_pk(value) is not None:
            value = value.model_copy()
        _set(value, "_owner", owner)
        _set(value, "_hint", place)
        return value

    # -- places ----------------------------------------------------------------------------------------------------

    def _document(self) -> Any:
        owner = _owner_of(self)
        return self if owner is None else owner._document()

    def _steps(self) -> Steps:
        owner = _owner_of(self)
        return () if owner is None else (*owner._steps(), owner._place_of(self, self._hint))

    @property
    def pk(self) -> str:
        """The primary key: the `KeyAnnotation` field as text, else a UUID4 of this instance."""
        if self._key_name is not None:
            return _classes.pk_text(self.__dict__[self._key_name])
        own = _own_pk(self)
        if own is None:
            own = str(uuid.uuid4())
            _set(self, "_own_pk", own)
        return own

    @property
    def key(self) -> str:
        """The Redis key of the document: `{prefix}:{pk}`; a nested model has its root's."""
        document = self._document()
        return _keys.document_key(document.class_key_initials(), document.pk)

    @property
    def field_name(self) -> str:
        """A nested model's own name: its field, its key in a dict, its index in a list; empty at the root."""
        owner = _owner_of(self)
        return "" if owner is None else str(owner._place_of(self, self._hint))

    @property
    def field_path(self) -> str:
        """The path from the document's root: `.profile.address`; empty at the root."""
        return render(AtomicRedisModel._steps(self))

    @property
    def json_path(self) -> str:
        """The JSONPath as Redis takes it: `$` at the root, else `$` and `field_path`."""
        return absolute(AtomicRedisModel._steps(self))

    def is_inner_model(self) -> bool:
        """Return True if this model is a field of another or an element of its containers."""
        return _owner_of(self) is not None

    # -- the owner's side of links ---------------------------------------------------------------------------------

    def _place_of(self, _: object, hint: Step) -> Step:
        return hint

    def _get(self, place: Step) -> Any:
        return getattr(self, str(place))

    def _put(self, place: Step, value: Any) -> None:
        self.__dict__[str(place)] = adopt(self.__dict__.get(str(place)), value)

    def _decode(self, place: Step, text: bytes) -> Any:
        if place not in type(self).__pydantic_fields__:
            return json.loads(text)
        return self._readers[str(place)].validate_json(b"[%b]" % text, by_name=True, by_alias=False)[0]

    def _encode(self, place: Step, value: Any) -> tuple[Argument, ...]:
        return self._field_arguments(self._shadow({str(place): value}), str(place))

    def _shadow(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with these fields validated and set; what it shares with self it only reads."""
        shadow = self.__class__.__new__(self.__class__)
        _set(shadow, "__dict__", dict(self.__dict__))
        _set(shadow, "__pydantic_fields_set__", set(self.__pydantic_fields_set__))
        _set(shadow, "__pydantic_extra__", None if self.__pydantic_extra__ is None else dict(self.__pydantic_extra__))
        _set(shadow, "__pydantic_private__", self.__pydantic_private__)
        for name, value in values.items():
            self.__pydantic_validator__.validate_assignment(shadow, name, value)
        return shadow

    @staticmethod
    def _field_arguments(model: AtomicRedisModel, name: str) -> tuple[Argument, ...]:
        text = model._dump(include={name})
        if text == b"{}":
            msg = f"field {name!r} of {type(model).__name__} is excluded from what is stored"
            raise UsageError(msg)
        return _codec.arguments(text[len(json.dumps(name, ensure_ascii=False).encode()) + 2 : -1])

    def _dump(self, include: Any = None) -> bytes:
        return self.__pydantic_serializer__.to_json(
            self, include=include, round_trip=True, by_alias=False, warnings="error"
        )

    def _take_over(self, new: AtomicRedisModel) -> None:
        """Become what another instance holds; nested models and containers stay the same objects."""
        values = self.__dict__
        fresh = {name: adopt(values.get(name), value) for name, value in new.__dict__.items()}
        values.clear()
        values.update(fresh)
        _set(self, "__pydantic_fields_set__", new.__pydantic_fields_set__)
        _set(self, "__pydantic_extra__", new.__pydantic_extra__)

    # -- assignment ------------------------------------------------------------------------------------------------

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field, validated; inside `pipeline()` the change is recorded."""
            present = self.__dict__.get(name, _NOTHING)
            if value is present and isinstance(value, (list, dict, set)):
                return  # what an in-place operator gives back
            recording = _session.recording_of(self._document()) if name in _stored(self) else None
            if recording is None:
                super().__setattr__(name, value)
                return
            done = remembered(value, self, name, present)
            super().__setattr__(name, value)
            recording.add(self._document(), *(done or self._set_operations(name)))

    def _set_operations(self, *names: str) -> list[Operation]:
        steps = AtomicRedisModel._steps(self)
        return [Operation("value.set", steps, self._field_arguments(self, name), name) for name in names]

    # -- what pipelines need ---------------------------------------------------------------------------------------

    def _snapshot(self) -> Any:
        return _content.freeze(self)

    def _restore(self, snapshot: Any) -> None:
        snapshot()

    def _refresh(self, fields: dict[Step, bytes | None]) -> None:
        for name, text in fields.items():
            if text is None:
                continue
            if name == "":
                self._take_over(self._read_document(self.key, text))
            else:
                self._put(name, decode(self, name, text))

    # -- documents -------------------------------------------------------------------------------------------------

    @classmethod
    def _read_document(cls, key: str, text: bytes) -> Self:
        try:
            self: Self = cls.__pydantic_validator__.validate_json(text, by_name=True, by_alias=False)
        except ValidationError as error:
            raise CorruptDocument(key) from error
        _set(self, "_own_pk", _keys.pk_of(cls.class_key_initials(), key))
        return self

    @classmethod
    def _full_key(cls, key: str) -> str:
        prefix = cls.class_key_initials()
        full = _keys.full_key(prefix, key)
        if not _classes.models.belongs(prefix, full):
            raise KeyNotFound(full)
        return full

    @classmethod
    async def _load_text(cls, key: str) -> bytes:
        ttl = _session.read_ttl(cls.Meta)
        script = "document.load_refresh" if ttl else "document.load"
        caller = dispatcher(_session.bound_client(cls.Meta, cls.__name__))
        text: bytes = await caller.script(script, (key,), (ttl,) if ttl else (), lambda _: Where(key))
        return text

    async def save(self) -> Self:
        """Write the whole document, new or not; a nested model writes its own part.

        One round trip, one script (`document.save`, nested `value.set`), atomic; sets the ttl. Inside `pipeline()` it
        joins the block.

        Returns:
            self.

        Raises:
            KeyNotFound: only nested: the document is gone; nothing is recreated.
            PathNotFound: only nested: what the model is in is gone.
            WrongType: the key holds something that is no document.
            LockLost: a lock this task holds on the document was lost.
            OutcomeUnknown: the connection was lost before the answer.
        """
        owner = _owner_of(self)
        if owner is None:
            operation = Operation("document.save", (), _codec.arguments(self._dump()))
        else:
            place = owner._place_of(self, self._hint)
            operation = Operation("value.set", owner._steps(), _codec.arguments(self._dump()), place)
        await _session.run(self._document(), operation)
        return self

    async def load(self) -> Self:
        """Refresh self from Redis, in place; nested models and containers stay the same objects.

        One round trip, one script (`document.load`, nested `value.load`).

        Returns:
            self.

        Raises:
            KeyNotFound: there is no document.
            PathNotFound: only nested: this part is gone.
            CorruptDocument: what is stored does not validate.
        """
        owner = _owner_of(self)
        if owner is None:
            key = self.key
            self._take_over(self._read_document(key, await self._load_text(key)))
        else:
            place = owner._place_of(self, self._hint)
            text = await load_text(self._document(), AtomicRedisModel.json_path.fget(self))  # type: ignore[attr-defined]
            owner._put(place, decode(owner, place, text))
        return self

    async def delete(self) -> bool:
        """Delete the document.

        One round trip, one script (`document.delete`), atomic. Inside `pipeline()` it joins the block.

        Returns:
            True when something was deleted, False when it was not there; True when it joined a block.

        Raises:
            UsageError: this is a nested model.
            WrongType: the key holds something that is no document.
            LockLost, OutcomeUnknown: as for every write.
        """
        self._check_root("delete()", "assign None to its field or remove it from its list")
        reply = await _session.run(self, Operation("document.delete", ()))
        return True if reply is None else bool(reply[0])

    def _check_root(self, what: str, instead: str) -> None:
        if _owner_of(self) is not None:
            msg = f"{what} is for documents, and this {type(self).__name__} is part of one: {instead}"
            raise UsageError(msg)

    async def duplicate(self) -> Self:
        """Save a copy of the present values under a new pk and return it; see `duplicate_many`."""
        return (await self.duplicate_many(1))[0]

    async def duplicate_many(self, num: int) -> list[Self]:
        """Save copies of the present values under new pks.

        One round trip, one script (`document.duplicate`), atomic: all or none. The payload is sent once.

        Args:
            num: how many, 0 or more.

        Returns:
            the copies.

        Raises:
            UsageError: `num` is no such number, this is a nested model, or its key field has no `default_factory`
                to make new keys (or it made one that is taken).
            OutcomeUnknown: the connection was lost before the answer.
        """
        self._check_root("duplicate()", "duplicate the document")
        if not isinstance(num, int) or isinstance(num, bool) or num < 0:
            msg = f"duplicate_many() takes a number of copies, 0 or more, not {num!r}"
            raise UsageError(msg)
        text = self._dump()
        copies = [self._copy_of(text) for _ in range(num)]
        if copies:
            await self._write_copies(copies, text)
        return copies

    def _copy_of(self, text: bytes) -> Self:
        copy: Self = self.__pydantic_validator__.validate_json(text, by_name=True, by_alias=False)
        if self._key_name is not None:
            copy.__dict__[self._key_name] = self._new_key()
        return copy

    def _new_key(self) -> Any:
        field = type(self).__pydantic_fields__[self._key_name]
        if field.default_factory is None:
            msg = (
                f"{type(self).__name__}.{self._key_name} is the key and has no default_factory to make new ones: "
                "give it one, or make the copy with model_copy(update=...) and save() it"
            )
            raise UsageError(msg)
        return field.get_default(call_default_factory=True, validated_data=dict(self.__dict__))

    async def _write_copies(self, copies: list[Self], text: bytes) -> None:
        keys = [copy.key for copy in copies]
        arguments = [_session.milliseconds(self.Meta.ttl), *_codec.arguments(text)]
        if self._key_name is None:
            arguments.append("")
        else:
            arguments.append(absolute((self._key_name,)))
            arguments += [self._field_arguments(copy, self._key_name)[0] for copy in copies]
        caller = _session.dispatcher_of(self)
        await caller.script("document.duplicate", keys, arguments, lambda index: Where(keys[index]))

    def update(self, **kwargs: Any) -> None:
        """Set fields here, validated, all or none; Redis learns of it by `save()`, or at once inside `pipeline()`.

        Raises:
            UsageError: a field is unknown.
            pydantic.ValidationError: a value does not fit; nothing is changed.
        """
        self._check_fields(kwargs)
        shadow = self._shadow(kwargs)
        recording = _session.recording_of(self._document())
        for name in kwargs:
            self._put(name, shadow.__dict__[name])
            self.__pydantic_fields_set__.add(name)
        if recording is not None:
            recording.add(self._document(), *self._set_operations(*kwargs))

    async def aupdate(self, **kwargs: Any) -> None:
        """Set fields in Redis and here, and nothing else of the document.

        All values are validated first. One round trip, one script (`document.update`), atomic. Inside `pipeline()` it
        joins the block.

        Raises:
            UsageError: a field is unknown or is the key.
            pydantic.ValidationError: a value does not fit; nothing is changed, here or there.
            KeyNotFound: the document is gone; nothing is recreated, and nothing changed here.
            PathNotFound, WrongType: only nested: this part is gone or something else.
            LockLost, OutcomeUnknown: as for every write.
        """
        self._check_fields(kwargs)
        document = self._document()
        if self._key_name in kwargs and document is self:
            msg = f"{self._key_name!r} is the key of {type(self).__name__}: save() a copy with another one instead"
            raise UsageError(msg)
        if not kwargs:
            return
        if _session.recording_of(document) is not None:
            self.update(**kwargs)
            return
        shadow = self._shadow(kwargs)
        values = [(name, self._field_arguments(shadow, name)) for name in kwargs]
        await _session.run(document, *_ops.update("document.update", AtomicRedisModel._steps(self), values))
        for name in kwargs:
            self._put(name, shadow.__dict__[name])
            self.__pydantic_fields_set__.add(name)

    def _check_fields(self, names: Mapping[str, Any]) -> None:
        unknown = sorted(names.keys() - type(self).__pydantic_fields__.keys())
        if unknown:
            known = ", ".join(type(self).__pydantic_fields__)
            msg = f"{type(self).__name__} has no field {', '.join(unknown)}; its fields are: {known}"
            raise UsageError(msg)

    # -- by key ----------------------------------------------------------------------------------------------------

    @classmethod
    async def get(cls, key: str) -> Self:
        """Return the document under a key.

        One round trip, one script (`document.load`).

        Args:
            key: a full key of this class, or a bare pk.

        Raises:
            KeyNotFound: there is none, or it is another class's.
            WrongType: the key holds something that is no document.
            CorruptDocument: what is stored does not validate.
        """
        full = cls._full_key(key)
        return cls._read_document(full, await cls._load_text(full))

    @classmethod
    async def delete_by_key(cls, key: str) -> bool:
        """Delete the document under a key without loading it.

        One round trip, one script (`document.delete`), atomic.

        Args:
            key: a full key of this class, or a bare pk.

        Returns:
            True when something was deleted, False when it was not there or is another class's.

        Raises:
            WrongType: the key holds something that is no document.
            LockLost, OutcomeUnknown: as for every write.
        """
        try:
            full = cls._full_key(key)
        except KeyNotFound:
            return False
        reply = await _session.run(_ByKey(cls, full), Operation("document.delete", ()))
        return True if reply is None else bool(reply[0])

    @classmethod
    async def afind_keys(cls) -> list[str]:
        """Return the keys of all documents of this class, each once, in no order.

        Walks the keys with SCAN: one round trip for each thousand keys of the database. A key that is added or
        removed meanwhile may be in or not.
        """
        client = _session.bound_client(cls.Meta, cls.__name__)
        prefix = cls.class_key_initials()
        walk = _query.find_keys(client, prefix, lambda key: _classes.models.belongs(prefix, key))
        return [key async for key in walk]

    @classmethod
    async def afind(cls) -> list[Self]:
        """Return all documents of this class; those that vanish meanwhile are left out.

        One round trip for each thousand keys of the database and for each hundred documents (`document.load_many`).

        Raises:
            CorruptDocument: one does not validate.
        """
        keys = await cls.afind_keys()
        client = _session.bound_client(cls.Meta, cls.__name__)
        found: list[Self] = []
        for start in range(0, len(keys), _query.LOAD_BATCH):
            texts = await _query.load_many(client, keys[start : start + _query.LOAD_BATCH], cls.Meta)
            found += [cls._read_document(key, text) for key, text in texts]
        return found

    # -- blocks ----------------------------------------------------------------------------------------------------

    def pipeline(self, ignore_if_deleted: bool = False) -> Pipeline:  # noqa: FBT001, FBT002 - as asked for
        """Collect what the block does to this model and carry it out as one script, all or nothing.

        Entering refreshes the model (1 round trip); leaving sends the script (`batch.apply`, 1 round trip), after which
        the model's touched fields are what Redis holds. If anything raises, nothing is written and the model is as
        it was on entry.

        Args:
            ignore_if_deleted: whether a document that is gone is left alone instead of a `KeyNotFound`.

        Returns:
            an async context manager that gives the model.

        Raises:
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType, OutOfRange, IndexError, KeyError, ValueError, ZeroDivisionError: an operation was
                refused; none of the block was written.
            LockLost, OutcomeUnknown: as for every write.
        """
        return Pipeline(self._document(), self, ignore_if_deleted=ignore_if_deleted)

    @asynccontextmanager
    async def lock(
        self,
        action: str = "default",
        save_at_end: bool = False,  # noqa: FBT001, FBT002 - as asked for
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the wait for the lock, not the body
        lease: float | None = None,
    ) -> AsyncGenerator[Self, None]:
        """Hold an exclusive lock on this document while the block runs, and refresh self under it.

        Two round trips in all: acquiring loads (`lock.acquire`); leaving saves and releases (`batch.apply`) or just
        releases (`lock.release`).

        Args:
            action: the lock's name; different actions of one document do not exclude each other.
            save_at_end: whether what the body changed, and only that, is saved when it ends without error.
            timeout: seconds to wait for the lock; None waits as long as it takes.
            lease: seconds until a lock whose holder died ends by itself; None means `Meta.lock_lease`.

        Raises:
            LockTimeout: the lock was not to be had in time.
            LockLost: the lease had ended when the block wrote; nothing was written.
            KeyNotFound: there is no document; the lock is released.
            UsageError: this task holds the lock already.
        """
        document = self._document()
        lock = document._new_lock(document.key, action, timeout, lease)
        text = await lock.acquire()
        async with _held(lock, document, text, save=save_at_end):
            yield self

    @classmethod
    @asynccontextmanager
    async def lock_from_key(  # noqa: PLR0913 - as asked for
        cls,
        key: str,
        action: str = "default",
        save_at_end: bool = False,  # noqa: FBT001, FBT002 - as asked for
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the wait for the lock, not the body
        lease: float | None = None,
    ) -> AsyncGenerator[Self, None]:
        """Hold an exclusive lock on the document under a key and yield it as loaded under the lock; see `lock`.

        Args:
            key: a full key of this class, or a bare pk.
            action: see `lock`.
            save_at_end: see `lock`.
            timeout: see `lock`.
            lease: see `lock`.
        """
        full = cls._full_key(key)
        lock = cls._new_lock(full, action, timeout, lease)
        text = await lock.acquire()
        async with _held(lock, None, text, save=save_at_end, cls=cls) as model:
            yield model

    @classmethod
    def _new_lock(cls, key: str, action: str, timeout: float | None, lease: float | None) -> Lock:
        client = _session.bound_client(cls.Meta, cls.__name__)
        return Lock(client, cls.Meta, key, action, timeout, lease)

    # -- copies ----------------------------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        """Return a copy with the same pk and no place in another document."""
        return _with_pk_of(self, super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a deep copy with the same pk and no place in another document."""
        return _with_pk_of(self, super().__deepcopy__(memo))

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle with the pk and without links."""
        return {**super().__getstate__(), "_own_pk": self.pk if _owner_of(self) is None else None}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take up what was pickled."""
        own = state.pop("_own_pk", None)
        super().__setstate__(state)
        if own is not None:
            _set(self, "_own_pk", own)


class _ByKey:
    """A document that was not loaded: its key and the options of its class."""

    def __init__(self, cls: type[AtomicRedisModel], key: str) -> None:
        self.Meta = cls.Meta
        self.key = key


@asynccontextmanager
async def _held(
    lock: Lock, model: Any, text: bytes, *, save: bool, cls: Any = None
) -> AsyncGenerator[Any, None]:
    """Give the model as it is under the lock; save what changed, and release, however the block ends."""
    try:
        fresh = (cls or type(model))._read_document(lock.key, text)
        if model is None:
            model = fresh
        else:
            model._take_over(fresh)
        before = model._dump()
        yield model
        changes = list(_content.changes(before, model._dump())) if save else []
    except BaseException:
        await lock.release()
        raise
    await lock.save_and_release(model, changes)


_NOTHING: Any = object()
_owner_slot = AtomicRedisModel.__dict__["_owner"]
_pk_slot = AtomicRedisModel.__dict__["_own_pk"]


def _owner_of(model: AtomicRedisModel) -> Any:
    try:
        return _owner_slot.__get__(model)
    except AttributeError:
        return None


def _own_pk(model: AtomicRedisModel) -> str | None:
    try:
        own: str = _pk_slot.__get__(model)
    except AttributeError:
        return None
    return own


def _with_pk_of(model: AtomicRedisModel, copy: Any) -> Any:
    if _owner_of(model) is None:
        _set(copy, "_own_pk", model.pk)
    return copy


def _stored(model: AtomicRedisModel) -> Any:
    """Return the names that are part of the document: all fields, and whatever an open model takes."""
    cls = type(model)
    return _Everything if cls.model_config.get("extra") == "allow" else cls.__pydantic_fields__


class _Names:
    def __contains__(self, name: str) -> bool:
        return not name.startswith("_")


_Everything = _Names()
