"""The only module that talks to Redis: packs script calls, loads missing scripts, maps errors.

Rules:
- Scripts are called by EVALSHA. One that the server does not have is loaded by one caller for all that wait, and
  only the call that did not run is repeated: NOSCRIPT means that nothing ran.
- Whether a call may be repeated after a lost connection follows from the script's own flags: `no-writes`, which the
  server enforces, or `repeatable`, for those that change an expiry and nothing else.
- What a script refuses comes as `RAPYER_CODE index detail` and leaves as an error of `rapyer.errors` or, where
  Python has the word, as `IndexError`, `KeyError`, `ValueError`, `ZeroDivisionError`.
"""

from __future__ import annotations

import asyncio
import weakref
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from rapyer import _keys
from rapyer._lane import Lane
from rapyer._registry import scripts
from rapyer.errors import (
    KeyNotFound,
    LockLost,
    OutOfRange,
    PathNotFound,
    ServerError,
    UsageError,
    WrongType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rapyer._ops import Argument
    from rapyer._script import Script


#: How often a call loads its script before it gives up.
MOST_LOADS = 10


class Where(msgspec.Struct, frozen=True):
    """What the operation of a refused call worked on: for the error's text."""

    key: str
    path: str = "$"
    action: str = ""


class Locate(Protocol):
    """Gives the place that the operation with this index of a call works on."""

    def __call__(self, index: int, /) -> Where: ...


#: Script error code -> the error a caller gets.
ERRORS: Mapping[str, Callable[[Where, str], Exception]] = {
    "KEY_NOT_FOUND": lambda at, _: KeyNotFound(at.key),
    "PATH_NOT_FOUND": lambda at, _: PathNotFound(at.key, at.path),
    "WRONG_TYPE": lambda at, found: WrongType(at.key, at.path, found),
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


class Dispatcher:
    """Calls scripts and commands of one client in one event loop."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._encoder = self._pool.get_encoder()
        self._lane = Lane(self._pool)
        self._loading: dict[str, asyncio.Task[None]] = {}

    async def script(self, name: str, keys: Sequence[str], arguments: Sequence[Argument], where: Locate) -> Any:
        """Run a script and return its raw reply; 1 round trip.

        Raises:
            RapyerError: what the script refused, as its header says; `ServerError` for anything else.
            OutcomeUnknown: the connection was lost after a write was sent.
        """
        script = scripts()[name]
        packed = _pack("EVALSHA", script.sha, str(len(keys)), *keys, *arguments)
        loads = 0
        while True:
            try:
                return await self._lane.call(packed, repeatable=script.repeatable)
            except NoScriptError as error:
                # Nothing ran. Who flushes scripts all the time gets the error in the end.
                loads += 1
                if loads > MOST_LOADS:
                    raise ServerError(name, str(error)) from error
                await self._load(script)
            except ResponseError as error:
                raise _mapped(name, error, where, keys) from error

    async def command(self, *arguments: Argument) -> Any:
        """Run a command that only reads; 1 round trip."""
        try:
            return await self._lane.call(_pack(*arguments), repeatable=True)
        except ResponseError as error:
            raise ServerError(str(arguments[0]), str(error)) from error

    async def preload(self) -> None:
        """Load every script in one write; 1 round trip."""
        await asyncio.gather(*map(self._load, scripts().values()))

    async def close(self) -> None:
        """Close the connection."""
        await self._lane.close()

    async def _load(self, script: Script) -> None:
        task = self._loading.get(script.name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load_now(script))
            self._loading[script.name] = task
        # One caller's cancellation must not take the load away from the others.
        await asyncio.shield(task)

    async def _load_now(self, script: Script) -> None:
        try:
            await self._lane.call(_pack("SCRIPT", "LOAD", script.source), repeatable=True)
        finally:
            del self._loading[script.name]


def _mapped(name: str, error: ResponseError, where: Locate, keys: Sequence[str]) -> Exception:
    message = str(error)
    if not message.startswith("RAPYER_"):
        return ServerError(name, message)
    code, index, detail = message.removeprefix("RAPYER_").split(" ", 2)
    make = ERRORS.get(code)
    if make is None:
        return ServerError(name, message)
    if code == "LOCK_LOST":
        key, action = _keys.lock_of(keys[int(detail) - 1])
        return make(Where(key, action=action), detail)
    return make(where(int(index)), detail)


def _pack_slowly(*arguments: Argument) -> bytes:
    """Return a command in the wire format."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument.encode() if isinstance(argument, str) else argument
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _pack_fast(*arguments: Argument) -> bytes:
    packed: bytes = _hiredis.pack_command(arguments)
    return packed


# Recommended, not required.
_hiredis: Any = import_module("hiredis") if find_spec("hiredis") else None
_pack = _pack_slowly if _hiredis is None else _pack_fast


# -- one dispatcher per client and loop ------------------------------------------------------------------------------

_dispatchers: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[Any, Dispatcher]] = weakref.WeakKeyDictionary()


def dispatcher(client: Any) -> Dispatcher:
    """Return the dispatcher of this client in the running loop, made at first use."""
    loops = _dispatchers.get(client)
    if loops is None:
        loops = _dispatchers[client] = weakref.WeakKeyDictionary()
    loop = asyncio.get_running_loop()
    found = loops.get(loop)
    if found is None:
        found = loops[loop] = Dispatcher(client)
    return found


async def close_all() -> None:
    """Close every connection the library opened in this loop."""
    loop = asyncio.get_running_loop()
    for loops in list(_dispatchers.values()):
        found = loops.pop(loop, None)
        if found is not None:
            await found.close()


__all__ = ["ERRORS", "Dispatcher", "Locate", "Where", "close_all", "dispatcher"]
