"""One real Redis Stack for each worker, empty for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

import rapyer
import redis_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def stack() -> Iterator[redis_stack.RedisStack]:
    """The worker's own server."""
    with redis_stack.start() as server:
        yield server


@pytest.fixture
async def client(stack: redis_stack.RedisStack) -> AsyncIterator[Redis]:
    """A client of an empty database."""
    client = Redis.from_url(stack.url)
    await client.flushdb()
    yield client
    await client.flushdb()
    await client.aclose()


@pytest.fixture
async def bound(client: Redis) -> AsyncIterator[Redis]:
    """A client that all models are bound to."""
    await rapyer.init_rapyer(client)
    yield client
    await rapyer.teardown_rapyer()
