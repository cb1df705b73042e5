"""`RedisDatetime`."""

from __future__ import annotations

import operator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rapyer import _calls
from rapyer.errors import OutOfRange, UsageError
from rapyer.types._base import Immutable

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from rapyer._link import Owner
    from rapyer._ops import Argument
    from rapyer._path import Step

__all__ = ["RedisDatetime"]


class RedisDatetime(Immutable, datetime):
    """A timestamp in a document, stored as ISO 8601 with microseconds and offset: a `datetime` with a place."""

    _plain = datetime

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: datetime) -> None: ...

    def _adopt(self, new: Any, owner: Owner, place: Step) -> Any:  # noqa: ARG002 - containers need them
        # Moments are equal across offsets.
        return self if self == new and str(self) == str(new) else new

    @classmethod
    def _of(cls, value: datetime) -> Self:
        return cls(
            value.year,
            value.month,
            value.day,
            value.hour,
            value.minute,
            value.second,
            value.microsecond,
            value.tzinfo,
            fold=value.fold,
        )

    def clone(self) -> datetime:
        """Return the plain timestamp."""
        return datetime(
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
            self.microsecond,
            self.tzinfo,
            fold=self.fold,
        )

    async def aadd(self, duration: timedelta) -> Self:
        """Move the timestamp, wherever it is in Redis, and put the result into the model.

        One round trip, one script (`moment.add`), atomic. The offset stays, microseconds are kept.

        Args:
            duration: how far, may be negative.

        Returns:
            the new timestamp.

        Raises:
            OutOfRange: the result is outside the years 1 to 9999; nothing is written.
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType: there is no timestamp at this place any more.
            LockLost, OutcomeUnknown: as for every write.
            UsageError: the model's key is made of it.
        """
        if self._of_key:
            self._check_key_stays()
        recording = self._recording()
        if recording is not None:
            # What Python refuses here must not be sent later, should the block go on.
            return self._recorded(recording, self._moved(duration), "moment.add", *_parts(duration))
        owner = self._linked()
        target = owner._way_to(self, self._hint)
        if owner._guarded:
            self._vet(self._moved(duration))
        reply = await _calls.change(target, "moment.add", *_parts(duration))
        return self._taken(owner, target[0], reply[0])

    def __iadd__(self, other: timedelta) -> Any:
        """Move forward; inside `pipeline()` from wherever the timestamp is in Redis."""
        if not isinstance(other, timedelta):
            return NotImplemented
        return self._in_place(self._moved(other), "moment.add", *_parts(other))

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        """Move back; inside `pipeline()` from wherever the timestamp is in Redis."""
        if not isinstance(other, timedelta):
            return self.clone() - other
        return self._in_place(self._moved(other, operator.sub), "moment.add", *_parts(-other))

    def _moved(self, duration: timedelta, how: Callable[[datetime, timedelta], datetime] = operator.add) -> datetime:
        try:
            return how(self.clone(), duration)
        except OverflowError:
            with suppress(UsageError):  # it stands in no document
                raise OutOfRange(self.key, self.json_path) from None
            raise


def _parts(duration: timedelta) -> tuple[Argument, ...]:
    return str(duration.days), str(duration.seconds), str(duration.microseconds)
