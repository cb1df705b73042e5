"""What all Redis types share: plans of conversion, in-place operators, save and load.

Rules:
- Validated values stay plain until they are touched: the plan of a field wraps and links them then. So building,
  loading and saving a model cost what Pydantic costs.
- `x += 1` on an immutable value inside a pipeline gives a new value that remembers what was done to which; it
  records nothing. Assigning it back to its own place does (`remembered`).
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from rapyer import _calls, _codec, _collected, _session
from rapyer._collected import recording_here
from rapyer._link import Linked
from rapyer._ops import Operation
from rapyer._schema import element_reader, element_writer, restricts
from rapyer.errors import CorruptDocument, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema, SchemaValidator
    from typing_extensions import Self

    from rapyer._link import Owner
    from rapyer._ops import Argument
    from rapyer._path import Step
    from rapyer._schema import Writer

#: Values that nobody holds a link to.
PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
#: How values become JSON: bytes as base64, and no constant that is no JSON passes unseen.
STORAGE_CONFIG = ConfigDict(
    ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants", allow_inf_nan=False
)


class Plan:
    """How values of one annotation are wrapped, validated, written and read.

    Args:
        annotation: the type, ready for Pydantic.
        kind: the Redis type or model class its values become; None where they stay as they are.
        element: the plan of what the values contain, for lists, dicts and sets.
        model: whether `kind` is a model class.
        changeable: whether values that stay as they are may change in place: no operation tells of that.
    """

    def __init__(
        self,
        annotation: Any,
        kind: type[Any] | None = None,
        element: Plan | None = None,
        *,
        model: bool = False,
        changeable: bool = False,
    ) -> None:
        self.annotation = annotation
        self.kind = kind
        #: The Redis type of values that are linked already; None where there is none to be seen by it.
        self.own_type = None if model else kind
        self.element = element
        self.model = model
        self.changeable = changeable
        #: Whether values are held to more than their plain type: constraints, validators; the model's class tells.
        self.restricted = False
        self.config = STORAGE_CONFIG

    def configured(self, config: ConfigDict) -> Plan:
        """Return this plan with the options of the model that it is for, and so all its elements' plans."""
        self.config = config
        if self.element is not None:
            self.element.configured(config)
        return self

    def wrap(self, value: Any, owner: Owner, place: Step) -> Any:
        """Return the value as a linked one, or as it is where this plan does not concern it."""
        kind = self.kind
        if kind is None:
            if self.changeable and _session.is_recording():
                watch(value, owner, place)
            return value
        if value.__class__ is kind and not self.model and value._owner is owner and not elsewhere(value, owner, place):
            value._hint = place
            return value
        return kind._wrap(value, owner, place, self)

    @cached_property
    def followed(self) -> bool:
        """Whether a pipeline has to follow what is put in, by whatever variable it is changed: models, plain values."""
        return self.model or self.changeable or (self.element is not None and self.element.followed)

    @cached_property
    def _adapter(self) -> TypeAdapter[list[Any]]:
        # In a list, because Pydantic takes no config for a bare model.
        return TypeAdapter(list[self.annotation], config=self.config)  # type: ignore[name-defined]

    @cached_property
    def _reader(self) -> SchemaValidator:
        return element_reader(self._adapter, self.config)

    @cached_property
    def _writer(self) -> Writer:
        return element_writer(self._adapter, self.config)

    def validate(self, value: Any) -> Any:
        """Return the value as Pydantic makes it.

        Raises:
            pydantic.ValidationError: it does not fit the annotation.
        """
        return self._reader.validate_python(value)

    @cached_property
    def _inner_rules(self) -> bool:
        return self.followed and restricts(self._adapter)

    def vet(self, value: Any) -> None:
        """Refuse a valid value that could not be read again: what is in it may have changed in place since."""
        if self._inner_rules:
            self.load(self._writer(value))

    def dump(self, value: Any) -> bytes:
        """Return the JSON text of a valid value."""
        return self._writer(value)

    def arguments(self, value: Any, owner: Any, place: Step | None = None) -> tuple[Argument, ...]:
        """Return a valid value as the scripts take it.

        Args:
            value: what is to stand in a container.
            owner: the container.
            place: where in it, as far as that is known.

        Raises:
            OutOfRange: it cannot be stored exactly.
        """
        try:
            return _codec.arguments(self._writer(value))
        except _codec.Inexact as error:
            raise error.within(owner.key, owner._steps(), place) from None

    def load(self, text: bytes) -> Any:
        """Return the plain value of a JSON text."""
        return self._reader.validate_json(text, by_name=True, by_alias=False)


