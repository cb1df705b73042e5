"""What lists, dicts and sets share: the owner's side of links, and recording changes.

Rules:
- A container is an owner: elements are wrapped when first touched and stay in the container, so that an element that
  moves can be found again.
- Mutators validate what they take, change the local value, and record the change when the task is inside a pipeline:
  as the operation the server has for it, else as a set of the whole value.
- Awaited operations change Redis first; the local value then becomes what Redis holds.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rapyer import _calls, _collected
from rapyer._collected import recording_here
from rapyer._link import MovedOut
from rapyer._ops import Operation
from rapyer.errors import UsageError
from rapyer.types._base import PLAIN, Plan, RedisType, decode, elsewhere, follow, remembered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from typing_extensions import Self

    from rapyer._link import Owner, Target
    from rapyer._ops import Argument
    from rapyer._path import Step

_ANY = Plan(Any)
#: Values in whose place another one is put as it is.
UNLINKED = PLAIN | {list, dict, set, tuple}


class Container(RedisType):
    """A value that holds others."""

    _element: Plan = _ANY
    _whole: Plan | None = None
    _guarded: Any = False
    _unstored: frozenset[Any] = frozenset()

    @classmethod
    def _make(cls, value: Any, owner: Owner, place: Step, plan: Plan) -> Any:
        self = cls._of(value)
        self._owner, self._hint = owner, place
        self._element, self._whole = plan.element or _ANY, plan
        if owner._guarded:
            self._guarded = True
        return self

    def __copy__(self) -> Any:
        """Return a plain one of the same elements."""
        raise NotImplementedError  # pragma: no cover - every container has its own

    # -- the owner's side ------------------------------------------------------------------------------------------

    def _decode(self, _: Step, text: bytes) -> Any:
        return self._element.load(text)

    def _encode(self, place: Step, value: Any) -> tuple[Argument, ...]:
        return self._element.arguments(self._element.validate(value), self, place)

    def _written(self, place: Step, value: Any) -> tuple[Argument, ...]:
        return self._element.arguments(value, self, place)

    def _place_of(self, child: object, hint: Step) -> Step:
        raise NotImplementedError  # pragma: no cover - every container has its own

    def _way_to(self, child: object, hint: Step) -> Target:
        place = self._place_of(child, hint)
        own, document, key, steps = self._linked()._way_to(self, self._hint)
        return place, document, key, (*steps, own)

    def _holds(self, place: Step, child: object) -> bool:
        raise NotImplementedError  # pragma: no cover

    def _put(self, place: Step, value: Any) -> Any:
        raise NotImplementedError  # pragma: no cover

    def _get(self, place: Step) -> Any:
        raise NotImplementedError  # pragma: no cover

    def _guards(self, _: Step) -> bool:
        try:
            owner, place = self._standing()
        except UsageError:
            return self._element.restricted  # it was replaced: nothing is written by it any more
        return self._element.restricted or owner._guards(place)

    def _vet(self, place: Step, value: Any) -> None:
        self._vet_after(lambda content: content.__setitem__(place, value))

    def _vet_kept(self, _: Step, value: Any) -> None:
        self._element.vet(value)

    def _vet_after(self, change: Callable[[Any], Any]) -> None:
        """Refuse a change that makes of the content here what must not stand at its place."""
        owner, at = self._standing()
        content = self.__copy__()
        # Of what is not here nothing can be said.
        with suppress(IndexError, KeyError, ValueError):
            change(content)
        owner._vet(at, content)

    def _adopt(self, new: Any, owner: Owner, place: Step) -> Any:
        if not isinstance(new, self._plain) or self._owner is not owner:
            return new
        if self._hint != place and elsewhere(self, owner, place):  # the first saves most of the calls
            return new
        self._replace(new)
        return self

    def _replace(self, value: Any) -> None:
        """Take over the content of a plain value of the same kind."""
        raise NotImplementedError  # pragma: no cover

    # -- changes ---------------------------------------------------------------------------------------------------

    def _valid(self, value: Any) -> Any:
        # A container of one's own making, in no document, takes anything.
        return value if self._whole is None else self._element.validate(value)

    def _fit(self, value: Any) -> Any:
        """Return a value that is to be written now; a block is judged as it ends."""
        valid = self._valid(value)
        self._vet_now((valid,))
        return valid

    def _vet_now(self, values: Iterable[Any]) -> None:
        """Refuse valid values that are to be written now and could not be read again."""
        if self._element.followed and self._recording() is None:
            for value in values:
                self._element.vet(value)

    def _link_at(self, places: Iterable[Any]) -> None:
        """Inside a pipeline, have it see what is done from now on to what was put in here."""
        recording = self._recording() if self._element.followed else None
        if recording is not None:
            for place in places:
                value = self._get(place)
                recording.renewed(value)
                follow(value)

    def _follow(self) -> None:
        if self._element.followed:
            for value in self._values():
                follow(value)

    def _values(self) -> Iterable[Any]:
        """Return what is in here, linked."""
        raise NotImplementedError  # pragma: no cover

    def _put_aside(self) -> None:
        """Have the document as it is now kept by a pipeline, before it changes here without being recorded first."""
        self._recording()

    def _record(
        self, script: str, arguments: Callable[..., tuple[Argument, ...]], *given: Any, member: Step | None = None
    ) -> None:
        owner, recording = self._owner, recording_here.get()
        if owner is None or recording is None:
            return
        document = owner._document()
        recording = recording.of(document)
        if recording is not None:
            try:
                steps = (*owner._steps(), owner._place_of(self, self._hint))
            except MovedOut:
                return
            recording.entries += (document, Operation(script, steps, arguments(*given), member))

    def _remembered(self, value: Any, place: Step, present: Any) -> bool:
        """Record what was done to the value at this place, if this value is the outcome of that."""
        try:
            operations = remembered(value, self, place, present)
        except MovedOut:
            return True
        recording = self._recording() if operations else None
        if recording is not None:
            recording.add(self._document(), operations)
        return recording is not None

    def _record_whole(self) -> None:
        recording = self._recording()
        if recording is not None:
            owner, place = self._linked(), self._place()
            with suppress(MovedOut):
                recording.add(self._document(), [_collected.set_operation(owner, owner._steps(), place, self)])
            recording.renew(self)

    def _truth(
        self, local: Callable[[Any], Any], script: str, *arguments: Argument, member: Step | None = None
    ) -> Awaitable[Any]:
        """Run an operation now and take over what Redis holds; when it is recorded instead, do `local` to self.

        Returns:
            what the operation answers besides the new value; None when it was recorded.
        """
        return self._truth_of(local, Operation(script, self._steps(), arguments, member))

    async def _truth_of(self, local: Callable[[Any], Any], *operations: Operation) -> Any:
        recording = self._recording()
        if recording is not None:
            # What Python refuses here must not be sent later, should the block go on.
            result = local(self)
            recording.add(self._document(), operations)
            return Recorded(result)
        owner, place = self._standing()
        if self._guarded and owner._guards(place):
            self._vet_after(local)
        reply = await _calls.send(owner._document(), *operations)
        # First what was done, so that elements keep their identity; then what others did besides.
        with suppress(IndexError, KeyError, ValueError):
            local(self)
        self._replace(decode(owner, place, reply[0]))
        self._agrees()
        return reply[1]

    def _accept(self, text: bytes) -> Self:
        self._replace(decode(self._linked(), self._hint, text))
        self._agrees()
        return self


class Recorded:
    """The local result of an operation that a pipeline collected."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def is_there(value: Any) -> bool:
    """Whether nothing is to be done where this is assigned to its own place: an in-place operator gives it back."""
    return hasattr(value, "_follow")


def adopt(present: Any, new: Any, owner: Owner, place: Step) -> Any:
    """Return what to keep at a place that held `present` and now holds `new`: the same object where that can be.

    A variable that a caller holds on a list, a dict or a nested model stays the one in the model. One that stands at
    another place as well is left alone.
    """
    take = getattr(present, "_adopt", None)
    return new if take is None or new is present else take(new, owner, place)


def plain_copy(value: Any) -> Any:
    """Return a value without links, deep."""
    if isinstance(value, RedisType):
        return value.clone()
    copy = getattr(value, "model_copy", None)
    return value if copy is None else copy(deep=True)


__all__ = ["PLAIN", "UNLINKED", "Container", "Recorded", "adopt", "is_there", "plain_copy"]
