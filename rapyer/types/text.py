"""`RedisStr` and `RedisBytes`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rapyer import _calls
from rapyer.types._base import Immutable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RedisBytes", "RedisStr"]


class RedisStr(Immutable, str):  # noqa: SLOT000 - its link lies in __dict__, as for the types that cannot have slots
    """Text in a document: a `str` with a place."""

    _plain = str

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: str) -> None: ...

        def clone(self) -> str:
            """Return the plain text."""

    @classmethod
    def _of(cls, value: str) -> Self:
        # Nobody validated a default: it may be an enumeration's member, whose `str()` is its name.
        return cls(value if value.__class__ is str else str.__str__(value))

    async def aappend(self, text: str) -> Self:
        """Append to whatever the text is in Redis and put the result into the model.

        One round trip, one script (`text.append`), atomic.

        Args:
            text: what to append.

        Returns:
            the new text.

        Raises:
            KeyNotFound: the document is gone; nothing is recreated.
            PathNotFound, WrongType: there is no text at this place any more.
            LockLost, OutcomeUnknown: as for every write.
            UsageError: the model's key is made of it.
        """
        if self._of_key:
            self._check_key_stays()
        recording = self._recording()
        if recording is not None:
            # What Python refuses here must not be sent later, should the block go on.
            return self._recorded(recording, str.__add__(self, text), "text.append", _json_text(text))
        owner = self._linked()
        target = owner._way_to(self, self._hint)
        if owner._guarded:
            self._vet(str.__add__(self, text))
        reply = await _calls.change(target, "text.append", _json_text(text))
        return self._taken(owner, target[0], reply[0])

    def __iadd__(self, other: str) -> Any:
        """Append; inside `pipeline()` to whatever the text is in Redis."""
        if not isinstance(other, str):
            return NotImplemented
        return self._in_place(str.__add__(self, other), "text.append", _json_text(other))


class RedisBytes(Immutable, bytes):
    """Bytes in a document, stored as base64: `bytes` with a place."""

    _plain = bytes

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: Any = None) -> Self: ...
        def __set__(self, instance: object, value: bytes) -> None: ...

        def clone(self) -> bytes:
            """Return the plain bytes."""

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        """Append; inside `pipeline()` to whatever the bytes are in Redis."""
        if not isinstance(other, (bytes, bytearray, memoryview)):
            return NotImplemented
        return self._in_place(bytes.__add__(self, other), "bytes.append", bytes(other))


def _json_text(text: str) -> str:
    if not isinstance(text, str):
        msg = f"text can be appended to text, not {type(text).__name__}"
        raise TypeError(msg)
    return json.dumps(str(text), ensure_ascii=False)
