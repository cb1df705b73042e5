"""`Keyed`: the methods of a model class that find documents by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rapyer import _blocks, _calls, _classes, _keys, _query, _session
from rapyer._loops import dispatcher
from rapyer._node import Node
from rapyer._ops import Operation
from rapyer._placed import give_key
from rapyer.errors import CorruptDocument, KeyNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

_set = object.__setattr__
#: A class's name; as an attribute it takes longer, since Pydantic's metaclass has a `__getattr__`.
_name_of: Callable[[type[Any]], str] = type.__dict__["__name__"].__get__


class Keyed(Node):
    """A model whose class knows what its documents' keys start with."""

    __slots__ = ()

    @classmethod
    def class_key_initials(cls) -> str:
        """Return what keys of this class start with: the class name, unless a class overrides it as it is made."""
        return _name_of(cls)

    @classmethod
    async def get(cls, key: str) -> Self:
        """Return the document under a key.

        One round trip, one script (`document.load`).

        Args:
            key: a full key of this class, or a bare pk.

        Raises:
            KeyNotFound: there is none, or it is another class's.
            WrongType: the key holds something that is no document.
            CorruptDocument: what is stored does not validate, or is another key's.
        """
        full = cls._full_key(key)
        return cls._read_document(full, await cls._load_text(full))

    @classmethod
    async def delete_by_key(cls, key: str) -> bool:
        """Delete the document under a key without loading it.

        One round trip, one script (`document.delete`), atomic.

        Args:
            key: a full key of this class, or a bare pk.

        Returns:
            True when something was deleted, False when it was not there or is another class's.

        Raises:
            WrongType: the key holds something that is no document.
            LockLost, OutcomeUnknown: as for every write.
        """
        try:
            full = cls._full_key(key)
        except KeyNotFound:
            return False
        reply = await _calls.run(_blocks.ByKey(cls, full), Operation("document.delete", ()))
        return True if reply is None else bool(reply[0])

    @classmethod
    async def afind_keys(cls) -> list[str]:
        """Return the keys of all documents of this class, each once, in no order.

        Walks the keys with SCAN: one round trip for each thousand keys of the database. A key that is added or
        removed meanwhile may be in or not.
        """
        client = _session.bound_client(cls.Meta, cls)
        prefix = cls.class_key_initials()
        walk = _query.find_keys(client, prefix, lambda key: _classes.models.belongs(prefix, key))
        return [key async for key in walk]

    @classmethod
    async def afind(cls) -> list[Self]:
        """Return all documents of this class; those that vanish meanwhile are left out.

        One round trip for each thousand keys of the database and for each hundred documents (`document.load_many`).

        Raises:
            CorruptDocument: one does not validate.
        """
        keys = await cls.afind_keys()
        client = _session.bound_client(cls.Meta, cls)
        found: list[Self] = []
        for start in range(0, len(keys), _query.LOAD_BATCH):
            texts = await _query.load_many(client, keys[start : start + _query.LOAD_BATCH], cls.Meta)
            found += [cls._read_document(key, text) for key, text in texts]
        return found

    # -- what the methods above are made of ------------------------------------------------------------------------

    @classmethod
    def _read_document(cls, key: str, text: bytes) -> Self:
        self = cls._read_content(key, text)
        give_key(self, _keys.pk_of(cls.class_key_initials(), key), key)
        return self

    @classmethod
    def _read_content(cls, key: str, text: bytes) -> Self:
        """Return what a document holds, as a model that does not know its key."""
        try:
            self: Self = cls.__pydantic_validator__.validate_json(text, by_name=True, by_alias=False)
        except ValidationError as error:
            raise CorruptDocument(key) from error
        if cls._key_fields and not self._makes(_keys.pk_of(cls.class_key_initials(), key)):
            reason = ValueError(f"{' and '.join(sorted(cls._key_fields))} in it are those of another key")
            raise CorruptDocument(key) from reason
        return self

    @classmethod
    def _full_key(cls, key: str) -> str:
        prefix = cls.class_key_initials()
        full = _keys.full_key(prefix, key)
        if not _classes.models.belongs(prefix, full):
            raise KeyNotFound(full)
        return full

    @classmethod
    def _load_text(cls, key: str) -> Awaitable[bytes]:
        ttl = _session.read_ttl(cls.Meta)
        script = "document.load_refresh" if ttl else "document.load"
        caller = dispatcher(_session.bound_client(cls.Meta, cls))
        return caller.script(script, (key,), (ttl,) if ttl else (), "$")
