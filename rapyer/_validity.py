"""What a model's class has to say to a change before it is sent: field constraints and validators, the model's own.

Rules:
- Several fields that change together are judged together: each is validated by itself, then the model once. What the
  model's validators change in other fields belongs to the change.
- An operation is judged by what it makes of the value here: what would not validate could not be loaded any more.
- A class without constraints and validators asks nothing of all this but one attribute.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from rapyer import _collected
from rapyer._link import LeftOut
from rapyer._placed import Placed, owner_of
from rapyer._schema import PlainReaders, Restrictions, fields_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import SchemaValidator
    from typing_extensions import Self

    from rapyer._classes import Plans
    from rapyer._path import Step
    from rapyer._schema import FieldReaders

_MISSING: Any = object()
_set = object.__setattr__


class Rules:
    """What a model class holds its values to, worked out when first asked for: by then its schema is complete.

    Attributes:
        judged: whether the class has validators of the whole model.
    """

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.judged = bool(cls.__pydantic_decorators__.model_validators)

    @cached_property
    def fields_alone(self) -> SchemaValidator:
        """What validates the fields without the model's own validators."""
        return fields_reader(self._cls)

    @cached_property
    def deep(self) -> frozenset[str]:
        """The fields inside of which something is restricted; all where the model itself is."""
        return frozenset(self._cls.__pydantic_fields__) if self.judged else self.inner

    @property
    def inner(self) -> frozenset[str]:
        """The fields inside of which something is restricted, whatever the model's own validators do."""
        return self._restrictions.deep

    @cached_property
    def _restrictions(self) -> Restrictions:
        return Restrictions.of(self._cls)

    def guarded(self) -> frozenset[str]:
        """Return the fields that are restricted at some level, and have their plans know at which."""
        levels = self._restrictions.levels
        for name, restricted in levels.items():
            plan = self._cls._plans[name]
            for level in restricted:
                if plan is None:
                    break
                plan.restricted = level
                plan = plan.element
        return frozenset(self._cls.__pydantic_fields__ if self.judged else levels)


class Guarded:
    """A class attribute that is `Rules.guarded` of the class, worked out when first read."""

    def __get__(self, _: Any, cls: Any) -> frozenset[str]:
        """Put the outcome into the place of this."""
        cls._guarded = cls._rules.guarded()
        guarded: frozenset[str] = cls._guarded
        return guarded