def follow(value: Any) -> None:
    """Have every model in a linked value know its place, so that changes by a variable that holds one are seen."""
    follow_all = getattr(value, "_follow", None)
    if follow_all is not None:
        follow_all()


def watch(value: Any, owner: Owner, place: Step) -> None:
    """Have a pipeline look at its end whether a plain value at this place was changed in place."""
    if value.__class__ not in PLAIN:
        recording = _session.recording_of(owner._document())
        if recording is not None:
            recording.watch(owner, place, value)


def elsewhere(value: Any, owner: Owner, place: Step) -> bool:
    """Whether a value of this owner is at another place as well: two places never share one."""
    hint: Step = value._hint
    return hint != place and owner._holds(hint, value)


class RedisType(Linked):
    """A value of a document: its Python type, with a place.

    Its own attributes besides: `key`, `field_name`, `field_path`, `json_path`.
    """

    _plain: ClassVar[type[Any]] = object
    #: Inside a pipeline, what in-place operators made this of, and each with its arguments.
    _done: tuple[Any, ...] | None = None
    #: Whether this is a field that its model's key is made of; to be asked before `_check_key_stays`.
    _of_key = False

    if TYPE_CHECKING:
        # A field is read as its Redis type; each type's `__set__` says what may be assigned or given to the model. Its
        # `__get__` is repeated there: pyright takes an assigned value for what is read, unless one class has both.

        def __get__(self, instance: object, owner: Any = None) -> Self: ...

    @classmethod
    def _wrap(cls, value: Any, owner: Owner, place: Step, plan: Plan) -> Any:
        if not isinstance(value, cls._plain):
            return value
        return cls._make(value, owner, place, plan)

    @classmethod
    def _make(cls, value: Any, owner: Owner, place: Step, plan: Plan) -> Any:  # noqa: ARG003 - containers need it
        self = cls._of(value)
        self._owner, self._hint = owner, place
        return self

    @classmethod
    def _of(cls, value: Any) -> Any:
        make: Any = cls
        return make(value)

    def clone(self) -> Any:
        """Return the plain value, deep, without any tie to the document."""
        raise NotImplementedError  # pragma: no cover - every type has its own

    def _adopt(self, new: Any, owner: Owner, place: Step) -> Any:
        """Return what to keep at a place that held this value and now holds another."""
        raise NotImplementedError  # pragma: no cover - both kinds have their own

    def __reduce_ex__(self, _: Any) -> Any:
        """Pickle and copy as the plain value: a link has no meaning elsewhere."""
        return _identity, (self.clone(),)

    async def save(self) -> Self:
        """Write this value, and nothing else, to its place.

        One round trip, one script (`value.set`), atomic. Inside `pipeline()` it joins the block.

        Returns:
            the value itself.

        Raises:
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound: what the value is in is gone.
            IndexError: the list that it is an element of got shorter.
            WrongType: the key holds something that is no document, or what the value is in is of another type.
            pydantic.ValidationError, OutOfRange: what changed in place here would not validate, or cannot be stored
                exactly; nothing is written.
            LockLost: a lock this task holds on the document was lost.
            OutcomeUnknown: the connection was lost before the answer.
            UsageError: the model's key is made of it.
        """
        if self._of_key:
            self._check_key_stays()
        owner, place = self._standing()
        if getattr(self, "_whole", None) is not None and self._recording() is None:
            owner._vet_kept(place, self)
        operation = _collected.set_operation(owner, owner._steps(), place, self)
        await _calls.write(self._document(), operation, self)
        return self

    async def load(self) -> Any:
        """Read this value from its place and put it into the model.

        One round trip, one script (`value.load`).

        Returns:
            the value as it is now.

        Raises:
            KeyNotFound: the document is gone.
            PathNotFound: the value is gone.
            WrongType: the key holds something that is no document.
            CorruptDocument: what is stored does not validate.
        """
        return self._accept(await _calls.load_text(self._document(), self._steps()))

    def _agrees(self) -> None:
        """Take notice that this is what Redis holds, wherever it stands by now."""
        if _session._saving:
            with suppress(UsageError):
                _session.agrees_at(self._linked(), self._place())

    def _accept(self, text: bytes) -> Any:
        """Put what Redis holds into this value's place and return it linked."""
        raise NotImplementedError  # pragma: no cover - both kinds have their own

    def _check_key_stays(self) -> None:
        owner: Any = self._linked()
        owner._check_key_is_not((str(self._hint),))

    def _recording(self) -> _collected.Recording | None:
        recording = recording_here.get()
        return None if recording is None or self._owner is None else recording.of(self._document())


