"""What makes a Pydantic model a part of documents: its class is prepared once, its fields are linked when touched.

Rules:
- Field values lie in `__dict__` as Pydantic made them. A `Field` descriptor wraps and links one when it is touched.
- Assigning a field goes through Pydantic's validation; inside a pipeline it is recorded as well.
- What is stored is Pydantic's JSON under field names, aliases aside, so that a path is what the model calls it.
- A user may call a nested plain model's field anything: nothing here asks `self` for a public name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, PydanticSchemaGenerationError, ValidationError
from pydantic_core import PydanticSerializationError

from rapyer import _classes, _codec, _content, _linked, _session, _storable, _validity
from rapyer._collected import recording_here
from rapyer._link import LeftOut, MovedOut
from rapyer._ops import Operation, update
from rapyer._placed import Placed, owner_of
from rapyer._schema import FieldReaders, FieldWriters, InformedReader, PlainReaders
from rapyer.config import RedisConfig
from rapyer.errors import CorruptDocument, UsageError
from rapyer.types._base import STORAGE_CONFIG, Immutable, follow, remembered, watch
from rapyer.types._container import PLAIN, UNLINKED, Container, adopt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from typing_extensions import Self

    from rapyer._link import Owner, Target
    from rapyer._ops import Argument
    from rapyer._path import Step

_set = object.__setattr__


class Node(_validity.Vetted):
    """A model that is a document or stands in one."""

    __slots__ = ()

    model_config: ClassVar[ConfigDict] = ConfigDict(validate_assignment=True, **STORAGE_CONFIG)

    Meta: ClassVar[Any] = RedisConfig()
    _writers: ClassVar[FieldWriters]
    _assigning: ClassVar[_classes.Assigning]
    #: The fields that are not stored.
    _unstored: ClassVar[frozenset[str]] = frozenset()

    if TYPE_CHECKING:

        @classmethod
        def _read_content(cls, key: str, text: bytes) -> Self: ...

    # -- the class -------------------------------------------------------------------------------------------------

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Work out what is needed once for each class."""
        super().__pydantic_init_subclass__(**kwargs)
        if Node._public is not None:
            _classes.check_private_names(cls, Node._public)
        cls.Meta = _classes.make_config(cls)
        cls._plans = _classes.Plans(cls, Node)
        cls._readers = FieldReaders(cls)
        cls._plain_readers = PlainReaders(cls)
        cls._writers = FieldWriters(cls)
        cls._rules = _validity.Rules(cls)
        cls._judged = cls._rules.judged
        cls._guarded = _validity.Guarded()
        cls._learn_keys()
        cls._assigning = _classes.Assigning(cls)
        cls._unstored = cls._assigning.local
        if Node._public is None:
            return  # the public class itself
        for name in cls.__pydantic_fields__:
            setattr(cls, name, (_classes.KeyField if name in cls._key_fields else _classes.Field)(name))
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

    # -- the owner's side of links ---------------------------------------------------------------------------------

    def _place_of(self, child: object, hint: Step) -> Step:
        # What does not change in place may be of another time.
        if not isinstance(child, Immutable) and not self._holds(hint, child):
            msg = f"another value was assigned to {str(hint)!r} meanwhile: take it from the model again"
            raise UsageError(msg)
        return hint

    def _way_to(self, child: object, hint: Step) -> Target:
        document: Any = self
        place = hint if isinstance(child, Immutable) else self._place_of(child, hint)
        if not self._own_key:
            steps, document = self._steps(), self._document()
            return place, document, document.key, steps
        try:
            return place, document, document._known_key, ()
        except AttributeError:
            return place, document, self._learn_key(), ()

    def _get(self, place: Step) -> Any:
        return getattr(self, str(place))

    def _holds(self, place: Step, child: object) -> bool:
        name, extra = str(place), self.__pydantic_extra__
        return self.__dict__.get(name) is child or (extra is not None and extra.get(name) is child)

    def _put(self, place: Step, value: Any) -> Any:
        values: Any = self.__dict__
        present = values.get(place, _NOTHING)
        if present is _NOTHING and self.__pydantic_extra__ is not None:
            values = self.__pydantic_extra__
            present = values.get(place)
        # What an operator is at work on stays the same while it is equal.
        if present.__class__ not in UNLINKED and (not isinstance(value, Immutable) or present == value):
            value = adopt(present, value, self, place)
        values[place] = value
        return value

    def _decode(self, place: Step, text: bytes) -> Any:
        return self._reader(place).validate_json(text, by_name=True, by_alias=False)

    def _reader(self, place: Step) -> Any:
        """Return what validates a field."""
        reader = self._readers[place]
        return reader.knowing(self) if reader.__class__ is InformedReader else reader

    def _encode(self, place: Step, value: Any) -> tuple[Argument, ...]:
        return self._field_arguments(self._shadow({str(place): value}), str(place))

    def _written(self, place: Step, _: Any) -> tuple[Argument, ...]:
        try:
            return self._field_arguments(self, str(place))
        except LeftOut:
            return ()

    def _field_arguments(self, model: Node, name: str) -> tuple[Argument, ...]:
        """Return a field of a model, this one or its shadow, as the scripts take it."""
        writer = self._writers[name]
        try:
            return _codec.arguments(model._unusual_text(name) if writer is None else writer(model.__dict__[name]))
        except _codec.Inexact as error:
            raise error.at(self.key, (*self._steps(), name)) from None

    def _field_text(self, name: str) -> bytes:
        writer = self._writers[name]
        if writer is None:
            return self._unusual_text(name)
        try:
            return writer(self.__dict__[name])
        except PydanticSerializationError:
            pass
        with _linked.relinked_inside(self, (name,)):
            return writer(self.__dict__[name])

    def _unusual_text(self, name: str) -> bytes:
        text = self._dump(include={name})
        found: bytes | None
        if type(self).__pydantic_decorators__.model_serializers:  # which writes what it likes
            found = _codec.cut_out(text, (name,)) if text[:1] == b"{" else None
        else:
            found = None if text == b"{}" else text[len(json.dumps(name, ensure_ascii=False).encode()) + 2 : -1]
        if found is None:
            unless = getattr(type(self).__pydantic_fields__.get(name), "exclude_if", None)  # older Pydantic has none
            error = LeftOut if unless is not None and unless(self.__dict__[name]) else UsageError
            msg = f"field {name!r} of {type(self).__name__} is excluded from what is stored: save() all of it"
            raise error(msg)
        return found

    def _dump(self, include: Any = None, *, loaded: bool = False) -> bytes:
        # What was just loaded was validated, and asking for errors takes longer than writing a small document.
        try:
            return self.__pydantic_serializer__.to_json(
                self, include=include, round_trip=True, by_alias=False, warnings=False if loaded else "error"
            )
        except PydanticSerializationError:
            pass
        with _linked.relinked_inside(self, include):
            return self.__pydantic_serializer__.to_json(
                self, include=include, round_trip=True, by_alias=False, warnings="error"
            )

    def _become(self, key: str, text: bytes) -> None:
        """Become what Redis holds under this document's key."""
        self._take_over(self._read_content(key, text))
        if _session._saving:
            _session.agrees(self._document(), (), None, text)

    def _adopt(self, new: Any, owner: Owner, place: Step) -> Any:
        if type(new) is not type(self) or place in owner._unstored or not self._takes_place(owner, place):
            return new
        if _session.is_recording() and new._is_free():
            _session.becomes_part(new)
        self._take_over(new, spare=True)  # it may be the caller's, who goes on with it
        return self

    def _take_over(self, new: Node, *, spare: bool = False) -> None:
        """Become what another instance holds, of no use then or spared; nested models and containers stay the same."""
        present, fresh, names, extra = self.__dict__, new.__dict__, new.__pydantic_fields_set__, new.__pydantic_extra__
        if spare:
            fresh, names, extra = {**fresh}, {*names}, None if extra is None else {**extra}
        if not UNLINKED.issuperset(map(type, present.values())):
            for name, value in present.items():
                if value.__class__ not in UNLINKED and name in fresh:
                    fresh[name] = adopt(value, fresh[name], self, name)
        _set(self, "__dict__", fresh)
        _set(self, "__pydantic_fields_set__", names)
        _set(self, "__pydantic_extra__", extra)

    # -- assignment ------------------------------------------------------------------------------------------------

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field, validated; inside `pipeline()` the change is recorded."""
            before = self.__dict__
            present = before.get(name, _NOTHING)
            if (value is present and isinstance(value, (Container, Node))) or (  # what an in-place operator gives back
                _storable.under_validation and self._takes_from_validator(name, value)
            ):
                return
            facts, recording, extra = self._assigning, recording_here.get(), self.__pydantic_extra__
            if name in facts.keys:
                self._check_key_stays(name)
            if recording is not None and name in facts.stored:
                document = self._document() if self._was_inner else self
                recording = recording.of(document)
            else:
                recording = None
            try:
                if name in facts.alone:
                    self._assign_field(name, value)
                else:
                    super().__setattr__(name, value)
                if recording is None:
                    return
                others = self._set_besides(name, before) if facts.judged else ()
                if name in facts.local:
                    changes = ()
                else:
                    done = () if value.__class__ in PLAIN else remembered(value, self, name, present)
                    changes = done or (self._set_operation(name),)
            except MovedOut:  # this is no place of the document any more
                setattr(self, name, value)
                return
            except Exception:  # the model's validators, and what writes it, see the value in its place
                self._restore_field(name, present, before, extra)
                raise
            recording.add(document, [*changes, *others] if others else changes)
            if facts.plans[name].followed:
                value = getattr(self, name)
                recording.renewed(value)
                follow(value)

        def _restore_field(self, name: str, present: Any, before: dict[str, Any], extra: Any) -> None:
            """Have the fields be what they were before one of them was set, in this dict or in a new one."""
            if present is _NOTHING:
                before.pop(name, None)
            else:
                before[name] = present
            _set(self, "__dict__", before)
            _set(self, "__pydantic_extra__", extra)

        def _set_besides(self, name: str, before: Mapping[str, Any]) -> list[Operation]:
            """Return what sets the fields that the model's validators changed with one."""
            others = _validity.changed_besides((name,), before, self)
            for other in self._key_fields.intersection(others):
                self._check_key_stays(other)
            return [self._set_operation(other) for other in others if self._is_stored(other)]

        def _takes_from_validator(self, name: str, value: Any) -> bool:
            """Set a field that one of the model's own validators assigns, which is not asked again."""
            if id(self) not in _storable.under_validation:
                return False
            extra = self.__pydantic_extra__
            if name in self._assigning.alone:
                self.__dict__[name] = self._reader(name).validate_python(value)
            elif extra is not None and name in self._assigning.stored and not hasattr(type(self), name):
                extra[name] = value
            else:
                return False
            self.__pydantic_fields_set__.add(name)
            return True

        def __getattr__(self, name: str) -> Any:
            """Return what is no field: of an open model that may be a value that changes in place."""
            value = super().__getattr__(name)
            if _session.is_recording() and name in (self.__pydantic_extra__ or ()):
                watch(value, self, name)
            return value

        def __delattr__(self, name: str) -> None:
            """Forget a field; inside `pipeline()` that is refused."""
            if _session.is_recording() and name in self._assigning.stored and _session.recording_of(self._document()):
                msg = f"a pipeline cannot delete the field {name!r}: assign None or its default"
                raise UsageError(msg)
            super().__delattr__(name)

    def _follow(self, names: Iterable[str] | None = None) -> None:
        for name in type(self).__pydantic_fields__ if names is None else names:
            if self._plans[name].followed:
                value = getattr(self, name)
                if names is not None:
                    _session.put_in(value)
                follow(value)

    def _check_key_stays(self, name: str) -> None:
        if owner_of(self) is None and _session.recording_of(self._document()) is not None:
            msg = f"{name!r} is the key of {type(self).__name__}: a pipeline cannot change it"
            raise UsageError(msg)

    def _check_fields(self, names: Mapping[str, Any]) -> None:
        unknown = sorted(names.keys() - type(self).__pydantic_fields__.keys())
        if unknown:
            known = ", ".join(type(self).__pydantic_fields__)
            msg = f"{type(self).__name__} has no field {', '.join(unknown)}; its fields are: {known}"
            raise UsageError(msg)
        if self.model_config.get("frozen"):
            for name in names:
                setattr(self, name, names[name])  # which Pydantic refuses

    def _check_key_is_not(self, names: Iterable[str]) -> None:
        keys = self._key_fields.intersection(names) if self._key_fields else None
        if keys and owner_of(self) is None:
            given, how = " and ".join(sorted(keys)), "duplicate()" if self._key_name is None else "save()"
            msg = f"{given!r} is the key of {type(self).__name__}: {how} a copy with another one instead"
            raise UsageError(msg)

    def _set_operation(self, name: str, shadow: Node | None = None) -> Operation:
        """Return what gives the document a field, as it is here or in a shadow."""
        model = self if shadow is None else shadow
        try:
            return Operation("value.set", self._steps(), self._field_arguments(model, name), name)
        except LeftOut:
            return Operation("map.pop", self._steps(), (), name)

    def _set_operations(self, shadow: Node, names: Iterable[str]) -> list[Operation]:
        """Return what gives the document these fields of a shadow, in as few operations as can be."""
        values: list[tuple[str, tuple[Argument, ...]]] = []
        left_out: list[Operation] = []
        for name in names:
            try:
                values.append((name, self._field_arguments(shadow, name)))
            except LeftOut:
                left_out.append(Operation("map.pop", self._steps(), (), name))
        return [*left_out, *update("document.update", self._steps(), values)] if values else left_out

    # -- what pipelines need ---------------------------------------------------------------------------------------

    def _snapshot(self) -> Callable[[], None]:
        return _content.freeze(self)

    def _is_among(self, values: list[Any]) -> bool:
        return _content.is_among(self, values)

    def _models_in(self, value: Any) -> dict[int, Any]:
        return {id(model): model for model in _content.models_in(value) if isinstance(model, Placed)}

    def _parts_in(self, value: Any) -> dict[int, Any]:
        models = self._models_in(value).items()
        return {identity: model for identity, model in models if model._is_free()}

    def _refresh(self, fields: Mapping[Step | None, bytes | None]) -> None:
        readers, put = self._readers, self._put  # asking a model for each of these is slow
        try:
            for name, text in fields.items():
                if not text:  # it is gone
                    continue
                if name is None:
                    self._take_over(self._read_content(self.key, text))
                    continue
                reader = readers[name]
                if reader.__class__ is InformedReader:
                    reader = reader.knowing(self)
                put(name, reader.validate_json(text, by_name=True, by_alias=False))
        except ValidationError as error:
            raise CorruptDocument(self._document().key) from error


_NOTHING: Any = object()
