"""Every error the library raises, one tree below `RapyerError`.

Messages name the key, the path and the remedy, never a stored value. Where Python has a word for the
failure (`KeyError`, `ValueError`, `TimeoutError` …) the class is that, too, so that generic handlers work.
"""

from __future__ import annotations

__all__ = [
    "CorruptDocument",
    "CrossSlot",
    "KeyNotFound",
    "LockError",
    "LockLost",
    "LockTimeout",
    "NotReplicated",
    "OutOfRange",
    "OutcomeUnknown",
    "PathNotFound",
    "RapyerError",
    "ServerError",
    "UsageError",
    "WrongType",
]


class RapyerError(Exception):
    """Root of all errors of this library."""

    # Built from `args` when shown, so that pickling and re-raising keep every attribute.
    def __str__(self) -> str:
        """Say what failed, where, and what to do."""
        return self._message() or super().__str__()

    def _message(self) -> str:
        return ""


class KeyNotFound(RapyerError, KeyError):
    """There is no document under this key.

    Args:
        key: the full Redis key that was asked for.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def _message(self) -> str:
        return (
            f"no document under key {self.key!r}: it was never saved, was deleted or has expired; "
            "call save() to create it"
        )


class PathNotFound(RapyerError):
    """The document is there, the path inside it is not.

    Args:
        key: the document's Redis key.
        path: the JSONPath that was asked for.
    """

    def __init__(self, key: str, path: str) -> None:
        super().__init__(key, path)
        self.key = key
        self.path = path

    def _message(self) -> str:
        return (
            f"document {self.key!r} has nothing at {self.path}: another client removed it or the "
            "document was written by another version of the model; load() and look, or save() it"
        )


class WrongType(RapyerError):
    """The stored value is not of the kind the operation needs.

    Args:
        key: the document's Redis key.
        path: the JSONPath of the value.
        found: the kind that was found there (`string`, `array`, `null`, a Redis type …).
    """

    def __init__(self, key: str, path: str, found: str) -> None:
        super().__init__(key, path, found)
        self.key = key
        self.path = path
        self.found = found

    def _message(self) -> str:
        return (
            f"{self.path} of {self.key!r} holds {self.found}, which this operation cannot work on; "
            "assign a value of the right type first"
        )


class OutOfRange(RapyerError, ValueError):
    """The result cannot be stored exactly: outside signed 64 bits, not finite, nested too deep, or not representable.

    Args:
        key: the document's Redis key.
        path: the JSONPath of the value.
        why: what is wrong with it and the remedy, where that is known.
    """

    def __init__(self, key: str, path: str, why: str = "") -> None:
        super().__init__(key, path, why)
        self.key = key
        self.path = path
        self.why = why

    def _message(self) -> str:
        if self.why:
            return f"{self.path} of {self.key!r}: {self.why}; nothing was written"
        return (
            f"{self.path} of {self.key!r} would leave what can be stored exactly (integers of signed 64 bits, finite "
            "doubles, the years 1 to 9999); nothing was written: use a smaller value or store it as text"
        )


class LockError(RapyerError):
    """Something went wrong with a lock.

    Args:
        key: the locked document's Redis key.
        action: the lock's action name.
    """

    def __init__(self, key: str, action: str) -> None:
        super().__init__(key, action)
        self.key = key
        self.action = action


class LockTimeout(LockError, TimeoutError):
    """The lock was not to be had within `timeout` seconds; nothing was changed."""

    def _message(self) -> str:
        return (
            f"lock {self.action!r} of {self.key!r} was not to be had within the timeout: it stayed taken, or Redis did "
            "not answer; wait longer (timeout=) or make the holder's section shorter"
        )


class LockLost(LockError):
    """The lease ended or the lock was taken away while the body ran: nothing was written from then on.

    A block tells of it as it ends, too, whether or not it had anything left to write. What its body wrote before the
    loss stays written.
    """

    def _message(self) -> str:
        return (
            f"lock {self.action!r} of {self.key!r} was lost before its block ended: what the block wrote after that "
            "was refused, what it wrote before stays; look at the document and repeat what is missing, or use a longer "
            "lease="
        )


class OutcomeUnknown(RapyerError, ConnectionError):
    """A write was sent and the connection was lost before its answer: it may have run, once, or not."""


class NotReplicated(RapyerError):
    """The write was carried out, but in time fewer replicas had it than `Meta.min_replicas` asks for.

    It is on the primary, and may be lost if the primary is.

    Args:
        key: the document's Redis key.
        wanted: how many replicas the model asks for.
        found: how many had the write.
    """

    def __init__(self, key: str, wanted: int, found: int) -> None:
        super().__init__(key, wanted, found)
        self.key = key
        self.wanted = wanted
        self.found = found

    def _message(self) -> str:
        return (
            f"the write to {self.key!r} was carried out, but {self.found} of {self.wanted} replicas had it in time: "
            "see to the replicas, or ask for fewer with Meta.min_replicas; read the document before repeating the write"
        )


class CrossSlot(RapyerError):
    """The documents of one block are in different hash slots, or have different clients; nothing was sent."""


class CorruptDocument(RapyerError):
    """What is stored under the key does not validate, or is another key's; the cause names the fields.

    Args:
        key: the document's Redis key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def _message(self) -> str:
        return (
            f"what is stored under {self.key!r} does not validate against the model; the cause names "
            "the fields: repair the document or give new fields a default"
        )


class UsageError(RapyerError, RuntimeError):
    """The caller's fault: the message says what to do instead."""


class ServerError(RapyerError):
    """Anything else Redis answered.

    Args:
        script: the script or command that was called.
        message: what the server said.
    """

    def __init__(self, script: str, message: str) -> None:
        super().__init__(script, message)
        self.script = script
        self.message = message

    def _message(self) -> str:
        return f"{self.script}: {self.message}"