class Immutable(RedisType):
    """A value that cannot change in place: text, numbers, bytes, timestamps."""

    #: Of an element of a list: what stands in its place since operations on it; all their outcomes share it.
    _seat: list[Any] | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as the plain type; the value is wrapped when it is touched."""
        return handler.generate_schema(cls._plain)

    @classmethod
    def _wrap(cls, value: Any, owner: Owner, place: Step, plan: Plan | None = None) -> Any:  # noqa: ARG003 - not here
        """Return a value of this type as a linked one; another as it is."""
        if not isinstance(value, cls._plain):
            return value
        self = cls._of(value)
        self._owner, self._hint = owner, place
        return self

    def clone(self) -> Any:
        """Return the plain value."""
        return self._plain(self)

    def _adopt(self, new: Any, owner: Owner, place: Step) -> Any:  # noqa: ARG002 - containers need them
        return self if self == new else new

    def _accept(self, text: bytes) -> Any:
        return self._taken(self._linked(), self._hint, text)

    def _taken(self, owner: Owner, place: Step, text: bytes) -> Self:
        """Put what Redis holds into this value's place and return it linked."""
        return self._take(owner, place, decode(owner, place, text))

    def _take(self, owner: Owner, place: Step, new: Any) -> Self:
        """Put a plain value into this value's place and return it linked."""
        return self._give_way(owner, place, self._wrap(new, owner, place))

    def _give_way(self, owner: Owner, place: Step, value: Any) -> Self:
        """Put a linked value into this one's place and return what stands there then."""
        if place.__class__ is int:
            return self._taken_in_list(owner, value)
        linked: Self = owner._put(place, value)
        if _session._saving:
            _session.agrees_at(owner, place)
        if linked is not value:
            linked = owner._get(place)
        return linked

    def _taken_in_list(self, owner: Owner, value: Any) -> Self:
        """Put a value into this one's place, wherever the list has it by now; if it let go of it, nowhere."""
        seat = self._seat or [self]
        try:
            place = owner._place_of(seat[0], self._hint)
        except UsageError:
            linked: Self = value
            return linked
        owner._put(place, value)
        seat[0] = linked = owner._get(place)
        self._seat = seat
        if isinstance(linked, Immutable):
            linked._seat = seat
        if _session._saving:
            _session.agrees_at(owner, place)
        return linked

    def _in_place(self, result: Any, script: str | None, *arguments: Argument) -> Any:
        """Return what an in-place operator gives: inside a pipeline one that remembers the operation."""
        owner = self._owner
        if owner is None or recording_here.get() is None or result is NotImplemented or script is None:
            return result
        new = self._of(result)
        new._owner, new._hint = owner, self._hint
        new._done = (*(self._done or (self,)), (script, arguments))
        return new

    def _vet(self, new: Any) -> None:
        """Refuse an operation that makes of the value here what must not stand at its place."""
        owner, place = self._standing()
        if owner._guards(place):
            owner._vet(place, new)

    def _recorded(self, recording: _collected.Recording, new: Any, script: str, *arguments: Argument) -> Self:
        """Collect an operation and put into the model what it makes of the value here."""
        owner, place = self._standing()
        recording.add(owner._document(), [Operation(script, (*owner._steps(), place), arguments)])
        owner._put(place, new)
        linked: Self = owner._get(place)
        return linked


def remembered(value: Any, owner: Owner, place: Step, present: Any) -> Sequence[Operation]:
    """Return the operations that made this value out of the one at its own place, if it is such a value."""
    done = value._done if isinstance(value, Immutable) else None
    if done is None or done[0] is not present or value._owner is not owner:
        return ()
    steps = (*owner._steps(), place)
    return [Operation(script, steps, arguments) for script, arguments in done[1:]]


def decode(owner: Owner, place: Step, text: bytes) -> Any:
    """Return the plain value for a place of a document.

    Raises:
        CorruptDocument: the text does not validate.
    """
    try:
        return owner._decode(place, text)
    except ValidationError as error:
        raise CorruptDocument(owner._document().key) from error


def _identity(value: Any) -> Any:
    return value
