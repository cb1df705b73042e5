"""Where a Sentinel's master is, asked in the running loop.

Rules:
- redis-py asks the sentinels by connections that it keeps, and those belong to the loop that made them. Here each
  question has connections of its own, so a client serves one loop after another and several at once.
- What redis-py decides is left to it: which sentinel to believe, what a master must look like, which replica is next.
- The sentinel that was believed last is asked first, and each is asked once, within its time: one that says nothing
  must not hold up what the others know.
"""

from __future__ import annotations

import asyncio
import copy
import weakref
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from rapyer._tasks import to_its_end

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds in which a sentinel has to be reached, and to answer, where neither it nor the client has a timeout.
SECONDS = 5.0

# By clients' pools their sentinels in the order to ask them. redis-py's own list may be in use in another thread.
_orders: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


def is_sentinel(pool: Any) -> bool:
    """Whether a pool asks Sentinel for its address."""
    return isinstance(pool, SentinelConnectionPool)


class PoolOptions:
    """Gives the options for a new connection of a pool, in an `async with` block.

    No generator: one that waits somewhere is closed as the loop ends, under whoever is in its block.
    """

    def __init__(self, pool: Any) -> None:
        self._options: Mapping[str, Any] = pool.connection_kwargs
        self._resolver = _Resolver(pool) if is_sentinel(pool) else None

    async def __aenter__(self) -> Mapping[str, Any]:
        return self._options if self._resolver is None else {**self._options, "connection_pool": self._resolver}

    async def __aexit__(self, *_: object) -> None:
        if self._resolver is not None:
            await to_its_end(self._resolver.close())


class _Resolver(SentinelConnectionPool):
    """What a connection asks for its address; it holds no connections to the master."""

    def __init__(self, pool: Any) -> None:
        for name in ("service_name", "is_master", "check_connection"):
            setattr(self, name, getattr(pool, name))
        self.slave_rr_counter = None
        self._pool = pool
        self._originals = {_again(sentinel, pool): sentinel for sentinel in _in_order(pool)}
        self.sentinel_manager = copy.copy(pool.sentinel_manager)
        self.sentinel_manager.sentinels = list(self._originals)

    async def get_master_address(self) -> Any:
        address = await self.sentinel_manager.discover_master(self.service_name)
        _orders[self._pool] = [self._originals[made] for made in self.sentinel_manager.sentinels]
        return address

    async def close(self) -> None:
        await asyncio.gather(*(made.aclose() for made in self._originals), return_exceptions=True)


def _in_order(pool: Any) -> list[Any]:
    """Return the sentinels there are, the one that was believed last first."""
    ranks = {id(sentinel): rank for rank, sentinel in enumerate(_orders.get(pool, ()))}
    return sorted(pool.sentinel_manager.sentinels, key=lambda sentinel: ranks.get(id(sentinel), len(ranks)))


def _again(sentinel: Any, pool: Any) -> Any:
    """Return a client of its own for a sentinel, which asks once and not for long."""
    own = sentinel.connection_pool.connection_kwargs
    seconds = own.get("socket_timeout") or pool.connection_kwargs.get("socket_timeout") or SECONDS
    connecting = own.get("socket_connect_timeout") or seconds
    bounds = {"socket_timeout": seconds, "socket_connect_timeout": connecting, "retry": Retry(NoBackoff(), 0)}
    made = Redis(connection_pool=ConnectionPool(sentinel.connection_pool.connection_class, **{**own, **bounds}))
    made.auto_close_connection_pool = True
    return made
