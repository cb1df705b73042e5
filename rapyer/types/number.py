"""`RedisInt` and `RedisFloat`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rapyer import _calls, _codec, _session
from rapyer._codec import LEAST_INT64, MOST_INT64
from rapyer._collected import recording_here
from rapyer.errors import OutOfRange
from rapyer.types._base import Immutable

if TYPE_CHECKING:
    from typing_extensions import Self

    from rapyer._link import Owner
    from rapyer._path import Step
    from rapyer.types._base import Plan

__all__ = ["RedisFloat", "RedisInt"]


class RedisInt(Immutable, int):
    """An integer of signed 64 bits in a document: an `int` with a place."""

    _plain = int

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: int) -> None: ...

        def clone(self) -> int:
            """Return the plain integer."""

    async def increase(self, amount: int = 1) -> Self:
        """Add to whatever the number is in Redis and put the result into the model.

        One round trip, one script (`number.increase`), atomic: concurrent calls all count.

        Args:
            amount: an integer of signed 64 bits, may be negative.

        Returns:
            the new number.

        Raises:
            OutOfRange: the result or the amount leaves signed 64 bits; nothing is written.
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType: there is no integer at this place any more.
            LockLost, OutcomeUnknown: as for every write.
            UsageError: the model's key is made of it.
        """
        if type(amount) is not int:  # a proxy's `__class__` is another's, and what it stands for may change
            amount = _integer(amount)
        if self._of_key:
            self._check_key_stays()
        if not LEAST_INT64 <= amount <= MOST_INT64:
            raise OutOfRange(self.key, self.json_path)
        if recording_here.get() is not None and (recording := self._recording()) is not None:
            # What Python refuses here must not be sent later, should the block go on.
            return self._recorded(recording, self._checked_sum(amount), "number.increase", _decimal(amount))
        owner = self._owner or self._linked()
        target = owner._way_to(self, self._hint)
        guarded = owner._guarded
        if guarded:
            self._vet(self._checked_sum(amount))
        reply = await _calls.increase(target, amount)
        place = target[0]
        if guarded:
            return self._taken(owner, place, b"%d" % int(reply[0]))  # where several went together it is no text
        new = RedisInt(reply[0])  # the script saw to it that it is one
        new._owner = owner
        new._hint = place
        if place.__class__ is int or _session._saving:
            return self._give_way(owner, place, new)
        linked: Self = owner._put(place, new)  # the same, a call less
        return linked if linked is new else owner._get(place)

    def _checked_sum(self, amount: int) -> int:
        result = int(self) + amount
        self._check(result)
        return result

    def _check(self, value: int) -> None:
        if not _codec.is_int64(value):
            raise OutOfRange(self.key, self.json_path)

    def _operator(self, result: Any, script: str, other: Any) -> Any:
        # Whatever is no integer is a plain value: assigning it replaces the field.
        if not isinstance(other, int) or result.__class__ is not int or not _codec.is_int64(other):
            return result
        return self._in_place(result, script, _decimal(other))

    def __iadd__(self, other: int) -> Any:
        """Add; inside `pipeline()` to whatever the number is in Redis."""
        return self._operator(int.__add__(self, other), "number.increase", other)

    def __isub__(self, other: int) -> Any:
        """Subtract; inside `pipeline()` from whatever the number is in Redis."""
        return self._operator(int.__sub__(self, other), "number.decrease", other)

    def __imul__(self, other: int) -> Any:
        """Multiply; inside `pipeline()` whatever the number is in Redis."""
        return self._operator(int.__mul__(self, other), "number.multiply", other)

    def __ifloordiv__(self, other: int) -> Any:
        """Divide and round down; inside `pipeline()` whatever the number is in Redis."""
        return self._operator(int.__floordiv__(self, other), "number.floor_divide", other)

    def __imod__(self, other: int) -> Any:
        """Keep the remainder; inside `pipeline()` of whatever the number is in Redis."""
        return self._operator(int.__mod__(self, other), "number.modulo", other)

    def __ipow__(self, other: Any) -> Any:  # type: ignore[misc, override]
        """Raise to a power; inside `pipeline()` whatever the number is in Redis."""
        if isinstance(other, int) and abs(self) > 1 and other > _codec.INT64_BITS:
            raise OutOfRange(self.key, self.json_path) if self._owner else OverflowError(other)
        return self._operator(int.__pow__(self, other), "number.power", other)


class RedisFloat(Immutable, float):
    """A finite double in a document: a `float` with a place."""

    _plain = float

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: float) -> None: ...

        def clone(self) -> float:
            """Return the plain double."""

    def _adopt(self, new: Any, owner: Owner, place: Step) -> Any:  # noqa: ARG002 - containers need them
        # Zero equals negative zero.
        return self if self == new and repr(self) == repr(new) else new

    @classmethod
    def _wrap(cls, value: Any, owner: Owner, place: Step, plan: Plan | None = None) -> Any:
        # A default such as `score: float = 0` is an int, and nobody validated it.
        return super()._wrap(float(value) if type(value) is int else value, owner, place, plan)

    async def increase(self, amount: float = 1.0) -> Self:
        """Add to whatever the number is in Redis and put the result into the model.

        One round trip, one script (`number.increase_double`), atomic; the sum is rounded as Python rounds it.

        Args:
            amount: a finite number, may be negative.

        Returns:
            the new number.

        Raises:
            OutOfRange: the amount or the result is no finite double; nothing is written.
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType: there is no number at this place any more.
            LockLost, OutcomeUnknown: as for every write.
            UsageError: the model's key is made of it.
        """
        if self._of_key:
            self._check_key_stays()
        amount = self._double(amount)
        recording = self._recording()
        if recording is not None:
            # What Python refuses here must not be sent later, should the block go on.
            return self._recorded(recording, self._checked_sum(amount), "number.increase_double", repr(amount))
        owner = self._linked()
        target = owner._way_to(self, self._hint)
        if owner._guarded:
            self._vet(self._checked_sum(amount))
        reply = await _calls.change(target, "number.increase_double", repr(amount))
        return self._taken(owner, target[0], reply[0])

    def _double(self, amount: float) -> float:
        if isinstance(amount, (str, bytes, bytearray)):
            msg = f"increase() of a number takes a number, not {type(amount).__name__}"
            raise TypeError(msg)
        try:
            double = float(amount)
        except OverflowError:  # of an integer
            double = math.inf
        self._check(double)
        return double

    def _checked_sum(self, amount: float) -> float:
        result = float(self) + amount
        self._check(result)
        return result

    def _check(self, value: float) -> None:
        if value - value != 0:  # infinite or no number
            raise OutOfRange(self.key, self.json_path)

    def _operator(self, result: Any, script: str, other: Any) -> Any:
        if not isinstance(other, (int, float)) or type(result) is not float:
            return result
        return self._in_place(result, script, repr(float(other)))

    def __iadd__(self, other: float) -> Any:
        """Add; inside `pipeline()` to whatever the number is in Redis."""
        return self._operator(float.__add__(self, other), "number.increase_double", other)

    def __isub__(self, other: float) -> Any:
        """Subtract; inside `pipeline()` from whatever the number is in Redis."""
        return self._operator(float.__sub__(self, other), "number.decrease_double", other)

    def __imul__(self, other: float) -> Any:
        """Multiply; inside `pipeline()` whatever the number is in Redis."""
        return self._operator(float.__mul__(self, other), "number.multiply_double", other)

    def __itruediv__(self, other: float) -> Any:
        """Divide; inside `pipeline()` whatever the number is in Redis."""
        return self._operator(float.__truediv__(self, other), "number.divide_double", other)


def _integer(amount: Any) -> int:
    if not isinstance(amount, int):
        msg = f"increase() of an integer takes an integer, not {type(amount).__name__}"
        raise TypeError(msg)
    return int.__index__(amount)


#: An integer as the scripts take it, also one of a class that is written in another way.
_decimal = int.__repr__
