"""A server with every script loaded, called by EVALSHA without any of the layers above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lua_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis_stack


@pytest.fixture(scope="session")
def loaded(stack: redis_stack.RedisStack) -> Iterator[Server]:
    """The worker's server, with what earlier tests left."""
    server = Server(stack.url)
    yield server
    server.redis.close()


@pytest.fixture(autouse=True)
def _emptied(loaded: Server) -> None:
    loaded.empty()


@pytest.fixture(scope="session")
def server(loaded: Server) -> Server:
    """The worker's server, empty when a test starts."""
    return loaded
