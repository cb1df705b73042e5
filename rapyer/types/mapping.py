"""`RedisDict`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload

from rapyer import _codec, _ops, _session
from rapyer._link import MovedOut
from rapyer.errors import UsageError
from rapyer.types._container import PLAIN, UNLINKED, Container, Recorded, adopt, is_there, plain_copy

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema
    from typing_extensions import Self

    from rapyer._ops import Operation
    from rapyer._path import Step

__all__ = ["RedisDict"]

T = TypeVar("T")
D = TypeVar("D")
_MISSING: Any = object()

if TYPE_CHECKING:
    Entries = Mapping[str, T] | Iterable[tuple[str, T]]


class RedisDict(Container, dict[str, T]):
    """An object in a document: a `dict` of text keys with a place. Its values have a place of their own."""

    _plain = dict

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: dict[str, T]) -> None: ...

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as a plain dict; the value is wrapped when it is touched."""
        value = get_args(source)[0] if get_args(source) else Any
        return handler.generate_schema(dict[str, value])  # type: ignore[valid-type]

    def clone(self) -> dict[str, T]:
        """Return a plain dict of plain values, deep."""
        return {key: plain_copy(value) for key, value in dict.items(self)}

    def __copy__(self) -> dict[str, T]:
        """Return a plain dict of the same values."""
        return dict(dict.items(self))

    copy = __copy__

    # -- the owner's side ------------------------------------------------------------------------------------------

    def _place_of(self, child: object, hint: Step) -> str:
        if self._holds(hint, child):
            return str(hint)
        for key, value in dict.items(self):
            if value is child:
                return str(_exact(key))
        msg = "this value is no longer in its dict: take it from the dict again"
        raise UsageError(msg)

    def _holds(self, place: Step, child: object) -> bool:
        return dict.get(self, str(place), _MISSING) is child

    def _put(self, place: Step, value: Any) -> Any:
        key = str(place)
        kept = adopt(dict.get(self, key), value, self, key)
        dict.__setitem__(self, key, kept)
        return kept

    def _get(self, place: Step) -> Any:
        return self[str(place)]

    def _replace(self, value: dict[str, Any]) -> None:
        if not UNLINKED.issuperset(map(type, dict.values(self))):
            for key, present in dict.items(self):
                if present.__class__ not in UNLINKED and key in value:
                    value[key] = adopt(present, value[key], self, key)
        dict.clear(self)
        dict.update(self, value)

    def _touch(self, key: str, value: Any) -> Any:
        key = _exact(key)
        linked = self._element.wrap(value, self, key)
        if linked is not value:
            dict.__setitem__(self, key, linked)
        return linked

    def _values(self) -> Iterable[Any]:
        return self.values()

    # -- reading ---------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> T:
        """Return a value with its place."""
        value: T = self._touch(key, dict.__getitem__(self, key))
        return value

    @overload
    def get(self, key: str, default: None = None, /) -> T | None: ...

    @overload
    def get(self, key: str, default: T, /) -> T: ...

    @overload
    def get(self, key: str, default: D, /) -> T | D: ...

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value with its place, or the default."""
        value = dict.get(self, key, _MISSING)
        return default if value is _MISSING else self._touch(key, value)

    def values(self) -> ValuesView[T]:  # type: ignore[override]
        """Return a view of the values, each with its place."""
        self._touch_all()
        return dict.values(self)

    def items(self) -> ItemsView[str, T]:  # type: ignore[override]
        """Return a view of the entries, each value with its place."""
        self._touch_all()
        return dict.items(self)

    def _touch_all(self) -> None:
        for key, value in list(dict.items(self)):
            self._touch(key, value)

    def _checked(self, key: Any) -> str:
        """Return a key as it is stored.

        Raises:
            TypeError: it is no text.
            ValueError: it is no text that can be sent.
        """
        if not isinstance(key, str):
            msg = f"keys of a dict in a document are text, not {type(key).__name__}: use str(key)"
            raise TypeError(msg)
        text: str = _exact(key)
        if not (text.isascii() or _codec.is_whole(text)):  # the first saves most of the calls
            msg = f"key {text!r}: {_codec.HALF}"
            raise ValueError(msg)
        return text

    # -- Python's mutators -----------------------------------------------------------------------------------------

    def __setitem__(self, key: str, value: T) -> None:
        """Set one entry; inside `pipeline()` of whatever the dict is in Redis."""
        key = self._checked(key)
        present = dict.get(self, key)
        if value is present and is_there(value):  # both, as below: the first saves most of the calls
            return
        valid = self._valid(value)
        if value.__class__ in PLAIN or not self._remembered(value, key, present):
            self._record("map.set_item", self._element.arguments, valid, self, key, member=key)
        dict.__setitem__(self, key, valid)
        if self._element.followed:
            self._link_at([key])

    def __delitem__(self, key: str) -> None:
        """Remove one entry; inside `pipeline()` it has to be there in Redis, too."""
        self._put_aside()
        dict.__delitem__(self, key)
        self._record("map.delete_item", tuple, member=_exact(key))

    def update(self, entries: Entries[T] = (), /, **more: T) -> None:  # type: ignore[override]
        """Set entries; inside `pipeline()` of whatever the dict is in Redis."""
        valid = self._valid_entries(entries, **more)
        recording = self._recording()
        if recording is not None:
            with suppress(MovedOut):
                recording.add(self._document(), self._update_operations(valid))
        dict.update(self, valid)
        self._link_at(valid)

    @overload
    def pop(self, key: str, /) -> T: ...

    @overload
    def pop(self, key: str, default: T, /) -> T: ...

    @overload
    def pop(self, key: str, default: D, /) -> T | D: ...

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove and return one entry, plain; without default it has to be there, inside `pipeline()` in Redis, too."""
        present = key in self
        self._put_aside()
        value = plain_copy(self[key]) if present else default  # of a linked one: a copy of that is no document
        dict.pop(self, key, *(() if default is _MISSING else (default,)))
        script = "map.delete_item" if default is _MISSING else "map.pop"
        if present or default is not _MISSING:
            self._record(script, tuple, member=str(_exact(key)))
        return value

    def popitem(self) -> tuple[str, T]:
        """Remove and return the last entry, plain; inside `pipeline()` the same one is removed in Redis."""
        self._put_aside()
        key, value = dict.popitem(self)
        key = _exact(key)
        value = plain_copy(self._element.wrap(value, self, key))
        self._record("map.delete_item", tuple, member=key)
        return key, value

    def setdefault(self, key: str, default: Any = None) -> T:
        """Return an entry; set it first if it is missing here."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Remove all entries, also those that others put in meanwhile."""
        self._put_aside()
        dict.clear(self)
        self._record("value.clear", lambda: ("object", "{}"))

    def __ior__(self, other: Entries[T]) -> Self:  # type: ignore[override, misc]
        """Set entries."""
        self.update(other)
        return self

    def _valid_entries(self, given: Entries[T], /, **more: T) -> dict[str, Any]:
        entries = [(self._checked(key), value) for key, value in dict(given, **more).items()]
        return {key: self._valid(value) for key, value in entries}

    def _update_operations(self, entries: dict[str, Any]) -> list[Operation]:
        values = [(key, self._element.arguments(value, self, key)) for key, value in entries.items()]
        return _ops.update("map.update", self._steps(), values)

    # -- operations at once ----------------------------------------------------------------------------------------

    async def aset_item(self, key: str, value: T) -> Self:
        """Set one entry of whatever the dict is in Redis.

        One round trip, one script (`map.set_item`), atomic. Afterwards the local dict is what Redis holds.

        Args:
            key: any text.
            value: validated as a value of this dict.

        Returns:
            the dict itself.

        Raises:
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType: there is no object at this place any more.
            LockLost, OutcomeUnknown: as for every write.
        """
        key = self._checked(key)
        valid = self._fit(value)
        arguments = self._element.arguments(valid, self, key)
        await self._truth(lambda it: dict.__setitem__(it, key, valid), "map.set_item", *arguments, member=key)
        return self

    async def adel_item(self, key: str) -> Self:
        """Remove one entry; one round trip, `map.delete_item`; see `aset_item`.

        Raises:
            KeyError: there is none in Redis; nothing is changed.
        """
        key = self._checked(key)
        await self._truth(lambda it: dict.__delitem__(it, key), "map.delete_item", member=key)
        return self

    async def aupdate(self, entries: Entries[T] = (), /, **more: T) -> Self:
        """Set entries, all or none; one round trip, `map.update`; takes what `dict.update` takes; see `aset_item`."""
        valid = self._valid_entries(entries, **more)
        self._vet_now(valid.values())
        await self._truth_of(lambda it: dict.update(it, valid), *self._update_operations(valid))
        return self

    @overload
    async def apop(self, key: str, default: None = None) -> T | None: ...

    @overload
    async def apop(self, key: str, default: D) -> T | D: ...

    async def apop(self, key: str, default: Any = None) -> Any:
        """Remove one entry and return its value as Redis has it, plain; the default where there is none.

        One round trip, one script (`map.pop`), atomic: no two callers get the same entry. See `aset_item`.
        """
        key = self._checked(key)
        answer = await self._truth(lambda it: dict.pop(it, key, default), "map.pop", member=key)
        if isinstance(answer, Recorded):
            return plain_copy(answer.value)
        return default if answer is None else self._element.load(answer)

    async def apopitem(self) -> tuple[str, T]:
        """Remove the entry that was added last and return it as Redis has it, plain.

        One round trip, one script (`map.pop_item`), atomic. See `aset_item`.

        Raises:
            KeyError: the dict is empty in Redis.
        """
        if _session.recording_of(self._document()) is not None:
            return self.popitem()
        answer = await self._truth(lambda it: it is not self and dict.popitem(it), "map.pop_item")
        return answer[0].decode(), self._element.load(answer[1])

    async def aclear(self) -> Self:
        """Remove all entries; one round trip, `value.clear`; see `aset_item`."""
        await self._truth(dict.clear, "value.clear", "object", "{}")
        return self

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[str]: ...


def _exact(key: Any) -> Any:
    """Return a key that is text as plain text: of an enumeration's member its value, as Pydantic writes it."""
    return str.__str__(key) if key.__class__ is not str and isinstance(key, str) else key
