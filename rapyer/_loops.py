"""One dispatcher for each client and event loop: found for every call, made at first use, closed with either of them.

Rules:
- Nothing here keeps a client alive.
- A forked child starts anew: the sockets are the parent's, and closing them would disturb its loops.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from threading import get_ident
from typing import Any

from redis.asyncio import Redis, RedisCluster

from rapyer import _dispatch
from rapyer._dispatch import Dispatcher
from rapyer.errors import UsageError

#: Whether asking for the running loop is a system call: then a loop is known by its thread, where it tells that.
_ASKS_SYSTEM = sys.version_info < (3, 12)
#: How loops run that tell their thread, and are the only one that runs there: others may run inside each other.
_RUN = asyncio.BaseEventLoop.run_forever


class _Loops(dict["asyncio.AbstractEventLoop", Dispatcher]):
    """The dispatchers of one client by their loops; it does not keep the client alive.

    Attributes:
        latest: the one that was found last, where it is known by its loop's thread whether that is the running one.
    """

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = weakref.ref(client)
        self.latest: Any = None
        self._process = os.getpid()

    def running(self) -> Dispatcher | None:
        """Return that of the running loop, if there is one."""
        loop = asyncio.get_running_loop()
        found = self.get(loop)
        self.latest = found if _ASKS_SYSTEM and type(loop).run_forever is _RUN else None
        return found

    def forget(self, loop: asyncio.AbstractEventLoop) -> Dispatcher | None:
        """Let go of a loop; return what it had."""
        self.latest = None
        return self.pop(loop, None)

    def sweep(self) -> None:
        """Let go of loops that were closed without a word."""
        for loop in [loop for loop in list(self) if loop.is_closed()]:
            found = self.forget(loop)  # another thread may have done it
            if found is not None:
                found.drop()

    def drop(self) -> None:
        """Let go of everything, now that the client is gone; a forked child has nothing to close."""
        self.latest = None
        while self and self._process == os.getpid():
            self.popitem()[1].leave()


# By the client's identity: a weak dictionary asks Python code for each key, and this is asked for each call.
_dispatchers: dict[int, _Loops] = {}
_inherited: list[Any] = []
_making = threading.Lock()


def dispatcher(client: Any) -> Dispatcher:
    """Return the dispatcher of this client in the running loop, made at first use."""
    loops = _dispatchers.get(id(client))
    if loops is not None:
        # None once its client is gone, so never that of another client with the same identity.
        found: Dispatcher | None = loops.latest
        if found is not None and found.loop._thread_id == get_ident():  # type: ignore[attr-defined]
            return found
        if loops.client() is client and (found := loops.running()) is not None:
            return found
    return _make(client)


def _make(client: Any) -> Dispatcher:
    if not isinstance(client, (Redis, RedisCluster)):
        found = f"{type(client).__module__}.{type(client).__qualname__}"
        msg = f"rapyer needs a client of redis.asyncio, a Redis or a RedisCluster, not one of type {found}"
        raise UsageError(msg)
    with _making:
        loops = _dispatchers.get(id(client))
        if loops is None or loops.client() is not client:
            loops = _dispatchers[id(client)] = _Loops(client)
            weakref.finalize(client, _client_gone, id(client), loops)
        loops.sweep()
        made = loops[asyncio.get_running_loop()] = Dispatcher(client)
        return made


def _client_gone(identity: int, loops: _Loops) -> None:
    if _dispatchers.get(identity) is loops:
        del _dispatchers[identity]
    loops.drop()


def dispatchers() -> list[Dispatcher]:
    """Return those of all clients in the running loop."""
    loop = asyncio.get_running_loop()
    found = [loops.get(loop) for loops in list(_dispatchers.values())]
    leaving = [reference() for reference in list(_dispatch.leaving.values())]
    return [each for each in (*found, *leaving) if each is not None and each.loop is loop]


async def close_all() -> None:
    """Close every connection the library opened in this loop."""
    loop, found = asyncio.get_running_loop(), dispatchers()
    for loops in list(_dispatchers.values()):
        loops.forget(loop)
    for each in found:
        await each.close()


def _forget_parent() -> None:
    """Start anew in a forked child: the sockets are the parent's, and closing them would disturb its loops."""
    global _dispatchers, _making  # noqa: PLW0603 - they are the process's
    _inherited.extend((_dispatchers, _dispatch.leaving))
    _dispatchers, _dispatch.leaving = {}, {}
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
