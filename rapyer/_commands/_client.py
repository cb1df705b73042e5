"""A client for a command: of the URL that was typed, which is told soon when nobody answers there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rapyer._loops import close_all
from rapyer._setup import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

#: How long to wait for a connection, and for an answer; options of the URL go before it. redis-py may ask twice as it
#: connects.
PATIENCE_SECONDS = 3.0


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Any, None]:
    """Give a client; afterwards it is closed with everything that was opened for it."""
    client = client_of(
        url,
        socket_connect_timeout=PATIENCE_SECONDS,
        socket_timeout=PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    finally:
        await close_all()
        await client.aclose()
