"""What makes a Pydantic model a part of documents: its class is prepared once, its fields are linked when touched.

Rules:
- Field values lie in `__dict__` as Pydantic made them. A `Field` descriptor wraps and links one when it is touched.
- Assigning a field goes through Pydantic's validation; inside a pipeline it is recorded as well.
- What is stored is Pydantic's JSON under field names, aliases aside, so that a path is what the model calls it.
- A user may call a nested plain model's field anything: nothing here asks `self` for a public name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, ValidationError

from rapyer import _classes, _codec, _content, _keys, _session, _storable, _validity
from rapyer._ops import Operation
from rapyer._path import absolute, render
from rapyer._schema import FieldReaders, FieldWriters
from rapyer.config import RedisConfig
from rapyer.errors import UsageError
from rapyer.types._base import STORAGE_CONFIG, decode, elsewhere, link_models, remembered
from rapyer.types._container import PLAIN, Container, adopt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from typing_extensions import Self

    from rapyer._link import Owner
    from rapyer._ops import Argument
    from rapyer._path import Step, Steps
    from rapyer.types._base import Plan

_N = TypeVar("_N", bound="Node")
_set = object.__setattr__


class Node(BaseModel):
    """A model that is a document or stands in one."""

    __slots__ = ("_hint", "_own_pk", "_owner")

    model_config: ClassVar[ConfigDict] = ConfigDict(validate_assignment=True, **STORAGE_CONFIG)

    Meta: ClassVar[Any] = RedisConfig()
    #: The class that plain models are linked with, which has all public methods.
    _public: ClassVar[Any] = None
    _plans: ClassVar[_classes.Plans]
    _readers: ClassVar[FieldReaders]
    _writers: ClassVar[FieldWriters]
    #: Whether the class has validators of the whole model, and what validates its fields without them.
    _judged: ClassVar[bool] = False
    _fields_alone: ClassVar[_validity.FieldsAlone]
    _stored_names: ClassVar[Any]
    #: Fields that Pydantic's own `__setattr__` would have its validator assign, and do nothing else.
    _assigned: ClassVar[frozenset[str]] = frozenset()
    _key_name: ClassVar[Any] = None
    #: The hash tag that leads the pk, and the fields that the key is made of.
    _tag: ClassVar[Any] = ()
    _key_fields: ClassVar[frozenset[str]] = frozenset()
    #: Whether an instance of this class ever stood in another model; asking a slot that is empty is slow.
    _was_inner: ClassVar[bool] = False
    _rapyer_plain: ClassVar[Any] = None

    if TYPE_CHECKING:
        _hint: ClassVar[Any]  # not a field to a type checker

        @classmethod
        def _read_document(cls, key: str, text: bytes) -> Self: ...

    # -- the class -------------------------------------------------------------------------------------------------

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Work out what is needed once for each class."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.Meta = _classes.make_config(cls, cls.__dict__.get("Meta"))
        cls._plans = _classes.Plans(cls, Node)
        cls._readers = FieldReaders(cls)
        cls._writers = FieldWriters(cls)
        cls._judged = bool(cls.__pydantic_decorators__.model_validators)
        cls._fields_alone = _validity.FieldsAlone(cls)
        open_model = cls.model_config.get("extra") == "allow"
        cls._stored_names = _AnyName() if open_model else frozenset(cls.__pydantic_fields__)
        cls._assigned = _classes.assigned_fields(cls)
        cls._key_name = _classes.key_field(cls)
        cls._tag = _classes.tag_parts(cls)
        cls._key_fields = frozenset({cls._key_name, *(name for _, name in cls._tag)} - {None})
        if Node._public is None:
            return  # the public class itself
        for name in cls.__pydantic_fields__:
            setattr(cls, name, _classes.Field(name))
        if cls._rapyer_plain is None:
            _classes.check_names(cls, Node._public)
            _classes.check_config(cls)
            _classes.models.add(cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make a schema whose values RedisJSON can hold."""
        try:
            schema: CoreSchema = handler(source)
        except PydanticSchemaGenerationError as error:
            raise _storable.unstorable(_storable.guilty_field(cls, handler)) from error
        if not cls.__pydantic_fields__:
            return schema
        reworked: CoreSchema = _storable.rework_model(cls, schema, handler, Node._public)
        return reworked

    @classmethod
    def _wrap(cls, value: Any, owner: Owner, place: Step, _: Plan) -> Any:
        """Link a nested model to where it is; one that stands elsewhere is copied first."""
        if not isinstance(value, Node):
            return value
        if not value._stands(owner, place):
            if not value._is_free():
                value = value.model_copy()
            elif _session.is_recording():
                _session.becomes_part(value)
            _set(value, "_owner", owner)
            if not value._was_inner:
                type(value)._was_inner = True
        _set(value, "_hint", place)
        return value

    def _stands(self, owner: Owner, place: Step) -> bool:
        """Whether this is the model of that place, and no other's."""
        return owner_of(self) is owner and not elsewhere(self, owner, place)

    def _is_free(self) -> bool:
        """Whether this is neither part of a model nor a document of its own."""
        if owner_of(self) is not None or own_pk(self) is not None:
            return False
        return self._key_name is None or not _session.is_recorded(self)

    # -- places ----------------------------------------------------------------------------------------------------

    def _document(self) -> Any:
        owner = owner_of(self) if self._was_inner else None
        return self if owner is None else owner._document()

    def _steps(self) -> Steps:
        owner = owner_of(self) if self._was_inner else None
        return () if owner is None else (*owner._steps(), owner._place_of(self, self._hint))

    @property
    def pk(self) -> str:
        """The primary key: the `KeyAnnotation` field as text, else a UUID4 of this instance.

        With `Meta.hash_tag` the tag leads it: `{customer-7}:<the rest>`.
        """
        if self._key_name is not None:
            return _classes.tagged(_classes.pk_text(self.__dict__[self._key_name]), self._tag, self.__dict__)
        own = own_pk(self)
        if own is None:
            own = _classes.tagged(_keys.new_pks(1)[0], self._tag, self.__dict__)
            _set(self, "_own_pk", own)
        return own

    @property
    def key(self) -> str:
        """The Redis key of the document: `{prefix}:{pk}`; a nested model has its root's."""
        document: Any = self._document() if self._was_inner else self
        own = own_pk(document) if document._key_name is None else None
        return _keys.document_key(document.class_key_initials(), own or document.pk)

    @property
    def field_name(self) -> str:
        """A nested model's own name: its field, its key in a dict, its index in a list; empty at the root."""
        owner = owner_of(self)
        return "" if owner is None else str(owner._place_of(self, self._hint))

    @property
    def field_path(self) -> str:
        """The path from the document's root: `.profile.address`; empty at the root."""
        return render(self._steps())

    @property
    def json_path(self) -> str:
        """The JSONPath as Redis takes it: `$` at the root, else `$` and `field_path`."""
        return absolute(self._steps())

    def is_inner_model(self) -> bool:
        """Return True if this model is a field of another or an element of its containers."""
        return owner_of(self) is not None

    # -- the owner's side of links ---------------------------------------------------------------------------------

    def _place_of(self, child: object, hint: Step) -> Step:
        if isinstance(child, (Node, Container)) and not self._holds(hint, child):
            msg = f"another value was assigned to {str(hint)!r} meanwhile: take it from the model again"
            raise UsageError(msg)
        return hint

    def _get(self, place: Step) -> Any:
        return getattr(self, str(place))

    def _holds(self, place: Step, child: object) -> bool:
        return self.__dict__.get(str(place)) is child

    def _put(self, place: Step, value: Any) -> None:
        self.__dict__[str(place)] = adopt(self.__dict__.get(str(place)), value)

    def _decode(self, place: Step, text: bytes) -> Any:
        if place not in type(self).__pydantic_fields__:
            return json.loads(text)
        return self._readers[str(place)].validate_json(text, by_name=True, by_alias=False)

    def _encode(self, place: Step, value: Any) -> tuple[Argument, ...]:
        return self._field_arguments(self._shadow({str(place): value}), str(place))

    def _shadow(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with these fields validated and set; what it shares with self it only reads."""
        shadow = self.__class__.__new__(self.__class__)
        _set(shadow, "__dict__", dict(self.__dict__))
        _set(shadow, "__pydantic_fields_set__", set(self.__pydantic_fields_set__))
        _set(shadow, "__pydantic_extra__", None if self.__pydantic_extra__ is None else dict(self.__pydantic_extra__))
        _set(shadow, "__pydantic_private__", self.__pydantic_private__)
        if self._judged:
            _validity.assign_all(shadow, values)
            return shadow
        for name, value in values.items():
            self.__pydantic_validator__.validate_assignment(shadow, name, value)
        return shadow

    def _revised(self, shadow: Node, given: Mapping[str, Any]) -> list[str]:
        """Return the given fields and those that the model's validators changed with them."""
        return [*given, *_validity.changed_besides(given, self.__dict__, shadow)] if self._judged else [*given]

    def _take_fields(self, shadow: Node, names: Iterable[str]) -> None:
        for name in names:
            self._put(name, shadow.__dict__[name])
            self.__pydantic_fields_set__.add(name)

    def _is_stored(self, name: str) -> bool:
        field = type(self).__pydantic_fields__.get(name)
        return field is None or not field.exclude

    @staticmethod
    def _field_arguments(model: Node, name: str) -> tuple[Argument, ...]:
        writer = model._writers[name]
        if writer is not None:
            return _codec.arguments(writer(model.__dict__[name]))
        text = model._dump(include={name})
        if text == b"{}":
            msg = f"field {name!r} of {type(model).__name__} is excluded from what is stored"
            raise UsageError(msg)
        return _codec.arguments(text[len(json.dumps(name, ensure_ascii=False).encode()) + 2 : -1])

    def _dump(self, include: Any = None) -> bytes:
        return self.__pydantic_serializer__.to_json(
            self, include=include, round_trip=True, by_alias=False, warnings="error"
        )

    def _become(self, key: str, text: bytes) -> None:
        """Become what Redis holds under this document's key."""
        self._take_over(self._read_document(key, text))
        _session.agrees(self._document())

    def _take_over(self, new: Node) -> None:
        """Become what another instance holds, which is of no use then; nested models and containers stay the same."""
        fresh = new.__dict__
        for name, present in self.__dict__.items():
            if present.__class__ not in PLAIN and name in fresh:
                fresh[name] = adopt(present, fresh[name])
        _set(self, "__dict__", fresh)
        _set(self, "__pydantic_fields_set__", new.__pydantic_fields_set__)
        _set(self, "__pydantic_extra__", new.__pydantic_extra__)

    # -- assignment ------------------------------------------------------------------------------------------------

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field, validated; inside `pipeline()` the change is recorded."""
            present = self.__dict__.get(name, _NOTHING)
            if value is present and isinstance(value, (Container, Node)):
                return  # what an in-place operator gives back
            recording = None
            if name in self._key_fields:
                self._check_key_stays(name)
            if _session.is_recording() and name in self._stored_names:
                document = self._document() if self._was_inner else self
                recording = _session.recording_of(document)
            done = () if recording is None else remembered(value, self, name, present)
            before = self.__dict__
            try:
                if name in self._assigned:
                    self.__pydantic_validator__.validate_assignment(self, name, value)
                else:
                    super().__setattr__(name, value)
            except ValidationError:
                _set(self, "__dict__", before)  # the model's validators see the value in its place
                raise
            if recording is None:
                return
            recording.add(document, *(done or (self._set_operation(name),)))
            if self._judged:
                others = filter(self._is_stored, _validity.changed_besides((name,), before, self))
                recording.add(document, *map(self._set_operation, others))
            if self._plans[name].has_models:
                link_models(getattr(self, name))

        def __delattr__(self, name: str) -> None:
            """Forget a field; inside `pipeline()` that is refused."""
            if _session.is_recording() and name in self._stored_names and _session.recording_of(self._document()):
                msg = f"a pipeline cannot delete the field {name!r}: assign None or its default"
                raise UsageError(msg)
            super().__delattr__(name)

    def _link_models(self) -> None:
        for name in type(self).__pydantic_fields__:
            if self._plans[name].has_models:
                link_models(getattr(self, name))

    def _check_key_stays(self, name: str) -> None:
        if owner_of(self) is None and _session.recording_of(self._document()) is not None:
            msg = f"{name!r} is the key of {type(self).__name__}: a pipeline cannot change it"
            raise UsageError(msg)

    def _set_operation(self, name: str) -> Operation:
        return Operation("value.set", self._steps(), self._field_arguments(self, name), name)

    # -- what pipelines need ---------------------------------------------------------------------------------------

    def _snapshot(self) -> Callable[[], None]:
        return _content.freeze(self)

    def _refresh(self, fields: Mapping[Step | None, bytes | None]) -> None:
        for name, text in fields.items():
            if text is None:
                continue
            if name is None:
                self._take_over(self._read_document(self.key, text))
            else:
                self._put(name, decode(self, name, text))

    # -- copies ----------------------------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        """Return a copy with the same pk and no place in another document."""
        return _with_pk_of(self, super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a deep copy with the same pk and no place in another document."""
        return _with_pk_of(self, super().__deepcopy__(memo))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the linked form of a plain model by the plain model's name."""
        if self._rapyer_plain is None:
            return super().__reduce_ex__(protocol)
        return _storable.new_linked, (self._rapyer_plain, Node._public), self.__getstate__()

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle with the pk and without links."""
        return {**super().__getstate__(), "_own_pk": self.pk if owner_of(self) is None else None}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take up what was pickled."""
        own = state.pop("_own_pk", None)
        super().__setstate__(state)
        if own is not None:
            _set(self, "_own_pk", own)


_NOTHING: Any = object()
_owner_slot = Node.__dict__["_owner"]
_pk_slot = Node.__dict__["_own_pk"]


def owner_of(model: Node) -> Any:
    if not model._was_inner:
        return None
    try:
        return _owner_slot.__get__(model)
    except AttributeError:
        return None


def own_pk(model: Node) -> str | None:
    try:
        own: str = _pk_slot.__get__(model)
    except AttributeError:
        return None
    return own


def _with_pk_of(model: Node, copy: _N) -> _N:
    if owner_of(model) is None:
        _set(copy, "_own_pk", model.pk)
    return copy


class _AnyName:
    """The names an open model stores: whatever it is given."""

    def __contains__(self, name: str) -> bool:
        return not name.startswith("_")