class Vetted(Placed):
    """A model that judges changes."""

    __slots__ = ()

    _rules: ClassVar[Rules]
    #: Whether the class has validators of the whole model.
    _judged: ClassVar[bool] = False
    _plans: ClassVar[Plans]
    _readers: ClassVar[FieldReaders]
    _plain_readers: ClassVar[PlainReaders]

    if TYPE_CHECKING:

        def _put(self, place: Step, value: Any) -> Any: ...

        def _dump(self, include: Any = None) -> bytes: ...

        def _decode(self, place: Step, text: bytes) -> Any: ...

        def _field_text(self, name: str) -> bytes: ...

        def _place_of(self, child: object, hint: Step) -> Step: ...

    # -- changes of fields -----------------------------------------------------------------------------------------

    def _shadow(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with these fields validated and set; what it shares with self it only reads."""
        shadow = self.__class__.__new__(self.__class__)
        _set(shadow, "__dict__", dict(self.__dict__))
        _set(shadow, "__pydantic_fields_set__", set(self.__pydantic_fields_set__))
        _set(shadow, "__pydantic_extra__", None if self.__pydantic_extra__ is None else dict(self.__pydantic_extra__))
        _set(shadow, "__pydantic_private__", self.__pydantic_private__)
        if self._judged:
            shadow._assign_all(values)
            return shadow
        for name, value in values.items():
            shadow._assign_field(name, value)
        return shadow

    def _assign_field(self, name: str, value: Any) -> None:
        """Set a field as Pydantic does, validated.

        Raises:
            pydantic.ValidationError: it does not fit, or must not be set.
        """
        readers, validator = self._plain_readers, self.__pydantic_validator__
        if readers.validator is not validator:
            readers.renew(validator)
        reader = readers[name]
        if reader is not None:  # a fifth of the time of going by the model
            try:
                valid = reader.validate_python(value)
            except ValidationError:
                pass  # the model tells it better
            else:
                self.__dict__[name] = valid
                self.__pydantic_fields_set__.add(name)
                return
        validator.validate_assignment(self, name, value)

    def _assign_all(self, values: Mapping[str, Any]) -> None:
        """Set fields of this shadow, and have the model's validators judge them as a whole."""
        # A validator that assigns a field by itself has nothing to record.
        token = _collected.recording_here.set(None)
        try:
            names = list(values)
            for name in names[:-1]:
                fields, *_ = self._rules.fields_alone.validate_assignment(self.__dict__, name, values[name])
                _set(self, "__dict__", fields)
            # The model's validators run with the last of them, and see all.
            for name in names[-1:]:
                self._assign_field(name, values[name])
        finally:
            _collected.recording_here.reset(token)

    def _revised(self, shadow: Any, given: Mapping[str, Any]) -> list[str]:
        """Return the given fields and those that the model's validators changed with them."""
        return [*given, *changed_besides(given, self.__dict__, shadow)] if self._judged else [*given]

    def _take_fields(self, shadow: Any, names: Iterable[str]) -> None:
        for name in names:
            self._put(name, shadow.__dict__[name])
            self.__pydantic_fields_set__.add(name)

    def _is_stored(self, name: str) -> bool:
        cls: Any = type(self)
        field = cls.__pydantic_fields__.get(name)
        return field is None or not field.exclude

    # -- outcomes of operations ------------------------------------------------------------------------------------

    def _guards(self, place: Step) -> bool:
        """Whether what stands at this place is restricted: by itself, by the model, or by what that is in."""
        if self._judged or self._plans[str(place)].restricted:
            return True
        owner = owner_of(self)
        return owner is not None and bool(owner._guarded) and owner._guards(self._hint)

    def _vet(self, place: Step, value: Any) -> None:
        """Refuse a value that must not come to stand at this place.

        Raises:
            pydantic.ValidationError: it, or what it stands in, would not validate.
        """
        self._vet_above(self._shadow({str(place): value}))

    def _vet_above(self, shadow: Any) -> None:
        """Refuse this model as it would become where what it is in is restricted."""
        owner = owner_of(self)
        if owner is not None and owner._guarded:
            place = owner._place_of(self, self._hint)
            if owner._guards(place):
                owner._vet(place, shadow)

    def _vet_inside(self, shadow: Any, names: Iterable[str]) -> None:
        """Refuse values with models in them that could not be read again: those may have changed in place since."""
        if inner := self._rules.inner:
            for name in inner.intersection(names):
                if self._plans[name].followed:
                    with suppress(LeftOut):
                        shadow._decode(name, shadow._field_text(name))

    def _vet_kept(self, place: Step, _: Any) -> None:
        """Refuse to write what stands at this place if it could not be read again."""
        self._vet_inside(self, (str(place),))

    def _vet_fields(self, names: Iterable[Step | None]) -> None:
        """Refuse to send fields, or None for all, that would not validate as they are here.

        Raises:
            pydantic.ValidationError: they would not.
        """
        deep = self._rules.deep
        if not deep:
            return
        touched = set(names)
        if None in touched or (self._judged and not deep.isdisjoint(touched)):
            self._vet_text(self._dump())
            return
        for name in deep & touched:
            with suppress(LeftOut):  # what is not there is its default
                self._decode(name, self._field_text(name))

    def _vet_text(self, text: bytes) -> None:
        """Refuse to write a document, or a nested model, that would not validate."""
        self.__pydantic_validator__.validate_json(text, by_name=True, by_alias=False)


def changed_besides(names: Any, before: Mapping[str, Any], model: Any) -> list[str]:
    """Return the fields, other than these, that are not what they were: the model's validators changed them.

    Args:
        names: the fields that were given.
        before: all values as they were.
        model: what has the values now.
    """
    after = model.__dict__
    found = []
    for name in type(model).__pydantic_fields__:
        if name not in names:
            old, new = before.get(name, _MISSING), after.get(name, _MISSING)
            # A value that a validator looked at is a linked one now, and equal.
            if new is not old and (new is _MISSING or old is _MISSING or new != old):
                found.append(name)
    return found
