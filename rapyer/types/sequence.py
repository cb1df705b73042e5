"""`RedisList`."""

from __future__ import annotations

import sys
from operator import index as index_of
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, get_args, overload

from rapyer.errors import UsageError
from rapyer.types._container import UNLINKED, Container, Recorded, adopt, is_there, plain_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from typing_extensions import Self

    from rapyer._ops import Argument
    from rapyer._path import Step

__all__ = ["RedisList"]

T = TypeVar("T")


class RedisList(Container, list[T]):
    """An array in a document: a `list` with a place. Its elements have a place of their own."""

    _plain = list

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: list[T]) -> None: ...

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as a plain list; the value is wrapped when it is touched."""
        return handler.generate_schema(list[get_args(source)[0]] if get_args(source) else list)  # type: ignore[misc]

    def clone(self) -> list[T]:
        """Return a plain list of plain values, deep."""
        return [plain_copy(item) for item in list.__iter__(self)]

    def __copy__(self) -> list[T]:
        """Return a plain list of the same elements."""
        return list(list.__iter__(self))

    # -- the owner's side ------------------------------------------------------------------------------------------

    def _place_of(self, child: object, hint: Step) -> int:
        if self._holds(hint, child):
            return int(hint)
        for index, item in enumerate(list.__iter__(self)):
            if item is child:
                return index
        msg = "this element is no longer in its list: take it from the list again"
        raise UsageError(msg)

    def _holds(self, place: Step, child: object) -> bool:
        return isinstance(place, int) and 0 <= place < len(self) and list.__getitem__(self, place) is child

    def _put(self, place: Step, value: Any) -> Any:
        index = _index(place)
        kept = adopt(list.__getitem__(self, index), value, self, index)
        list.__setitem__(self, index, kept)
        return kept

    def _get(self, place: Step) -> Any:
        return self[_index(place)]

    def _replace(self, value: list[Any]) -> None:
        present = list(list.__iter__(self))
        pairs = enumerate(zip(present, value, strict=False))
        # The first thing `adopt` asks is asked here: that spares most elements a call.
        kept = [new if old.__class__ in UNLINKED else adopt(old, new, self, index) for index, (old, new) in pairs]
        list.__setitem__(self, slice(None), [*kept, *value[len(kept) :]])

    def _touch(self, index: Any, item: Any) -> Any:
        linked = self._element.wrap(item, self, index)
        if linked is not item:
            list.__setitem__(self, index, linked)
        return linked

    def _values(self) -> Iterable[Any]:
        return self

    # -- reading ---------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: Any) -> Any:
        """Return an element with its place, or a plain list of such for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        item = list.__getitem__(self, index)
        return self._touch(int(index) % len(self), item)

    def __iter__(self) -> Iterator[T]:
        """Go through the elements, each with its place."""
        for index, item in enumerate(list.__iter__(self)):
            yield self._touch(index, item)

    def __reversed__(self) -> Iterator[T]:
        """Go through the elements from the last to the first."""
        for index in range(len(self) - 1, -1, -1):
            yield self[index]

    # -- Python's mutators -----------------------------------------------------------------------------------------

    def append(self, value: T) -> None:
        """Append; inside `pipeline()` to whatever the list is in Redis."""
        self.extend((value,))

    def extend(self, values: Iterable[T]) -> None:
        """Append all; inside `pipeline()` to whatever the list is in Redis."""
        valid = [self._valid(value) for value in values]
        self._record("list.extend", lambda: self._count_and_values(valid))
        list.extend(self, valid)
        self._link_at(range(len(self) - len(valid), len(self)))

    def insert(self, index: SupportsIndex, value: T) -> None:
        """Insert; inside `pipeline()` into whatever the list is in Redis."""
        valid = self._valid(value)
        place = index_of(index)
        self._record("list.insert", lambda: (str(place), *self._element.arguments(valid, self)))
        list.insert(self, place, valid)
        self._link_at([min(max(place + len(self) - 1 if place < 0 else place, 0), len(self) - 1)])

    def pop(self, index: SupportsIndex = -1) -> T:
        """Remove and return an element, plain; inside `pipeline()` the one that is there in Redis is removed."""
        place = index_of(index)
        self._put_aside()
        popped: T = plain_copy(self[place])  # of a linked one: a copy of that is no document
        list.pop(self, place)
        self._record("list.pop", lambda: (str(place), "refuse"))
        return popped

    def remove(self, value: T) -> None:
        """Remove the first equal element; inside `pipeline()` of whatever the list is in Redis."""
        present = self._as_here(self._valid(value))
        self._put_aside()
        _take_out(self, present)
        self._record("list.remove", lambda: (self._element.dump(present), "0"))

    def clear(self) -> None:
        """Remove all elements, also those that others put in meanwhile."""
        self._put_aside()
        list.clear(self)
        self._record("value.clear", lambda: ("array", "[]"))

    def reverse(self) -> None:
        """Turn the order around; inside `pipeline()` the whole list is set."""
        self._put_aside()
        list.reverse(self)
        self._record_whole()

    def sort(self, *, key: Callable[[T], Any] | None = None, reverse: bool = False) -> None:
        """Sort; inside `pipeline()` the whole list is set."""
        # A sort that fails half way leaves everything where it was.
        ordered = sorted(list.__iter__(self), key=key, reverse=reverse)  # type: ignore[type-var, arg-type]
        self._put_aside()
        list.__setitem__(self, slice(None), ordered)
        self._record_whole()

    @overload
    def __setitem__(self, index: SupportsIndex, value: T) -> None: ...

    @overload
    def __setitem__(self, index: slice, value: Iterable[T]) -> None: ...

    def __setitem__(self, index: Any, value: Any) -> None:
        """Replace an element, or a slice of them."""
        if isinstance(index, slice):
            self._put_aside()
            list.__setitem__(self, index, [self._valid(item) for item in value])
            self._record_whole()
            self._link_at(range(len(self)))
            return
        place = index_of(index)
        present = list.__getitem__(self, place)
        if value is present and is_there(value):
            return
        valid = self._valid(value)
        if not self._remembered(value, place % len(self), present):
            self._record("list.set_item", lambda: (str(place), *self._element.arguments(valid, self, place)))
        list.__setitem__(self, place, valid)
        self._link_at([place])

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        """Remove an element, or a slice of them."""
        self._put_aside()
        list.__delitem__(self, index)
        if isinstance(index, slice):
            self._record_whole()
        else:
            place = index_of(index)
            self._record("list.pop", lambda: (str(place), "refuse"))

    def __iadd__(self, values: Iterable[T]) -> Self:  # type: ignore[override, misc]
        """Append all."""
        self.extend(values)
        return self

    def __imul__(self, count: SupportsIndex) -> Self:
        """Repeat the elements; inside `pipeline()` the whole list is set."""
        copies = [plain_copy(item) for _ in range(index_of(count) - 1) for item in list.__iter__(self)]
        self._put_aside()
        list.__setitem__(self, slice(None), [*list.__iter__(self), *copies] if index_of(count) > 0 else [])
        self._record_whole()
        return self

    def _count_and_values(self, values: list[Any]) -> tuple[Argument, ...]:
        flat = [part for value in values for part in self._element.arguments(value, self)]
        return (str(len(values)), *flat)

    # -- operations at once ----------------------------------------------------------------------------------------

    async def aappend(self, value: T) -> Self:
        """Append to whatever the list is in Redis.

        One round trip, one script (`list.extend`), atomic. Afterwards the local list is what Redis holds.

        Args:
            value: what to append; validated as an element.

        Returns:
            the list itself.

        Raises:
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType: there is no array at this place any more.
            LockLost, OutcomeUnknown: as for every write.
        """
        return await self.aextend((value,))

    async def aextend(self, values: Iterable[T]) -> Self:
        """Append all, at one time; one round trip, `list.extend`; see `aappend`."""
        valid = [self._fit(value) for value in values]
        await self._truth(lambda it: list.extend(it, valid), "list.extend", *self._count_and_values(valid))
        return self

    async def ainsert(self, index: SupportsIndex, value: T) -> Self:
        """Insert before an index, outside means the nearest end; one round trip, `list.insert`; see `aappend`."""
        valid, place = self._fit(value), max(-sys.maxsize, min(index_of(index), sys.maxsize))
        arguments = (str(place), *self._element.arguments(valid, self, place))
        await self._truth(lambda it: list.insert(it, place, valid), "list.insert", *arguments)
        return self

    async def apop(self, index: SupportsIndex = -1) -> T | None:
        """Remove and return an element as Redis has it.

        One round trip, one script (`list.pop`), atomic: no two callers get the same element.

        Args:
            index: which; negative counts from the end.

        Returns:
            the element, plain; None when the list is empty.

        Raises:
            IndexError: the list is not empty and has no such element.
            KeyNotFound, PathNotFound, WrongType, LockLost, OutcomeUnknown: see `aappend`.
        """
        place = index_of(index)
        answer = await self._truth(lambda it: list.pop(it, place) if it else None, "list.pop", str(place), "none")
        if isinstance(answer, Recorded):
            popped: T | None = plain_copy(answer.value)
            return popped
        return None if answer is None else self._element.load(answer)

    async def aremove(self, value: T) -> Self:
        """Remove the first element that equals the value; one round trip, `list.remove`; see `aappend`.

        Raises:
            ValueError: there is none; nothing is changed.
        """
        present = self._as_here(self._valid(value))
        await self._truth(lambda it: _take_out(it, present), "list.remove", self._element.dump(present), "0")
        return self

    def _text(self) -> bytes | None:
        try:
            return None if self._whole is None else self._whole.dump(self)
        except ValueError:
            return None  # an element cannot be written, which is told when it is to be

    def _as_here(self, value: Any) -> Any:
        """Return the equal element here, if there is one: Redis compares text, and equal values may differ in that."""
        return next((item for item in list.__iter__(self) if item == value), value)

    async def aset_item(self, index: SupportsIndex, value: T) -> Self:
        """Replace one element; one round trip, `list.set_item`; see `aappend`.

        Raises:
            IndexError: the list has no such element; nothing is changed.
        """
        valid, place = self._fit(value), index_of(index)
        arguments = (str(place), *self._element.arguments(valid, self, place))
        await self._truth(lambda it: list.__setitem__(it, place, valid), "list.set_item", *arguments)
        return self

    async def aclear(self) -> Self:
        """Remove all elements; one round trip, `value.clear`; see `aappend`."""
        await self._truth(list.clear, "value.clear", "array", "[]")
        return self


def _index(place: Step) -> int:
    return int(place)


def _take_out(elements: list[Any], present: Any) -> None:
    """Remove an element here; in a block, what changed in place among them is recorded before that."""
    linked = elements if isinstance(elements, RedisList) and elements._element.followed else None
    recording = None if linked is None else linked._recording()
    if linked is None or recording is None or not recording.watched:
        list.remove(elements, present)
        return
    # In Redis the first that is written like it goes: of all it has to know what they are by now.
    recording.settle(linked, linked._text())
    list.remove(linked, present)
    recording.note_settled(linked, linked._text())
