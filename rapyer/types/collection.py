"""`RedisSet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from rapyer.types._container import Container, Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from typing_extensions import Self

    from rapyer._ops import Argument

__all__ = ["RedisSet"]

T = TypeVar("T")


class RedisSet(Container, set[T]):
    """An array without duplicates in a document: a `set` with a place. Its elements are plain values.

    Whether an element is in it is decided where the set is: in Redis, by the stored text. So moments become UTC and
    Decimals their shortest form; in a set of mixed kinds `1`, `1.0` and `True` are different there. Elements that are
    collections themselves are the same there if they are stored in the same order; a frozenset has none, so use sorted
    tuples where that matters.
    """

    _plain = set

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: set[T]) -> None: ...

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as a plain set; the value is wrapped when it is touched."""
        return handler.generate_schema(set[get_args(source)[0]] if get_args(source) else set)  # type: ignore[misc]

    def clone(self) -> set[T]:
        """Return a plain set."""
        return set(self)

    def __repr__(self) -> str:
        """Look like the plain set."""
        return repr(self.clone())

    __copy__ = clone
    copy = clone

    def _replace(self, value: set[Any]) -> None:
        set.clear(self)
        set.update(self, value)

    def _text(self, value: Any) -> bytes:
        return self._element.dump(value)

    def _texts(self, values: Iterable[Any]) -> tuple[Argument, ...]:
        texts = [self._text(value) for value in values]
        return (str(len(texts)), *texts)

    def _texts_and_values(self, values: Iterable[Any]) -> tuple[Argument, ...]:
        members = [(self._text(value), *self._element.arguments(value, self)) for value in values]
        return (str(len(members)), *(part for member in members for part in member))

    def _all_valid(self, *others: Iterable[Any]) -> set[Any]:
        return {self._valid(value) for other in others for value in other}

    # -- Python's mutators -----------------------------------------------------------------------------------------

    def add(self, value: T) -> None:
        """Add; inside `pipeline()` unless it is in Redis already."""
        self.update((value,))

    def update(self, *others: Iterable[T]) -> None:
        """Add all; inside `pipeline()` those that are not in Redis already."""
        valid = self._all_valid(*others)
        self._record("set.add", lambda: self._texts_and_values(valid))
        set.update(self, valid)

    def discard(self, value: Any) -> None:
        """Remove if it is there; inside `pipeline()` whether it is there is decided in Redis."""
        self.difference_update((value,))

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove all these; inside `pipeline()` those that are in Redis."""
        valid = self._all_valid(*others)
        self._record("set.discard", lambda: self._texts(valid))
        set.difference_update(self, valid)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep only these; inside `pipeline()` of whatever is in Redis."""
        for other in others:
            valid = self._all_valid(other)
            self._record("set.keep", lambda valid=valid: self._texts(valid))
            set.intersection_update(self, valid)

    def symmetric_difference_update(self, other: Iterable[T]) -> None:
        """Keep what is in one of both; inside `pipeline()` the whole set is set."""
        self._put_aside()
        set.symmetric_difference_update(self, self._all_valid(other))
        self._record_whole()

    def remove(self, value: T) -> None:
        """Remove an element that has to be there, inside `pipeline()` in Redis, too."""
        valid = self._valid(value)
        self._put_aside()
        set.remove(self, valid)
        self._record("set.remove", lambda: (self._text(valid),))

    def pop(self) -> T:
        """Remove and return any element; inside `pipeline()` the same one has to be in Redis."""
        self._put_aside()
        popped: T = set.pop(self)
        self._record("set.remove", lambda: (self._text(popped),))
        return popped

    def clear(self) -> None:
        """Remove all elements, also those that others put in meanwhile."""
        self._put_aside()
        set.clear(self)
        self._record("value.clear", lambda: ("array", "[]"))

    def __ior__(self, other: AbstractSet[T]) -> Self:  # type: ignore[override, misc]
        """Add all."""
        self.update(other)
        return self

    def __iand__(self, other: AbstractSet[Any]) -> Self:  # type: ignore[misc]
        """Keep only these."""
        self.intersection_update(other)
        return self

    def __isub__(self, other: AbstractSet[Any]) -> Self:  # type: ignore[misc]
        """Remove all these."""
        self.difference_update(other)
        return self

    def __ixor__(self, other: AbstractSet[T]) -> Self:  # type: ignore[override, misc]
        """Keep what is in one of both."""
        self.symmetric_difference_update(other)
        return self

    # -- operations at once ----------------------------------------------------------------------------------------

    async def aadd(self, *values: T) -> Self:
        """Add elements unless they are in Redis already.

        One round trip, one script (`set.add`), atomic. Afterwards the local set is what Redis holds.

        Args:
            values: what to add; each is validated as an element.

        Returns:
            the set itself.

        Raises:
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType: there is no array at this place any more.
            LockLost, OutcomeUnknown: as for every write.
        """
        valid = self._all_valid(values)
        await self._truth(lambda it: set.update(it, valid), "set.add", *self._texts_and_values(valid))
        return self

    async def adiscard(self, *values: T) -> Self:
        """Remove elements where they are in Redis; one round trip, `set.discard`; see `aadd`."""
        valid = self._all_valid(values)
        await self._truth(lambda it: set.difference_update(it, valid), "set.discard", *self._texts(valid))
        return self

    async def aremove(self, value: T) -> Self:
        """Remove an element that has to be in Redis; one round trip, `set.remove`; see `aadd`.

        Raises:
            KeyError: it is not; nothing is changed.
        """
        valid = self._valid(value)
        await self._truth(lambda it: set.remove(it, valid), "set.remove", self._text(valid))
        return self

    async def apop(self) -> T | None:
        """Remove any element and return it; None when the set is empty in Redis.

        One round trip, one script (`set.pop`), atomic: no two callers get the same element. See `aadd`.
        """
        if self._recording() is not None:
            return self.pop() if self else None
        answer = await self._truth(lambda it: it is not self and set.pop(it), "set.pop")
        return None if answer is None or isinstance(answer, Recorded) else self._element.load(answer)

    async def aclear(self) -> Self:
        """Remove all elements; one round trip, `value.clear`; see `aadd`."""
        await self._truth(set.clear, "value.clear", "array", "[]")
        return self
