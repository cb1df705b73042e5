"""What a script refused, as the error a caller gets.

A refusal comes as `RAPYER_CODE index detail`. It leaves as an error of `rapyer.errors` or, where Python has the word,
as `IndexError`, `KeyError`, `ValueError`, `ZeroDivisionError`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec
from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from rapyer import _keys
from rapyer._path import outer
from rapyer.errors import (
    KeyNotFound,
    LockLost,
    OutcomeUnknown,
    OutOfRange,
    PathNotFound,
    ServerError,
    UsageError,
    WrongType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


#: How to get a server that scripts run on.
GET_ONE = (
    "use Redis Stack 7.2 or newer (`docker run -p 6379:6379 redis/redis-stack-server:7.4.0-v1`), "
    "Redis 8, or load the RedisJSON module"
)
# What is met where no `init_rapyer` went before: no RedisJSON, or a server too old for the first line of scripts.
_LACKS = "the server has no RedisJSON with JSON.MERGE, or is older than Redis 7"
_UNFIT = re.compile(r"Unknown \w* ?command called from script|Error compiling script|unknown type name")


class Where(msgspec.Struct, frozen=True):
    """What the operation of a refused call worked on: for the error's text.

    Attributes:
        inside: where `path` is a member that is set or removed, the path of what it is in: that is what is looked at.
    """

    key: str
    path: str = "$"
    action: str = ""
    inside: str = ""


class Locate(Protocol):
    """Gives the place that the operation with this index of a call works on."""

    def __call__(self, index: int, /) -> Where: ...


#: Script error code -> the error a caller gets.
ERRORS: Mapping[str, Callable[[Where, str], Exception]] = {
    "KEY_NOT_FOUND": lambda at, _: KeyNotFound(at.key),
    "PATH_NOT_FOUND": lambda at, _: PathNotFound(at.key, at.inside or at.path),
    "WRONG_TYPE": lambda at, found: WrongType(at.key, at.inside or at.path, found),
    "OUT_OF_RANGE": lambda at, _: OutOfRange(at.key, at.path),
    "LOCK_LOST": lambda at, _: LockLost(at.key, at.action),
    "ZERO_DIVISION": lambda at, _: ZeroDivisionError(f"division by zero at {at.path} of {at.key!r}"),
    "INDEX": lambda at, _: IndexError(f"index out of range in {at.path} of {at.key!r}"),
    "VALUE": lambda at, _: ValueError(f"the value to remove is not in {at.path} of {at.key!r}"),
    "ENTRY": lambda at, _: KeyError(f"no such entry in {at.path} of {at.key!r}"),
    "KEY_EXISTS": lambda at, _: UsageError(
        f"the copy's key {at.key!r} is taken: let the key field's default_factory make new ones"
    ),
}


#: Scripts that work on a member.
_OF_MEMBERS = frozenset({"value.set", "map.set_item", "map.delete_item", "map.pop"})
_MOVING = "its slot is being moved, and neither node has all keys of the call: repeat it later"
#: What a node of a cluster answers for as long as a call was sent on -> what that means; nothing was done.
PLACES: Mapping[type[Exception], str] = {
    AskError: _MOVING,
    TryAgainError: _MOVING,
    ClusterDownError: "the cluster is down, or no node serves its slot: repeat it when one does",
    MovedError: "it is on another node of a cluster: use a redis+cluster:// URL, or a redis.asyncio.RedisCluster",
}


def server_error(name: str, message: str) -> ServerError:
    """Return the error for what the server says by itself; one that nothing runs on is told with the remedy."""
    return ServerError(name, f"{_LACKS}: {GET_ONE}" if _UNFIT.search(message) else message)


def final(name: str, error: BaseException, where: Where | Locate | str, keys: Sequence[str]) -> BaseException:
    """Return what a caller gets for the failure of a call.

    Args:
        name: the script.
        error: the failure; of those that are no answer of the server only `OutcomeUnknown` is told with the key.
        where: the place of the only operation, or its path in the first of the keys, or what gives the place.
        keys: the script's KEYS.
    """
    if not isinstance(error, ResponseError):
        return unknown(keys, str(error), error.__cause__) if isinstance(error, OutcomeUnknown) else error
    place = PLACES.get(type(error))
    told = ServerError(name, f"{keys[0]!r}: {place}") if place else _mapped(name, str(error), where, keys)
    told.__cause__ = error
    return told


def unknown(keys: Sequence[str], what: str, cause: BaseException | None) -> OutcomeUnknown:
    """Return what is told of a write that may have run: of which document, the first of its keys, and why."""
    told = OutcomeUnknown(f"{keys[0]!r}: {what}")
    told.__cause__ = cause
    return told


def _mapped(name: str, message: str, where: Where | Locate | str, keys: Sequence[str]) -> Exception:
    if not message.startswith("RAPYER_"):
        return server_error(name, message)
    code, index, detail = message.removeprefix("RAPYER_").split(" ", 2)
    make = ERRORS.get(code)
    if make is None:
        return ServerError(name, message)
    if code == "LOCK_LOST":
        key, action = _keys.lock_of(keys[int(detail) - 1])
        return make(Where(key, action=action), detail)
    if isinstance(where, str):
        return make(Where(keys[0], where, inside=outer(where) if name in _OF_MEMBERS else ""), detail)
    return make(where if isinstance(where, Where) else where(int(index)), detail)


__all__ = ["ERRORS", "GET_ONE", "Locate", "Where", "final", "server_error", "unknown"]
