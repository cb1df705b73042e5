"""`AtomicRedisModel`: the public methods, which hand on to the layers below."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rapyer import _blocks, _calls, _codec, _session
from rapyer._blocks import LockBlock, LockOptions
from rapyer._keyed import Keyed
from rapyer._link import MovedOut
from rapyer._node import Node
from rapyer._ops import Operation
from rapyer._pipeline import Pipeline
from rapyer._placed import owner_of
from rapyer.errors import UsageError
from rapyer.types._base import decode

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AtomicRedisModel"]

_set = object.__setattr__


class AtomicRedisModel(Keyed):
    """A Pydantic model that lives in Redis as one RedisJSON document; every operation is one Lua script.

    Write the fields as plain annotations. Inside a document their values are Redis types, which are those Python types
    and have a place: `user.tags.aappend("x")`, `user.score.increase()`.

    `Meta`, a nested class, takes the options of `rapyer.config.RedisConfig`.

    Besides what each method names, whatever talks to Redis raises `UsageError` where the model is bound to no client,
    `ServerError` for what else Redis answers, and redis-py's `ConnectionError` or `TimeoutError` when no Redis answers;
    a write raises `NotReplicated` with `Meta.min_replicas`.
    """

    __slots__ = ()

    # -- documents -------------------------------------------------------------------------------------------------

    async def save(self) -> Self:
        """Write the whole document, new or not; a nested model writes its own part.

        One round trip, one script (`document.save`, nested `value.set`), atomic; sets the ttl. Inside `pipeline()` it
        joins the block.

        Returns:
            self.

        Raises:
            KeyNotFound: only nested: the document is gone; nothing is recreated.
            PathNotFound: only nested: what the model is in is gone.
            IndexError: only nested: the list that it is an element of got shorter.
            WrongType: the key holds something that is no document.
            UsageError: fields here make another hash tag than the one in the key, or a key that is another class's.
            pydantic.ValidationError: what changed in place here would not validate; nothing is written.
            OutOfRange: a value cannot be stored exactly, as in an `Any` field; nothing is written.
            LockLost: a lock this task holds on the document was lost.
            OutcomeUnknown: the connection was lost before the answer.
        """
        owner, text = owner_of(self), self._dump()
        if self._rules.deep:
            self._vet_text(text)
        try:
            arguments = _codec.arguments(text, _codec.DEEPEST if owner is None else _codec.DEEPEST_INSIDE)
        except _codec.Inexact as error:
            raise error.at(self.key, self._steps()) from None
        if owner is None:
            if self._tag:
                self._check_tag()
            operation = Operation("document.save", (), arguments)
        else:
            self._vet_above(self)
            place = owner._place_of(self, self._hint)
            operation = Operation("value.set", owner._steps(), arguments, place)
        if owner is None and _session.is_recording():
            self._stand_alone()
        await _calls.write(self._document(), operation, self)
        return self

    async def load(self) -> Self:
        """Refresh self from Redis, in place; nested models and containers stay the same objects.

        One round trip, one script (`document.load`, nested `value.load`).

        Returns:
            self.

        Raises:
            KeyNotFound: there is no document.
            PathNotFound: only nested: this part is gone.
            WrongType: the key holds something that is no document.
            CorruptDocument: what is stored does not validate, or is another key's.
        """
        owner = owner_of(self)
        if owner is None:
            key = self.key
            self._become(key, await self._load_text(key))
        else:
            text = await _calls.load_text(self._document(), self._steps())
            place = owner._place_of(self, self._hint)  # only now: a list may have moved it
            owner._put(place, decode(owner, place, text))
            self._agrees()
        return self

    async def delete(self) -> bool:
        """Delete the document.

        One round trip, one script (`document.delete`), atomic. Inside `pipeline()` it joins the block.

        Returns:
            True when something was deleted, False when it was not there; True when it joined a block.

        Raises:
            UsageError: this is a nested model.
            WrongType: the key holds something that is no document.
            LockLost, OutcomeUnknown: as for every write.
        """
        self._check_root("delete()", "assign None to its field or remove it from its list")
        reply = await _calls.run(self._document(), Operation("document.delete", ()))
        return True if reply is None else bool(reply[0])

    def _check_root(self, what: str, instead: str) -> None:
        if owner_of(self) is not None:
            msg = f"{what} is for documents, and this {type(self).__name__} is part of one: {instead}"
            raise UsageError(msg)

    async def duplicate(self) -> Self:
        """Save a copy of the present values under a new pk and return it; see `duplicate_many`."""
        return (await self.duplicate_many(1))[0]

    async def duplicate_many(self, num: int) -> list[Self]:
        """Save copies of the present values under new pks.

        One round trip, one script (`document.duplicate`), atomic: all or none. The payload is sent once. On a cluster
        there is one script for each slot; where not all copies are written, or on replicas, those that are get removed.
        Inside `pipeline()` it does not join the block: the copies are written at once.

        Args:
            num: how many, 0 or more.

        Returns:
            the copies.

        Raises:
            OutOfRange: a value cannot be stored exactly, as in an `Any` field; nothing is written.
            UsageError: `num` is no such number, this is a nested model, or its key field has no `default_factory`
                to make new keys (or it made one that is taken).
            OutcomeUnknown: the connection was lost before the answer, or copies could not be removed: it names the
                first five.
            NotReplicated: fewer replicas than `Meta.min_replicas` had the copies in time; they were removed.
        """
        self._check_root("duplicate()", "duplicate the document")
        if not _is_count(num):
            msg = f"duplicate_many() takes a number of copies, 0 or more, not {num!r}"
            raise UsageError(msg)
        text = self._dump()
        return await _blocks.write_copies(self, text, num)

    def update(self, **kwargs: Any) -> None:
        """Set fields here, validated, all or none; Redis learns of it by `save()`, or at once inside `pipeline()`.

        The model's own validators judge the fields together; what they change in others is set as well. Of fields with
        `exclude=True` Redis learns nothing.

        Raises:
            UsageError: a field is unknown.
            pydantic.ValidationError: a value does not fit; nothing is changed.
            OutOfRange: inside `pipeline()`, a value cannot be stored exactly; nothing is changed.
        """
        self._check_fields(kwargs)
        shadow = self._shadow(kwargs)
        names = self._revised(shadow, kwargs)
        for name in self._key_fields.intersection(names):
            self._check_key_stays(name)
        document = self._document()
        recording = _session.recording_of(document)
        if recording is None:
            self._take_fields(shadow, names)
            return
        stored = [name for name in names if self._is_stored(name)]
        # What cannot be recorded is not set here either, so it is asked first.
        operations: list[Operation] = []
        with suppress(MovedOut):
            operations = [self._set_operation(name, shadow) for name in stored]
        self._take_fields(shadow, names)
        recording.add(document, operations)
        self._follow(stored)

    async def aupdate(self, **kwargs: Any) -> None:
        """Set fields in Redis and here, and nothing else of the document.

        All values are validated first, as by `update`; fields that the model's own validators change are written as
        well. One round trip, one script (`document.update`), atomic. Inside `pipeline()` it
        joins the block. Fields with `exclude=True` are set here only: with no other ones nothing is sent. A field
        whose `exclude_if` says so is removed from the document (`map.pop`, with other fields `batch.apply`).

        Raises:
            UsageError: a field is unknown, or the key is made of it.
            pydantic.ValidationError: a value does not fit; nothing is changed, here or there.
            KeyNotFound: the document is gone; nothing is recreated, and nothing changed here.
            PathNotFound, WrongType: only nested: this part is gone or something else.
            OutOfRange: a value cannot be stored exactly, as in an `Any` field.
            LockLost, OutcomeUnknown: as for every write.
        """
        self._check_fields(kwargs)
        document = self._document()
        self._check_key_is_not(kwargs)
        if not kwargs:
            return
        if _session.recording_of(document) is not None:
            self.update(**kwargs)
            return
        shadow = self._shadow(kwargs)
        names = self._revised(shadow, kwargs)
        self._check_key_is_not(names)
        self._vet_above(shadow)
        stored = [name for name in names if self._is_stored(name)]
        self._vet_inside(shadow, stored)
        operations = self._set_operations(shadow, stored)
        if operations:
            await _calls.send(document, *operations)
        self._take_fields(shadow, names)
        if _session._saving:
            for name in stored:
                _session.agrees(document, (*self._steps(), name))

    # -- blocks ----------------------------------------------------------------------------------------------------

    def pipeline(self, ignore_if_deleted: bool = False) -> Pipeline[Self]:  # noqa: FBT001, FBT002 - as asked for
        """Collect what the block does to this model and carry it out as one script, all or nothing.

        Entering refreshes the model (1 round trip); leaving sends the script (`batch.apply`, 1 round trip), after which
        the model's touched fields are what Redis holds. If anything raises, nothing is written and the model is as
        it was on entry.

        Args:
            ignore_if_deleted: whether a document that is gone is left alone instead of a `KeyNotFound`.

        Returns:
            an async context manager that gives the model.

        Raises:
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType, OutOfRange, IndexError, KeyError, ValueError, ZeroDivisionError: an operation was
                refused; none of the block was written.
            pydantic.ValidationError: what the block leaves here would not validate; nothing was written.
            CorruptDocument: what is stored, on entry or after the block, does not validate.
            UsageError: the block is in use.
            LockLost, OutcomeUnknown: as for every write.
        """
        return Pipeline(self._document(), self, ignore_if_deleted=ignore_if_deleted)

    def lock(
        self,
        action: str = "default",
        save_at_end: bool = False,  # noqa: FBT001, FBT002 - as asked for
        *,
        timeout: float | None = None,
        lease: float | None = None,
    ) -> LockBlock[Self]:
        """Hold an exclusive lock on this document while the block runs, and refresh self under it.

        Two round trips in all: acquiring loads (`lock.acquire`); leaving saves, releases and hands the lock to the next
        waiter (`lock.save`, or `lock.release` without saving). First come, first served. Changes below names that
        RedisJSON cannot write to by path are saved by a script of their own (`batch.apply`).

        Args:
            action: the lock's name; different actions of one document do not exclude each other.
            save_at_end: whether what the body changed, and only that, is saved when it ends without error.
            timeout: seconds to wait for the lock; None waits as long as it takes. 0 asks once, and waits for the answer
                as any call does.
            lease: seconds until a lock whose holder died ends by itself; None means `Meta.lock_lease`.

        Returns:
            an async context manager that gives self. While the block runs its `fence` is the fencing number, which
            only grows: `lock = user.lock()`, `async with lock: lock.fence`.

        Raises:
            LockTimeout: the lock was not to be had in time.
            LockLost: the lease had ended before the block did. What was to be written after that was not; what the body
                wrote by itself before stays.
            KeyNotFound: there is no document; the lock is released.
            WrongType: the key holds something that is no document; the lock is released.
            CorruptDocument: what is stored does not validate; the lock is released.
            pydantic.ValidationError, OutOfRange: with `save_at_end`, what the body left cannot be saved; the lock is
                released, and nothing was written.
            OutcomeUnknown: the connection was lost before the answer to the save or the release.
            UsageError: this task holds the lock already, the block is in use or was left in another task, `timeout` or
                `lease` makes no sense, the body changed the document's key, a block that saves is inside a pipeline of
                its document, or a nested model is no part of its document any more, or is one of another by now.
        """
        document = self._document()
        options = LockOptions(save_at_end, timeout, lease)
        return LockBlock(type(document), lambda: document.key, self, action, options)

    @classmethod
    def lock_from_key(
        cls,
        key: str,
        action: str = "default",
        save_at_end: bool = False,  # noqa: FBT001, FBT002 - as asked for
        *,
        timeout: float | None = None,
        lease: float | None = None,
    ) -> LockBlock[Self]:
        """Hold an exclusive lock on the document under a key and yield it as loaded under the lock; see `lock`.

        Args:
            key: a full key of this class, or a bare pk.
            action: see `lock`.
            save_at_end: see `lock`.
            timeout: see `lock`.
            lease: see `lock`.
        """
        options = LockOptions(save_at_end, timeout, lease)
        return LockBlock(cls, lambda: cls._full_key(key), None, action, options)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


Node._public = AtomicRedisModel
