"""Where a Sentinel's master is, asked in the running loop.

Rules:
- redis-py asks the sentinels by connections that it keeps, and those belong to the loop that made them. Here each
  question has connections of its own, so a client serves one loop after another and several at once.
- What redis-py decides is left to it: which sentinel to believe, what a master must look like, which replica is next.
"""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import SentinelConnectionPool

from rapyer._tasks import to_its_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


def is_sentinel(pool: Any) -> bool:
    """Whether a pool asks Sentinel for its address."""
    return isinstance(pool, SentinelConnectionPool)


@asynccontextmanager
async def options_of(pool: Any) -> AsyncIterator[Mapping[str, Any]]:
    """Give the options for a new connection of this pool."""
    if not is_sentinel(pool):
        yield pool.connection_kwargs
        return
    resolver = _Resolver(pool)
    try:
        yield {**pool.connection_kwargs, "connection_pool": resolver}
    finally:
        await to_its_end(resolver.close())


class _Resolver(SentinelConnectionPool):
    """What a connection asks for its address; it holds no connections to the master."""

    def __init__(self, pool: Any) -> None:
        for name in ("service_name", "is_master", "check_connection"):
            setattr(self, name, getattr(pool, name))
        self.slave_rr_counter = None
        self.sentinel_manager = copy.copy(pool.sentinel_manager)
        self.sentinel_manager.sentinels = [_again(sentinel) for sentinel in pool.sentinel_manager.sentinels]

    async def get_master_address(self) -> Any:
        return await self.sentinel_manager.discover_master(self.service_name)

    async def close(self) -> None:
        await asyncio.gather(
            *(sentinel.aclose() for sentinel in self.sentinel_manager.sentinels), return_exceptions=True
        )


def _again(sentinel: Any) -> Any:
    pool = sentinel.connection_pool
    made = Redis(connection_pool=ConnectionPool(pool.connection_class, **pool.connection_kwargs))
    made.auto_close_connection_pool = True
    return made
